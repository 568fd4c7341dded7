"""Checks of what runs: lock, mounts, services, and the disk that they need."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterable, Iterator
from functools import partial

from corpus.hosts import mounts as mounted
from corpus.hosts import processes
from corpus.model.errors import DeploymentRefused
from corpus.model.finding import Finding, State
from corpus.model.mode import Mode
from corpus.model.size import format_size
from corpus.project import binding, lock, refusing, reserve, room, trees
from corpus.project import services as units
from corpus.project.doctor.patient import Patient
from corpus.project.place import Project

_LEAST = 64 << 20  # bytes below which no deployment begins
_FEW = 1000  # files


def lock_of(project: Project) -> Iterator[Finding]:
    """Who holds the lock is alive."""
    path = project.paths.lock
    if not lock.is_held(path):
        return
    said = lock.holder(path) or "somebody"
    holders = processes.lock_holders(path)
    takers = {taker for taker in holders.values() if taker}
    if takers or not holders:
        by = f" (process {', '.join(map(str, sorted(takers)))})" if takers else ""
        yield Finding("lock", State.OK, f"held by {said}{by}", str(path))
        return
    left = sorted(holders)
    yield Finding(
        "lock",
        State.BAD,
        f"held by {said}, whose process is dead; it left {', '.join(map(str, left))}",
        str(path),
        f"kill -9 {' '.join(map(str, left))}",
        partial(_kill, left),
    )


def _kill(pids: Iterable[int]) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def mounts(patient: Patient) -> Iterator[Finding]:
    """``run/`` and ``project/`` are one directory when that is recorded, and nothing else is."""
    project, paths = patient.project, patient.project.paths
    if patient.under_way:
        return
    yield from _mounted(patient)
    if patient.unfinished:
        return
    bound, recorded = binding.is_bound(project), binding.is_recorded(project)
    where = f"{paths.project}, {paths.run}"
    if recorded and not bound:
        bind = partial(binding.rebind, project)
        yield Finding("mounts", State.BAD, "they are not bound", where, "they are bound", bind)
    elif bound and not recorded:
        what = "they are bound until the next boot only"
        record = partial(binding.bind, project)
        yield Finding("mounts", State.WARN, what, where, "the unit is written anew", record)
    elif patient.live and patient.live.mode == Mode.EDITABLE and not bound:
        what = "the live version is editable, and they are two directories"
        yield Finding("mounts", State.BAD, what, where, "deploy again")


def _mounted(patient: Patient) -> Iterator[Finding]:
    """Yield what is mounted besides, and what else a deployment would be refused for there."""
    project, paths, live = patient.project, patient.project.paths, patient.live
    mode = Mode(live.mode) if live else project.place.platform().default_mode
    known = {str(paths.run), str(paths.project)}
    if mode is not Mode.EDITABLE:
        for found in refusing.obstacles(project):
            known.add(str(found.where))
            yield Finding("mounts", State.BAD, found.what, str(found.where), str(found.mend))
    for point in mounted.below(paths.root):
        exchanged = mode is not Mode.EDITABLE or not point.is_relative_to(paths.data)
        if str(point) not in known and exchanged:
            mend = f"umount {point}"
            yield Finding("mounts", State.WARN, "something is mounted here", str(point), mend)


def services(patient: Patient) -> Iterator[Finding]:
    """Every unit of the live version is active."""
    if patient.under_way or not patient.live:
        return
    for said in units.inactive(patient.project, patient.live.runtime.get("services", [])):
        name = said.partition(" ")[0]
        yield Finding(
            "services", State.BAD, f"{said.partition(' (')[2].rstrip(')')}", name,
            f"systemctl status {name}; journalctl -u {name}",
        )  # fmt: skip


def disk(patient: Patient) -> Iterator[Finding]:
    """The disk has room for a deployment like the last, and the reserve is there."""
    project = patient.project
    where = str(project.paths.root)
    mend = "corpus_node.limit ID size=… on the node; mc_project.usage tells what takes room"
    try:
        free = room.free(project)
    except DeploymentRefused as error:
        yield Finding("disk", State.WARN, error.what, error.where or where, error.mend or "")
        free = trees.free_bytes(project.paths.root)
    last = 2 * int(patient.live.runtime.get("size", 0)) if patient.live else 0
    if free < _LEAST + last:
        state = State.BAD if free < _LEAST else State.WARN
        yield Finding("disk", state, f"{format_size(free)} are free", where, mend)
    left = os.statvfs(project.paths.root)
    if left.f_files and left.f_favail < _FEW:
        yield Finding("disk", State.BAD, f"{left.f_favail} files may be made yet", where, mend)
    if not patient.under_way and not reserve.is_there(project):
        yield Finding(
            "disk", State.WARN, "the reserve for a rollback on a full disk is gone", where,
            "it is written anew", partial(reserve.keep, project),
        )  # fmt: skip
