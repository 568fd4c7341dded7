"""The steps of a cooking deployment, each with its undoing beside it.

Every undo may be called after a crash in the middle of its step, and twice: it looks at
what is there (labels of directories, not memory) and ends right.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path

from corpus.hosts import kernel
from corpus.model.errors import DeploymentRefused, Unsupported
from corpus.model.mode import Mode
from corpus.model.size import format_size
from corpus.project import (
    health,
    journal,
    maintenance,
    phases,
    releases,
    repository,
    services,
    traffic,
    trees,
)
from corpus.project.work import Work

_ROOM = 64 << 20


@dataclass(frozen=True)
class Step:
    """One step: its name in the journal, how to do it, how to undo it.

    ``undo_once``: the step after whose beginning undoing makes sense; the step's own by default.
    """

    name: str
    do: Callable[[Work], None]
    undo: Callable[[Work], None] | None = None
    undo_once: str = ""


def _phase(work: Work, name: str) -> None:
    phases.run(work.runner, name, work.common, work.log)
    work.note_runtime()


# 2 -- the pushed commit


def check_out(work: Work) -> None:
    """Check out code and pillar, configure, run the first two phases."""
    project, paths = work.project, work.project.paths
    repository.check_out(project, paths.project_git, paths.project, work.commit)
    if work.pillar_commit:
        repository.check_out(project, paths.pillar_git, paths.pillar, work.pillar_commit)
    if not (paths.salt / "top.sls").is_file():
        raise DeploymentRefused(
            "the project has no .salt/top.sls",
            where=f"commit {work.commit[:10]}",
            mend="add .salt/top.sls with the macros of your project; see docs/tutorial.md",
        )
    work.configure()
    if work.mode is not Mode.COOKING:
        raise Unsupported(
            f"this version deploys in cooking mode only, not {work.mode}",
            mend="set mode: cooking in the project's pillar",
        )
    _phase(work, "gather_variables")
    _phase(work, "pre_install")


def undo_check_out(work: Work) -> None:
    """Put the checkout back to the version that is live."""
    if not work.previous:
        return
    project, paths = work.project, work.project.paths
    repository.check_out(project, paths.project_git, paths.project, work.previous.commit)
    if work.previous.pillar_commit:
        repository.check_out(project, paths.pillar_git, paths.pillar, work.previous.pillar_commit)


# 4 -- preflight


def preflight(work: Work) -> None:
    """Refuse what cannot end well: a phase that does not render, a disk without room."""
    rehearsal = deepcopy(work.common) | {"outcome": "live", "error": ""}  # what notify finds
    for name in (*phases.PHASES[2:], *phases.EXTRA):
        if work.runner.has(name):
            with phases.limited(name, phases.seconds(work.common, name)):
                work.runner.check(name, rehearsal)
    paths = work.project.paths
    needed = _ROOM + 2 * int(work.former.get("size", 0))
    if trees.way_of(paths.root, work.project.host) is trees.Way.HARDLINK:
        needed += trees.size_of(paths.data)[0]
    free = trees.free_bytes(paths.root)
    if free < needed:
        raise DeploymentRefused(
            f"{format_size(free)} are free and this deployment needs {format_size(needed)}",
            where=str(paths.root),
            mend="enlarge the environment, or lower retention",
        )


# 5 -- build beside the live version


def build(work: Work) -> None:
    """Build into a new, empty ``run/`` that only this process and its children see."""
    paths = work.project.paths
    new = paths.new_run(work.id)
    trees.clear(new)
    trees.set_label(new, str(work.id))
    if any(work.runner.has(name) for name in phases.BUILD):
        with kernel.private_bind(new, paths.run):
            for name in phases.BUILD:
                _phase(work, name)


def undo_build(work: Work) -> None:
    """Keep what the build made for inspection."""
    new = work.project.paths.new_run(work.id)
    if new.exists():
        failed = work.project.paths.archive(work.id).run_failed
        failed.parent.mkdir(parents=True, exist_ok=True)
        trees.remove(failed)
        new.rename(failed)


# 6 -- the deployment and its release


def bundle(work: Work) -> None:
    """Keep the new ``run/`` as ``deploy/<id>`` and make the release archive of it."""
    project, paths = work.project, work.project.paths
    new, unpacked = paths.new_run(work.id), paths.deployment(work.id)
    trees.remove(unpacked)
    former = paths.current.resolve() if paths.current.exists() else None
    trees.copy(new, unpacked, trees.way_of(paths.root, project.host), project.host, former)
    if work.runner.has("bundle"):
        with kernel.private_bind(new, paths.run):
            _phase(work, "bundle")
    commit = repository.describe(project, work.commit)
    facts = {
        "commit": work.commit,
        "pillar_commit": work.pillar_commit,
        "time": commit.time,
        "made_at": int(time.time()),
        "by": work.by,
    }
    work.release = releases.make(project, work.id, unpacked, facts)
    archive = work.release["archive"]
    work.log.line(f"release {archive} ({format_size(work.release['archive_size'])})")
    work.note_runtime()


def undo_bundle(work: Work) -> None:
    """Remove the deployment's directory and its release."""
    trees.remove(work.project.paths.deployment(work.id))
    releases.remove(work.project, work.id)


