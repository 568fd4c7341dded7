"""How many bytes a tree of files takes, found by walking it, whoever has filled it.

It goes by descriptors and through no link, for a given time at the most; neither the descriptors
nor the memory that it takes grow without end with what somebody hostile puts there.
"""

from __future__ import annotations

import os
import stat
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_MOST = 200_000  # directories that wait, and files of several names that are remembered
_DEEPEST = 20_000  # directories within one another
_PLACES = 5_000  # directories that are told apart
_BLOCK = 512


@dataclass(frozen=True)
class Weight:
    """``found``: bytes by place, which is a path in the tree, ``""`` its top.

    ``complete``: whether all was seen. Else the tree takes more than that.
    """

    found: dict[str, int]
    complete: bool


def weigh(top: Path, seconds: float, depth: int = 0) -> Weight:
    """Walk the directory ``top`` for so long; tell directories apart down to ``depth`` names.

    Raises OSError where it is none.
    """
    walk = _Walk(time.monotonic() + seconds, depth)
    handle = os.open(top, _FOLDER)
    try:
        walk.count("", os.fstat(handle))
        levels = [_Level("", _identity(handle), walk.look(handle, ""))]
        while levels:
            if time.monotonic() > walk.deadline:
                walk.complete = False
                break
            handle = walk.step(handle, levels)
    finally:
        os.close(handle)
    return Weight(dict(walk.found), walk.complete)


@dataclass
class _Level:
    place: str
    identity: tuple[int, int]
    inner: list[str]


class _Walk:
    def __init__(self, deadline: float, depth: int) -> None:
        self.deadline, self.depth = deadline, depth
        self.found: Counter[str] = Counter()
        self.complete = True
        self._links: set[tuple[int, int]] = set()
        self._waiting = 0

    def step(self, handle: int, levels: list[_Level]) -> int:
        """Go into the next directory, or up again; return the descriptor of where it is then."""
        here = levels[-1]
        if not here.inner:
            levels.pop()
            above = os.open("..", _FOLDER, dir_fd=handle) if levels else os.dup(handle)
            os.close(handle)
            if levels and _identity(above) != levels[-1].identity:
                levels.clear()  # it was moved meanwhile
                self.complete = False
            return above
        name = here.inner.pop()
        self._waiting -= 1
        try:
            inner = os.open(name, _FOLDER, dir_fd=handle)
        except OSError:  # gone, or something else by now
            return handle
        os.close(handle)
        place = here.place
        if len(levels) <= self.depth and len(self.found) < _PLACES:
            place = f"{place}/{name}" if place else name
        self.count(place, os.fstat(inner))
        within = self.look(inner, place) if len(levels) < _DEEPEST else []
        self.complete &= len(levels) < _DEEPEST
        levels.append(_Level(place, _identity(inner), within))
        return inner

    def look(self, handle: int, place: str) -> list[str]:
        """Count what is right in an open directory; return the names of the directories in it."""
        inner: list[str] = []
        with os.scandir(handle) as entries:
            for entry in entries:
                if time.monotonic() > self.deadline or self._waiting >= _MOST:
                    self.complete = False
                    break
                with suppress(FileNotFoundError):  # removed just now
                    status = entry.stat(follow_symlinks=False)
                    if stat.S_ISDIR(status.st_mode):
                        inner.append(entry.name)
                        self._waiting += 1
                    else:
                        self.count(place, status)
        return inner

    def count(self, place: str, status: os.stat_result) -> None:
        """Add what a file takes, one of several names once."""
        if status.st_nlink > 1 and not stat.S_ISDIR(status.st_mode):
            key = (status.st_dev, status.st_ino)
            if key in self._links:
                return
            if len(self._links) < _MOST:
                self._links.add(key)
        self.found[place] += status.st_blocks * _BLOCK


def _identity(handle: int) -> tuple[int, int]:
    status = os.fstat(handle)
    return (status.st_dev, status.st_ino)
