"""Environments are removed, whole ones and what a crash left of one.

All of it may be called again: the record goes last.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from corpus.commands import lxc
from corpus.hosts import files
from corpus.model.names import environment_id
from corpus.node import pairing
from corpus.node.context import Node
from corpus.node.environments import exporting, guest, leftovers, lost, shares, sockets
from corpus.node.environments.lifecycle import let_go, state
from corpus.node.network import firewall
from corpus.node.proxy import replica, service
from corpus.node.records import Record, Stage
from corpus.node.storage import pool


@contextmanager
def alone(node: Node, id: str, *, wait: bool = True) -> Iterator[None]:
    """Hold an environment's lock; its file goes with the environment.

    Without ``wait``, Conflict is raised when somebody holds it.
    """
    with node.lock(id, wait=wait):
        try:
            yield
        finally:
            if node.records.find(id) is None:
                (node.settings.locks / id).unlink(missing_ok=True)


def remove(node: Node, record: Record) -> None:
    """Remove an environment, from wherever a crash left it. Hold its lock."""
    settings, volumes = node.settings, pool.volumes(node)
    with node.lock():
        record = node.records.get(record.id)
        back = record.elsewhere if record.stage is not Stage.MOVED else None
        if back is None:
            node.records.save(
                record.changed(stage=Stage.DESTROYING, routes=(), front=False, away="")
            )
            if record.front:
                firewall.apply(node)  # the front is on the node from here on
            # Who began a destroy may have died before the fronts were told.
            if record.routes or record.stage is Stage.DESTROYING:
                service.apply(node)
    if record.routes or record.stage is Stage.DESTROYING:
        replica.follow(node)
    if (found := state(node, record)[0]) != "STOPPED":
        if found == "FROZEN":  # else it would not die
            let_go(node, record)
        node.host.run(lxc.stop(settings.lxcpath, record.id, kill=True), timeout=60)
    leftovers.clear(record.id)
    sockets.withdraw(node, record.id)
    shares.withdraw(node, record)
    with suppress(OSError):  # that disk may be gone
        exporting.discard(node, record.id)
    volumes.remove(guest.home(settings, record.id), record.group)
    volumes.delete(guest.staged(settings, record.id))
    unconfigure(settings.lxcpath / record.id)
    _wait_for_disk(node, record.id)
    with node.lock():
        if back:  # it was to come back from there, and has not
            node.records.save(record.changed(stage=Stage.MOVED, wanted=False, origin="",
                                             move=replace(back, kept=False)))  # fmt: skip
            firewall.apply(node)
            return
        pairing.forget(node, record)
        if not node.records.damaged():  # whose groups are not known
            volumes.prune({other.group for other in node.records.lasting()})
        node.records.remove(record.id)  # the last: as long as it is there, all this is done again


def _wait_for_disk(node: Node, id: str) -> None:
    """Have what is removed be so after a power cut too: the record may lie on another disk."""
    for path in lost.places(node, id):
        if path.parent.is_dir():
            files.sync_names(path.parent)


def unconfigure(folder: Path) -> None:
    """Remove the configuration of a guest that is stopped. Hold its lock."""
    for path in (folder / "config", folder / "log", folder / guest.HALTED):
        path.unlink(missing_ok=True)
    files.sweep(folder)
    with suppress(OSError):  # LXC may have left files of its own
        folder.rmdir()


def destroy(node: Node, id: str, *, test: bool = False) -> list[str]:
    """Remove an environment with all its data; return what changes: nothing when there is none.

    Raises CorpusError.
    """
    id = node.records.resolve(id) if len(str(id)) < 36 else environment_id(id)
    with alone(node, id):
        record = node.records.find(id)
        if record is None:
            return []
        if not test:
            remove(node, record)
    led = [f"lead {route.host} nowhere" for route in record.routes]
    return [*led, f"remove {record.name} with all its data"]


def sweep(node: Node, id: str) -> Stage | None:
    """Remove what a crash left of an environment; return which stage, None for one that is whole.

    One that is being made at this moment is waited for, and stays.
    """
    with alone(node, id):
        record = node.records.find(id)
        if record is None or not record.half_made:
            return None
        remove(node, record)
    return record.stage