# 7 -- hold traffic, stop


def hold(work: Work) -> None:
    """Hold new connections, let the open ones end, stop the services of the live version."""
    work.held_since = time.monotonic()
    traffic.hold(work.project.place, work.ports)
    work.page = maintenance.answer_after(work.project.place, work.ports, float(work.common["hold"]))
    left = traffic.drain(work.ports, float(work.common["drain"]))
    if left:
        work.log.line(f"{left} connections did not end within {work.common['drain']} s")
    _stop(work)


def _stop(work: Work) -> None:
    if work.common and work.runner.has("stop"):
        _phase(work, "stop")
    else:
        units = [*work.runtime.get("services", []), *work.former.get("services", [])]
        services.stop(work.project, list(dict.fromkeys(units)))


def resume(work: Work) -> None:
    """Start the previous version, see that it is healthy, admit traffic."""
    former = work.former
    if former:
        units = former.get("services", [])
        services.link(work.project, units, {})
        if former.get("starts_itself"):
            _start_former(work)
        else:
            services.start(work.project, units)
        health.gate(work.project, units, former.get("health", []))
    else:
        services.link(work.project, [], {})
    # From here on users write again: recovery must not put anything back a second time.
    work.journal.begin(journal.RESUME)
    admit(work)


def admit(work: Work) -> None:
    """Let traffic in, and end the maintenance page."""
    traffic.admit(work.project.place, work.ports)
    maintenance.end(work.project.place, work.ports, work.page)
    work.page = None


def _start_former(work: Work) -> None:
    """Run the ``start`` macro of the previous version, from its own commit."""
    undo_check_out(work)
    former = work.of_previous()
    former.configure()
    _phase(former, "gather_variables")
    _phase(former, "start")


# 8 -- data


def back_up_data(work: Work) -> None:
    """Copy ``data/`` aside by the cheapest way."""
    project, paths = work.project, work.project.paths
    archive = paths.archive(work.id)
    archive.root.mkdir(parents=True, exist_ok=True)
    reference = None
    if work.previous:
        former = paths.archive(work.previous.deployment).data
        reference = former if former.is_dir() else None
    way = trees.way_of(paths.root, project.host)
    started = time.monotonic()
    trees.remove(archive.data)
    trees.copy(paths.data, archive.data, way, project.host, reference)
    work.log.line(f"data backed up by {way} in {time.monotonic() - started:.3f} s")


def restore_data(work: Work) -> None:
    """Put ``data/`` back from its backup; keep what the failed version left of it."""
    paths = work.project.paths
    archive = paths.archive(work.id)
    spare = archive.root / "data.restoring"
    mark = f"restored-{work.id}"
    if not archive.data.exists():
        return
    if trees.label(paths.data) != mark:
        way = trees.way_of(paths.root, work.project.host)
        trees.remove(spare)
        trees.copy(archive.data, spare, way, work.project.host)
        trees.set_label(spare, mark)
        kernel.exchange(spare, paths.data)
    if spare.exists():
        trees.remove(archive.data_failed)
        spare.rename(archive.data_failed)


