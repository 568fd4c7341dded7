"""Processes of this machine by their ids, as /proc tells them."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from corpus.hosts import kernel

_helpers: set[int] = set()


def fork_helper(work: Callable[[], None]) -> int:
    """Run ``work`` in a child that ends with this process; return its pid.

    It is a helper of this process, not of what this process runs: ``kill_descendants``
    passes it over.
    """
    pid = os.fork()
    if pid:
        _helpers.add(pid)
        return pid
    try:
        kernel.die_with_parent()
        work()
    finally:
        os._exit(0)


def end_helper(pid: int) -> None:
    """End a helper and wait for it."""
    _helpers.discard(pid)
    with contextlib.suppress(ProcessLookupError, ChildProcessError):
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def parents() -> dict[int, int]:
    """Return the parent of every process."""
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError, ValueError, IndexError):
                # The name, in parentheses, may hold anything: what follows the last one counts.
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                found[int(entry.name)] = int(fields[1])
    return found


def descendants(root: int, sparing: frozenset[int] = frozenset()) -> list[int]:
    """Return the processes below ``root``; those of ``sparing`` and what is below them are not."""
    table = parents()
    found: list[int] = []
    level = [root]
    while level:
        level = [pid for pid, parent in table.items() if parent in level and pid not in sparing]
        found += level
    return found


def kill_descendants(
    root: int, sparing: frozenset[int] = frozenset(), patience: float = 5.0
) -> None:
    """Kill everything below ``root`` until nothing is left, ``patience`` seconds at most."""
    _kill_all(lambda: descendants(root, sparing | _helpers), patience)


def _kill_all(find: Callable[[], list[int]], patience: float, looks: int = 1) -> int:
    """Kill what ``find`` finds until it found nothing ``looks`` times; return how many."""
    killed: set[int] = set()
    deadline = time.monotonic() + patience
    while looks:
        pids = find()
        if not pids:
            looks -= 1
        elif time.monotonic() > deadline:
            break
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        killed.update(pids)
        _reap(pids)
        if pids or looks:
            time.sleep(0.01)
    return len(killed)


def _reap(pids: list[int]) -> None:
    for pid in pids:
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)


@contextlib.contextmanager
def marked(variable: str, value: str) -> Iterator[None]:
    """Have every program that is started within the block bear a mark in its environment.

    What only forks bears none; neither does a service, which systemd starts.
    """
    before = os.environ.get(variable)
    os.environ[variable] = value
    try:
        yield
    finally:
        if before is None:
            del os.environ[variable]
        else:
            os.environ[variable] = before


def kill_marked(variable: str, value: str, patience: float = 5.0) -> int:
    """Kill all that bears the mark until nothing is left, ``patience`` seconds at most.

    Never this process, nor those that it descends from. Return how many were killed.
    """
    mark = f"{variable}={value}".encode()
    # Twice: one that is just being started shows the environment of its parent yet.
    return _kill_all(lambda: _bearing(mark), patience, looks=2)


def _bearing(mark: bytes) -> list[int]:
    """Return the processes with ``mark`` in their environment; a dead one has none."""
    table = parents()
    own = {os.getpid()}
    pid = os.getpid()
    while pid := table.get(pid, 0):
        own.add(pid)
    found = []
    for pid in table.keys() - own:
        with contextlib.suppress(OSError):
            if mark in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
                found.append(pid)
    return found


def lock_holders(path: Path) -> dict[int, int]:
    """Return the processes that hold a lock of the kernel on a file, each with its taker.

    A lock outlives who took it in what that one forked: the taker is then no process (0).
    """
    wanted = path.stat()
    found = {}
    for descriptor in Path("/proc").glob("[0-9]*/fd/*"):
        with contextlib.suppress(OSError):
            if os.path.samestat(descriptor.stat(), wanted):
                info = Path(str(descriptor).replace("/fd/", "/fdinfo/")).read_text()
                for line in info.splitlines():
                    if line.startswith("lock:"):
                        found[int(descriptor.parts[2])] = int(line.split()[5])
    table = parents()
    return {holder: taker if taker in table else 0 for holder, taker in found.items()}


def kill_account(uid: int, patience: float = 5.0) -> int:
    """Kill all that runs as an account until nothing does, ``patience`` seconds at most.

    Return how many were killed.
    """
    return _kill_all(lambda: _of_account(uid), patience, looks=2)


def _of_account(uid: int) -> list[int]:
    """Return the processes of an account; a dead one has no command line."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if entry.stat().st_uid == uid and (entry / "cmdline").read_bytes():
                found.append(int(entry.name))
    return found
