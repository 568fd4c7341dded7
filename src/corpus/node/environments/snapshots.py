"""Snapshots of a whole environment, kept beside it, and the way back to one.

``snapshots/NAME/`` in the environment's directory holds its volumes and ``snapshot.json``. What
is made or removed has a name that begins with a dot, so that the next call finds what a crash
left. They belong to the environment's quota group: what only a snapshot holds counts as before.
"""

from __future__ import annotations

import json
import re
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from corpus.hosts import kernel
from corpus.hosts.files import read_json, write_atomic
from corpus.model.errors import Conflict, CorpusError, InvalidInput, NotFound
from corpus.node.context import Node
from corpus.node.environments import guest, lifecycle, stillness, traffic
from corpus.node.records import Record, Stage
from corpus.node.settings import Settings
from corpus.node.storage import copies

AUTOMATIC = "before-restore"
"""The snapshot that a restore makes of what it takes the place of."""
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}", re.ASCII)
_FACTS = "snapshot.json"


@dataclass(frozen=True)
class Snapshot:
    """One snapshot. ``frozen``: all in it is of the same instant. ``image``: what its root was
    made from. The limits are those of then; a restore leaves them as they are."""

    name: str
    made: str
    image: str
    frozen: bool
    limits: dict[str, Any]


def check_name(name: object) -> str:
    """Return the name of a snapshot that somebody gives. Raises InvalidInput."""
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise InvalidInput(
            f"not a name of a snapshot: {ascii(name)[:60]}",
            mend="use 1 to 63 lower-case letters, digits, dots, hyphens and underlines",
        )
    return name


def folder(settings: Settings, id: str) -> Path:
    """Return the directory of an environment's snapshots."""
    return guest.home(settings, id) / "snapshots"


def names(node: Node, id: str) -> list[str]:
    """Return the names of the snapshots that are whole."""
    return sorted(path.parent.name for path in folder(node.settings, id).glob(f"[!.]*/{_FACTS}"))


def listed(node: Node, id: str) -> list[dict[str, Any]]:
    """Return the snapshots of an environment as plain values, the oldest first."""
    return [asdict(one) for one in found(node, node.records.get(id).id)]


def found(node: Node, id: str) -> list[Snapshot]:
    """Return the snapshots that are whole, the oldest first."""
    read = [_read(path) for path in folder(node.settings, id).glob(f"[!.]*/{_FACTS}")]
    return sorted(filter(None, read), key=lambda one: (one.made, one.name))


def _read(path: Path) -> Snapshot | None:
    name = path.parent.name
    return read_json(path, lambda given: Snapshot(**{**given, "name": name}), "a snapshot")


def find(node: Node, id: str, name: object) -> Snapshot:
    """Return one snapshot. Raises InvalidInput, NotFound."""
    wanted = check_name(name)
    there = {one.name: one for one in found(node, id)}
    if wanted not in there:
        raise NotFound(
            f"environment {id} has no snapshot {wanted}",
            mend=f"there: {', '.join(there) or 'none'}",
        )
    return there[wanted]


def plan_take(node: Node, id: str, name: object, *, freeze: bool = True) -> list[str]:
    """Tell what ``take`` would do. Raises what it would raise."""
    record = lifecycle.ready(node, node.records.resolve(id))
    _check_new(node, record, name)
    stillness.check(node, record, wanted=freeze)
    return [f"snapshot {name} of {record.name}"]


def _check_new(node: Node, record: Record, name: object) -> str:
    wanted = check_name(name)
    if wanted == AUTOMATIC:
        raise InvalidInput(f"{AUTOMATIC} is what a restore calls its own", mend="choose another")
    if wanted in names(node, record.id):
        raise Conflict(
            f"environment {record.name} has a snapshot {wanted}",
            mend="choose another name, or delete that one first",
        )
    return wanted


def take(node: Node, id: str, name: str, *, freeze: bool = True) -> dict[str, Any]:
    """Make a snapshot of an environment, which may run; return it.

    ``freeze`` halts a running one for the instant, so that all volumes are of the same moment;
    without, each is as after a power cut of a moment of its own, and Conflict is raised where
    files are copied one by one. Raises InvalidInput, Conflict.
    """
    id = node.records.resolve(id)
    with node.lock(id):
        record = lifecycle.ready(node, id)
        wanted = _check_new(node, record, name)
        sweep(node, record)
        place = folder(node.settings, id)
        place.mkdir(mode=0o700, exist_ok=True)
        new = place / ".new"
        try:
            new.mkdir(mode=0o700)
            with (
                copies.room(node, record),
                stillness.still(node, record, wanted=freeze),
            ):
                copies.put_aside(node, guest.home(node.settings, id), new, record)
            _describe(new, record, frozen=freeze)
            new.rename(place / wanted)
            kernel.sync(place)
        except BaseException:
            with suppress(CorpusError, OSError):
                copies.delete(node, new)
            raise
        return asdict(find(node, id, wanted))


def _describe(place: Path, record: Record, *, frozen: bool) -> None:
    facts = {
        "made": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "image": record.image,
        "frozen": frozen,
        "limits": asdict(record.limits),
    }
    write_atomic(place / _FACTS, json.dumps(facts, indent=2).encode() + b"\n", 0o600)


