"""Steps 7 to 12, while traffic is held: stop, back up, swap, start, see whether it is well.

A failure here is undone in reverse, the same functions whether a rollback or a recovery.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

from corpus.hosts import kernel, processes
from corpus.model.mode import Mode
from corpus.model.paths import Archive
from corpus.project import (
    binding,
    claims,
    copies,
    health,
    journal,
    maintenance,
    preparing,
    refusing,
    services,
    traffic,
    trees,
)
from corpus.project.work import Work

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
    """Run the ``stop`` macro, then stop whatever unit of either version is still there."""
    if work.runtime.get("stops_itself"):
        _know(work)
        work.phase("stop")
    stop_units(work)


def stop_units(work: Work) -> None:
    """Stop whatever unit of either version is there, and no unit of anybody else's.

    What a version declares was looked at before; a macro may have changed it since.
    """
    declared, live = (of.get("services", []) for of in (work.runtime, work.former))
    new = [unit for unit in declared if unit not in live]
    others = claims.owners(work.project, new, [])
    units = [*declared, *live, *services.names(work.project)]
    services.stop(work.project, [unit for unit in dict.fromkeys(units) if unit not in others])


def _know(work: Work) -> None:
    """Have ``common`` in a recovery too, whose process did not begin this deployment."""
    if not work.common:
        work.configure()
        work.phase("gather_variables")


def resume(work: Work) -> None:
    """Start the previous version, see that it is healthy, admit traffic."""
    former = work.former
    if binding.is_bound(work.project):
        preparing.undo_check_out(work)  # it is what the services start from
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
    preparing.undo_check_out(work)
    former = work.of_previous()
    former.configure()
    former.phase("gather_variables")
    former.phase("start")


# 8 -- data


def back_up_data(work: Work) -> None:
    """Copy ``data/`` aside by the cheapest way."""
    project, paths = work.project, work.project.paths
    refusing.by_obstacles(project)  # once more: a build takes its time
    archive = paths.archive(work.id)
    archive.root.mkdir(parents=True, exist_ok=True)
    way = trees.way_of(paths.root, project.host)
    started = time.monotonic()
    trees.remove(archive.data)
    trees.copy(paths.data, archive.data, way, project.host, copies.reference(work))
    work.log.line(f"data backed up by {way} in {time.monotonic() - started:.3f} s")


def restore_data(work: Work) -> None:
    """Put ``data/`` back from its backup; keep what the failed version left of it."""
    archive = work.project.paths.archive(work.id)
    if archive.data.exists():
        put_data(work, archive.data, f"restored-{work.id}", archive.data_failed.name)
    else:
        trees.remove_copy(archive.data)


def put_data(work: Work, source: Path, mark: str, aside: str) -> None:
    """Put a copy of ``source`` in the place of ``data/``, once for each ``mark``.

    What was there goes to this deployment's archive as ``aside``.
    """
    project, paths = work.project, work.project.paths
    archive = paths.archive(work.id)
    spare = archive.root / "data.restoring"
    if trees.label(paths.data) != mark:
        trees.remove(spare)
        trees.copy(source, spare, trees.way_of(paths.root, project.host), project.host)
        trees.set_label(spare, mark)
        kernel.exchange(spare, paths.data)
    if spare.exists():
        trees.remove(archive.root / aside)
        spare.rename(archive.root / aside)


# 9 -- dumps of what is not a file


def dump(work: Work) -> None:
    """Let the project dump its databases into the archive."""
    archive = work.project.paths.archive(work.id)
    trees.remove(archive.dumps)
    archive.root.mkdir(parents=True, exist_ok=True)
    if work.runner.has("backup"):
        trees.make(archive.dumps, 0o700)
        work.phase("backup")
        kernel.sync(archive.dumps)  # before anything migrates: a power cut empties new files


def reload_dumps(work: Work) -> None:
    """Let the project reload its dumps, which were written to their end."""
    _know(work)
    reload(work, work.project.paths.archive(work.id))


def reload(work: Work, archive: Archive) -> None:
    """Let the project reload the dumps that an archive holds."""
    if not work.runner.has("restore"):
        return
    paths = work.common["paths"]
    paths["dumps"] = str(archive.dumps)
    try:
        work.phase("restore")
    finally:  # whatever comes next, a way back too, finds this deployment's own
        paths["dumps"] = str(work.project.paths.archive(work.id).dumps)


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
    if work.mode is not Mode.EDITABLE:
        work.phase("deploy")
    units = list(work.common["services"])
    before = _unit_texts(work)
    services.link(work.project, units, before)
    if work.runner.has("start"):
        work.phase("start")
    else:
        services.start(work.project, units)
    work.phase("post_deploy")
    work.phase("post_install")


def stop_failed(work: Work) -> None:
    """Stop the services of the failed version."""
    _stop(work)


def _unit_texts(work: Work) -> dict[str, bytes]:
    former: Path = work.project.paths.archive(work.id).run
    return services.contents(former)


def check_health(work: Work) -> None:
    """Declared units active, HTTP checks passed, the ``health`` macro without a failed state."""
    # What a phase left running outside of systemd would die with the next deployment: now.
    processes.kill_descendants(os.getpid())
    health.gate(work.project, work.common["services"], work.common["health"])
    if work.runner.has("health"):
        work.phase("health")
