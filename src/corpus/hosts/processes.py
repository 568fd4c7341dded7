"""Processes of this machine by their ids, as /proc tells them."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path


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
    while pids := descendants(root, sparing):
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