def delete(node: Node, id: str, name: str) -> bool:
    """Remove a snapshot; False when there is none of that name. Raises InvalidInput, NotFound."""
    wanted, id = check_name(name), node.records.resolve(id)
    with node.lock(id):
        record = lifecycle.ready(node, id)
        sweep(node, record)
        place = folder(node.settings, id)
        if not (place / wanted).exists():
            return False
        (place / wanted).rename(place / ".gone")
        sweep(node, record)
    return True


def plan_delete(node: Node, id: str, name: object) -> list[str]:
    """Tell what ``delete`` would do."""
    record, wanted = lifecycle.ready(node, node.records.resolve(id)), check_name(name)
    there = (folder(node.settings, record.id) / wanted).exists()
    return [f"delete the snapshot {wanted} of {record.name}"] if there else []


def plan_restore(node: Node, id: str, name: object) -> list[str]:
    """Tell what ``restore`` would do. Raises what it would raise."""
    record = lifecycle.ready(node, node.records.resolve(id))
    find(node, record.id, name)
    replaced = AUTOMATIC in names(node, record.id)
    running = lifecycle.state(node, record)[0] != "STOPPED"
    return [
        *([f"stop {record.name}"] if running else []),
        *([f"delete the snapshot {AUTOMATIC}"] if replaced else []),
        f"keep the present state of {record.name} as the snapshot {AUTOMATIC}",
        f"put {record.name} back to the snapshot {name}",
        *([f"start {record.name}"] if record.wanted else []),
    ]


def restore(node: Node, id: str, name: str, timeout: int = 30) -> Record:
    """Put an environment back to a snapshot, which stays; what was is the snapshot ``AUTOMATIC``.

    A running one is stopped (killed after ``timeout`` seconds) and started; requests are held
    meanwhile. Undone by restoring ``AUTOMATIC``. Raises InvalidInput, NotFound, Conflict.
    """
    id = node.records.resolve(id)
    with node.lock(id):
        record = lifecycle.ready(node, id)
        find(node, id, name)
        sweep(node, record)
        new, ready = _ways(node, id)
        try:
            new.mkdir(mode=0o700)
            source = folder(node.settings, id) / name
            with copies.room(node, record):
                copies.bring_back(node, source, new, record)
            write_atomic(new / _FACTS, (source / _FACTS).read_bytes(), 0o600)
            new.rename(ready)
            kernel.sync(ready)  # the record, on another disk, must not know more than this one
            record = node.change(id, lambda now: now.changed(stage=Stage.RESTORING))
        except BaseException:
            with suppress(CorpusError, OSError):
                if node.records.get(id).stage is Stage.READY:
                    sweep(node, record)
            raise
        return finish(node, record, timeout)


def settle(node: Node, id: str) -> None:
    """End a restore that was left half-way; fine when none was. Raises NotFound."""
    id = node.records.resolve(id)
    with node.lock(id):
        record = node.records.get(id)
        if record.stage is Stage.RESTORING:
            finish(node, record)


def finish(node: Node, record: Record, timeout: int = 30) -> Record:
    """End a restore from wherever a crash left it: exchange the volumes for those that lie ready.

    Hold the environment's lock.
    """
    home, place = guest.home(node.settings, record.id), folder(node.settings, record.id)
    _, ready = _ways(node, record.id)
    before = place / ".before"
    traffic.stop(node, record, timeout)
    if any((ready / part).exists() for part in copies.PARTS) and not (before / _FACTS).exists():
        before.mkdir(mode=0o700, exist_ok=True)
        _describe(before, record, frozen=True)  # it is stopped
    for part in copies.PARTS:
        if (ready / part).exists():
            if (home / part).exists():
                (home / part).rename(before / part)
            (ready / part).rename(home / part)
    if before.exists():
        with copies.room(node, record):
            copies.delete(node, place / AUTOMATIC)
        before.rename(place / AUTOMATIC)
    kernel.sync(home)
    if facts := _read(ready / _FACTS):
        record = node.change(record.id, lambda now: now.changed(image=facts.image))
    sweep(node, record)
    try:
        if record.wanted:
            lifecycle.bring_up(node, record)
            lifecycle.follow(node, record)
    finally:
        # The last: whoever asks again after a death must not restore twice, and so lose what
        # was before. One that does not start is ready all the same: it may be put back.
        record = node.change(record.id, lambda now: now.changed(stage=Stage.READY))
    return record


def _ways(node: Node, id: str) -> tuple[Path, Path]:
    """Return where volumes to go back to are made, and where they are whole."""
    place = folder(node.settings, id)
    return place / ".restore.new", place / ".restore"


def sweep(node: Node, record: Record) -> None:
    """Remove what a crash left of a snapshot. Hold the lock; no restore is to be ended."""
    left = list(folder(node.settings, record.id).glob(".*"))
    if not left:
        copies.settle(node, record)  # as a death may have left it in the midst of this
        return
    with copies.room(node, record):
        for path in left:
            copies.delete(node, path)


def tidy(node: Node, id: str) -> None:
    """Undo what a crash left of a snapshot, as the node does at boot."""
    with node.lock(id):
        sweep(node, lifecycle.ready(node, id))
