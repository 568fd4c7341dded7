"""Checks of what killed operations left: half-written files, locks of what is gone."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from corpus.hosts import files
from corpus.model.finding import Finding, State
from corpus.node.certificates import changes, store
from corpus.node.context import Node
from corpus.node.doctor.looking import busy, entries, is_id, known_ids, whole
from corpus.node.environments import exporting, snapshots
from corpus.node.migration import peers, recovery
from corpus.node.records import Record
from corpus.node.saltify import records as machines
from corpus.node.saltify.records import Machines

NODE, IMAGES = "node", "images"
_HALF_WRITTEN: dict[str, Callable[[Node], list[Path]]] = {
    machines.LOCK: lambda node: machines.Machines(node).half_written(),
    peers.LOCK: peers.half_written,
}
"""What else is written where, by the lock under which it is."""


def temporary(node: Node) -> Iterator[Finding]:
    """No file was left half-written."""
    for folder, lock in _folders(node):
        if busy(node, lock):
            continue
        for path in files.temporary(folder):
            yield Finding(
                "temporary", State.WARN, "left half-written", str(path), "it is removed",
                partial(_sweep, node, folder, lock),
            )  # fmt: skip
    for lock, left in _HALF_WRITTEN.items():
        for path in [] if busy(node, lock) else left(node):
            yield Finding(
                "temporary", State.WARN, "left half-written", str(path), "it is removed",
                partial(_discard, node, path, lock),
            )  # fmt: skip


def _discard(node: Node, path: Path, lock: str) -> None:
    with node.lock(lock):
        if path in _HALF_WRITTEN[lock](node):
            path.unlink()


def certificates(node: Node) -> Iterator[Finding]:
    """No certificate and key lie where no record says whose they are."""
    if busy(node, changes.LOCK):
        return
    for path in store.strays(node.settings):
        yield Finding(
            "certificate_folders", State.WARN, "a certificate's folder without its record",
            str(path), "it is removed", partial(_forget, node, path),
        )  # fmt: skip


def _forget(node: Node, path: Path) -> None:
    with node.lock(changes.LOCK):
        if path in store.strays(node.settings):
            shutil.rmtree(path)


def _folders(node: Node) -> list[tuple[Path, str]]:
    """Return the folders that files are written into, with the lock under which they are."""
    settings = node.settings
    of_certificates = [
        (path, changes.LOCK)
        for path in [settings.certificates, *entries(settings.certificates)]
        if path.is_dir()
    ]
    of_guests = [(path, path.name) for path in entries(settings.lxcpath) if is_id(path.name)]
    of_snapshots = [
        (path, record.id)
        for record in node.records.all()
        for path in snapshots.folder(settings, record.id).glob("[!.]*")
    ]
    return [
        (settings.records, NODE),
        (settings.proxy, NODE),
        (settings.pool, NODE),
        (settings.lxcpath, NODE),
        (settings.images, IMAGES),
        *of_certificates,
        *of_guests,
        *of_snapshots,
    ]


def _sweep(node: Node, folder: Path, lock: str) -> None:
    with node.lock(lock):
        files.sweep(folder)


def copies(node: Node) -> Iterator[Finding]:
    """No snapshot, restore, export or migration was left half made."""
    for record in whole(node):
        left = sorted(snapshots.folder(node.settings, record.id).glob(".*"))
        exported = exporting.staged(node, record.id)
        if exported.exists() and not busy(node, f"export-{record.id}"):
            left.append(exported)
        for path in left:
            yield Finding(
                "copies", State.WARN, "left half made", str(path), "it is removed",
                partial(_tidy, node, record),
            )  # fmt: skip
        if recovery.left(node, record.id) and not busy(node, f"migration-{record.id}"):
            yield Finding(
                "copies", State.WARN, "copies of a migration are left", record.id,
                "they are removed", partial(recovery.recover, node, record.id),
            )  # fmt: skip


def _tidy(node: Node, record: Record) -> None:
    snapshots.tidy(node, record.id)
    exporting.tidy(node, record)


def locks(node: Node) -> Iterator[Finding]:
    """No lock is of an environment or a machine that is gone."""
    there = [path for path in entries(node.settings.locks) if is_id(path.name)]
    known = known_ids(node) | {machine.id for machine in Machines(node).all()}
    for path in there:
        if path.name not in known and not busy(node, path.name):
            yield Finding(
                "locks", State.WARN, "it belongs to nobody", str(path), "it is removed",
                partial(_unlock, node, path),
            )  # fmt: skip


def _unlock(node: Node, path: Path) -> None:
    with node.lock(path.name):
        known = known_ids(node) | {machine.id for machine in Machines(node).all()}
        if path.name not in known:
            path.unlink(missing_ok=True)
