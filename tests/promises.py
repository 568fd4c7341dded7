"""What must hold of a ``World`` after whatever happened to it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from corpus.hosts import mounts
from corpus.model.deployment import DeploymentId, Outcome
from corpus.model.mode import Mode
from corpus.project import binding, lock, repository, retention, trees
from corpus.project.ledger import Entry, Ledger, origins
from machine import PORT, Version
from played import RETENTION
from projects import BRANCH
from transactions import World

EXCLUSIVE = {"phase", "phase ended", "started", "stopped", "held", "admitted"}
TOLD = {"live in": "live", "rolled back": "rolled_back", "refused": "refused"}


def keep(world: World) -> None:
    """Fail when a promise of the transaction is broken."""
    events = world.machine.events()
    one_at_a_time(events)
    only_healthy_versions_answer(events)
    live_is_said_of_healthy_versions(world, events)
    if not world.unfinished:
        as_told(world, events)
        as_recorded(world)
        nothing_left(world)


def one_at_a_time(events: list[list[Any]]) -> None:
    """Fail when two deployments were at work at the same time."""
    ended: set[int] = set()
    current = 0
    for pid, what, *_ in events:
        if what in EXCLUSIVE and pid != current:
            assert pid not in ended, f"{pid} goes on after {current} began"
            ended.add(current)
            current = pid if pid != os.getpid() else 0


def only_healthy_versions_answer(events: list[list[Any]]) -> None:
    """Fail when a visitor met a version that was not healthy, or not all that is acknowledged."""
    well = False
    for pid, what, *about in events:
        assert what != "violation", about
        if what == "started":
            well = pid == os.getpid()  # by a boot: that is no deployment
        elif what == "healthy":
            well = True
        assert what != "visit" or well, f"version {about[0]} answered before it was healthy"


def live_is_said_of_healthy_versions(world: World, events: list[list[Any]]) -> None:
    """Fail when ``live`` was printed or recorded and the health check did not pass."""
    healthy: dict[str, int] = {}
    subject = ""
    for _pid, what, *about in events:
        if what == "phase":
            subject = about[0]
        elif what == "healthy":
            healthy[subject] = int(about[0])
        elif what == "said" and about[1].startswith("live in"):
            entry = Ledger(world.paths.ledger).find(about[0])
            assert entry, "live was said before it was recorded"
            assert healthy.get(about[0]) == world.version_of(entry).number, about
    for entry in Ledger(world.paths.ledger).entries():
        assert entry.outcome != Outcome.LIVE or entry.id in healthy


def as_told(world: World, events: list[list[Any]]) -> None:
    """Fail when a deployment was told to have ended otherwise than it did."""
    known = {entry.id: str(entry.outcome) for entry in Ledger(world.paths.ledger).entries()}
    for _pid, what, *about in events:
        told = ""
        if what == "ended":
            told = about[1]
        elif what == "said":
            told = next((TOLD[text] for text in TOLD if about[1].startswith(text)), "")
        if not told or (told == "refused" and about[0] not in known):
            continue
        assert known[about[0]] == told or told == "rollback_failed", (about, known[about[0]])


def as_recorded(world: World) -> None:
    """Fail when what runs is not exactly what the ledger says is live."""
    machine, paths, live = world.machine, world.paths, world.live
    tip = repository.branch_tip(world.project, paths.project_git, BRANCH)
    assert machine.read("held") == []
    if live is None:
        assert machine.version is None
        assert tip is None
        assert not paths.current.exists()
        assert not Version.of(paths.run)
        return
    version = world.version_of(live)
    assert machine.version == version
    assert not machine.trouble(version), machine.trouble(version)
    assert tip == live.commit
    assert repository.checked_out(world.project) == live.commit
    wanted = version.files()
    assert files_of(paths.project) == wanted
    editable = version.mode == Mode.EDITABLE
    assert binding.is_bound(world.project) == editable
    assert mounts.below(paths.root) == [paths.project] * editable
    assert len(list(world.place.units.glob("*.mount"))) == editable
    assert paths.current.readlink() == Path("../run" if editable else live.id)
    if not editable:
        del wanted[".salt/top.sls"]
    assert files_of(paths.run) == wanted
    assert files_of(paths.current) == wanted
    if not editable:
        the_release_is_on_offer(world, live)


def the_release_is_on_offer(world: World, live: Entry) -> None:
    """Fail when paired environments may not have what is live, or it is not there."""
    ledger = Ledger(world.paths.ledger)
    made = ledger.find(origins(ledger.entries())[live.id])
    assert made
    release = DeploymentId.parse(made.release)
    assert world.paths.release(release).exists()
    assert world.paths.manifest(release).stat().st_mode & 0o777 == 0o640


def nothing_left(world: World) -> None:
    """Fail when something lies about that no deployment needs."""
    paths = world.paths
    assert not lock.is_held(paths.lock)
    assert list(paths.build.iterdir()) == [paths.build / "cache"]
    # What is being pruned was set aside before: the next push removes the rest of it.
    left = [p for p in paths.root.rglob("*") if is_left(p) and not trees.is_discarded(p)]
    assert left == [], left
    assert PORT not in world.machine.read("held")


def only_what_is_kept(world: World) -> None:
    """Fail when more is kept than the retention says; a death puts that off to the next push."""
    paths = world.paths
    entries, left = Ledger(paths.ledger).entries(), Ledger(paths.ledger).bad()
    kept = retention.kept(entries, left, RETENTION["good"], RETENTION["failed"])
    whole = [entry for entry in entries if paths.deployment(entry.deployment).is_dir()]
    kept |= retention.kept(whole, left, RETENTION["good"], 0) | retention.protected(world.project)
    kept |= {entry.release for entry in entries if entry.id in kept}
    past = {name for entry in entries for name in (entry.id, entry.release)} - kept - {""}
    for folder in (paths.deploy, paths.archives, paths.releases):
        # A release that nothing was deployed from was brought for a deployment to come.
        assert not [path for path in folder.iterdir() if any(map(path.name.count, past))]


def is_left(path: Path) -> bool:
    """Tell whether a path is a half-made one."""
    name = path.name
    temporary = name.startswith(".") and name not in (".git", ".salt", ".corpus")
    return temporary or name.endswith((".partial", ".restoring", "index.lock"))


def files_of(folder: Path) -> dict[str, str]:
    """Return the text of every file below ``folder``, without git's own."""
    return {
        str(path.relative_to(folder)): path.read_text()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and ".git" not in path.relative_to(folder).parts
    }