# 9 -- dumps of what is not a file


def dump(work: Work) -> None:
    """Let the project dump its databases into the archive."""
    archive = work.project.paths.archive(work.id)
    trees.remove(archive.dumps)
    archive.dumps.mkdir(parents=True, mode=0o700)
    if work.runner.has("backup"):
        _phase(work, "backup")
        kernel.sync(archive.dumps)  # before anything migrates: a power cut empties new files


def reload_dumps(work: Work) -> None:
    """Let the project reload its dumps, which were written to their end."""
    if not work.common:
        work.configure()
        _phase(work, "gather_variables")
    if work.runner.has("restore"):
        _phase(work, "restore")


# 10 -- the swap


def swap(work: Work) -> None:
    """Put the new ``run/`` in the place of the live one, which goes to the archive."""
    paths = work.project.paths
    new, archive = paths.new_run(work.id), paths.archive(work.id)
    archive.root.mkdir(parents=True, exist_ok=True)
    trees.set_label(new, str(work.id))  # the build may have copied over it, attributes included
    kernel.exchange(new, paths.run)
    new.rename(archive.run)


def swap_back(work: Work) -> None:
    """Put the previous ``run/`` back; the failed one goes to the archive as ``run.failed``."""
    paths = work.project.paths
    archive, mine = paths.archive(work.id), str(work.id)
    places = [archive.run, paths.new_run(work.id)]
    # A phase may have taken the label of run/ away; archive.run is there after a whole swap only.
    swapped = archive.run.exists() and trees.label(archive.run) != mine
    if swapped:
        trees.set_label(paths.run, mine)
    if swapped or trees.label(paths.run) == mine:
        aside = next(place for place in places if place.exists())
        kernel.exchange(aside, paths.run)
    for place in places:
        if place.exists() and trees.label(place) == mine:
            trees.remove(archive.run_failed)
            place.rename(archive.run_failed)


# 11, 12 -- start and see


def start(work: Work) -> None:
    """Install, start the services, migrate."""
    _phase(work, "deploy")
    units = list(work.common["services"])
    before = _unit_texts(work)
    services.link(work.project, units, before)
    if work.runner.has("start"):
        _phase(work, "start")
    else:
        services.start(work.project, units)
    _phase(work, "post_deploy")
    _phase(work, "post_install")


def stop_failed(work: Work) -> None:
    """Stop the services of the failed version."""
    _stop(work)


def _unit_texts(work: Work) -> dict[str, bytes]:
    former: Path = work.project.paths.archive(work.id).run
    return services.contents(former)


def check_health(work: Work) -> None:
    """Declared units active, HTTP checks passed, the ``health`` macro without a failed state."""
    health.gate(work.project, work.common["services"], work.common["health"])
    if work.runner.has("health"):
        _phase(work, "health")


COOKING = (
    Step("checkout", check_out, undo_check_out),
    Step("preflight", preflight),
    Step("build", build, undo_build),
    Step("bundle", bundle, undo_bundle),
    Step("hold", hold, resume),
    Step("data", back_up_data, restore_data),
    Step("dump", dump, reload_dumps, undo_once="start"),
    Step("swap", swap, swap_back),
    Step("start", start, stop_failed),
    Step("health", check_health),
)

HELD = frozenset({"hold", "data", "dump", "swap", "start"})
"""The steps whose undoing ends with traffic let in again."""


def plan(common: dict[str, object]) -> tuple[Step, ...]:
    """Return the steps after ``checkout`` and ``preflight`` in the order that the project asks.

    ``stop_before: build`` is the RFC's literal order: the services stop before the build.
    """
    rest = list(COOKING[2:])
    if common.get("stop_before") == "build":
        held = next(step for step in rest if step.name == "hold")
        rest.remove(held)
        rest.insert(0, held)
    return tuple(rest)
