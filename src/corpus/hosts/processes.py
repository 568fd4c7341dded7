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
    deadline = time.monotonic() + patience
    while pids := descendants(root, sparing | _helpers):
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        _reap(pids)
        if time.monotonic() > deadline:
            return
        time.sleep(0.01)


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
    found: set[int] = set()
    deadline = time.monotonic() + patience
    clean = 0
    # Twice: one that is just being started shows the environment of its parent yet.
    while clean < 2 and time.monotonic() < deadline:
        pids = _bearing(f"{variable}={value}".encode())
        clean = 0 if pids else clean + 1
        found.update(pids)
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        _reap(pids)
        time.sleep(0.01)
    return len(found)


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
