"""Faults at any instant of a process: its death, a full disk, a command that fails.

An instant is a change that the process is about to make to the files below a folder, a
command that it is about to run or has run, or a mark of its own (``pass_through``). Python
tells of the former by its audit events, so that no code has to be prepared for it. A hook
cannot be taken off again: arm it in a forked child.

Source: the audit events table of Python's library reference, PEP 578.
"""

from __future__ import annotations

import errno
import os
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

MARK = "tests.mark"
_CHANGES = frozenset(
    "os.rename os.mkdir os.remove os.rmdir os.symlink os.setxattr os.removexattr os.truncate "
    "os.chmod os.link".split()
)
_ALLOCATES = frozenset("os.mkdir os.symlink os.setxattr os.link".split())
# Which argument is the descriptor of the directory that the name is relative to, or -1.
_BENEATH = {"os.rename": 2, "os.mkdir": 2, "os.remove": 1, "os.rmdir": 1, "os.symlink": 2}
_WRITES = os.O_WRONLY | os.O_RDWR

Kind = Literal["death", "full", "overfull", "command"]


class Killed(BaseException):
    """What no clearing-up sees, where a death is only played: the process is gone."""


@dataclass(frozen=True)
class Fault:
    """What goes wrong ``count`` instants after the mark ``point`` was passed.

    ``full``: nothing can be written until something large is unlinked; ``overfull``: nothing
    until a person makes room; ``command``: the next command fails.
    """

    kind: Kind
    point: str = ""
    count: int = 0


def pass_through(point: str) -> None:
    """Say that the process passes ``point``."""
    sys.audit(MARK, point)


class Instants:
    """Count the instants of this process, and have each fault come at its own.

    With ``beneath`` a change is one too that is made by the descriptor of a directory.
    """

    def __init__(
        self,
        folder: Path,
        faults: Sequence[Fault],
        *,
        each: Callable[[], None],
        large: Path,
        beneath: bool = False,
    ) -> None:
        self._folder = str(folder)
        # How many instants each fault has seen since its mark; -1 before that.
        self._counts = {fault: -1 if fault.point else 0 for fault in faults}
        self._beneath = beneath
        self._each = each
        self._large = str(large)
        self._aside = False
        self.full = ""
        self.failing = False
        self.on_full: Callable[[Fault], None] = lambda _fault: None
        self.last = ""

    def arm(self) -> None:
        """Begin; there is no end to it but that of the process."""
        sys.addaudithook(self._hook)

    def disarm(self) -> None:
        """End it all the same, for what was forked off."""
        self._aside = True

    def _hook(self, event: str, args: tuple[Any, ...]) -> None:
        if self._aside:
            return
        if event == MARK:
            self._passed(str(args[0]))
        elif event in _CHANGES or (event == "open" and _is_writing(args)):
            path = os.fspath(args[1 if event == "os.symlink" else 0]) if _named(args) else ""
            if self._beneath and event in _BENEATH:
                path = _joined(args[_BENEATH[event]], path)
            if os.fsdecode(path).startswith(self._folder):
                self._instant(event, str(path), args)

    def _passed(self, point: str) -> None:
        for fault, count in self._counts.items():
            if count < 0 and point == fault.point:
                self._counts[fault] = 0
        self._instant(MARK, point, ())

    def _instant(self, event: str, path: str, args: tuple[Any, ...]) -> None:
        self.last = f"{event} {path}"
        self._aside = True
        try:
            self._each()
            self._come()
        finally:
            self._aside = False
        if event == "os.remove" and path == self._large and self.full == "full":
            self.full = ""
        if self.full and (event in _ALLOCATES or (event == "open" and _is_allocating(path, args))):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)

    def _come(self) -> None:
        for fault, count in self._counts.items():
            if count < 0:
                continue
            self._counts[fault] = count + 1
            if count != fault.count:
                continue
            if fault.kind == "death":
                os.kill(os.getpid(), signal.SIGKILL)
            elif fault.kind == "command":
                self.failing = True
            else:
                self.full = fault.kind
                self.on_full(fault)


def _named(args: tuple[Any, ...]) -> bool:
    return isinstance(args[0], str | os.PathLike)


def _joined(folder: int, path: str | bytes) -> str:
    place = f"{Path(f'/proc/self/fd/{folder}').readlink()}/" if folder >= 0 else ""
    return f"{place}{os.fsdecode(path)}"


def _is_writing(args: tuple[Any, ...]) -> bool:
    return _named(args) and bool(args[2] & _WRITES)


def _is_allocating(path: str, args: tuple[Any, ...]) -> bool:
    flags = args[2]
    new = flags & os.O_CREAT and not os.path.lexists(path)
    return bool(new or flags & (os.O_TRUNC | os.O_APPEND))
