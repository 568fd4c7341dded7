"""Sessions with another node that is a fork of this process, as one behind SSH is a process."""

from __future__ import annotations

import os
import tempfile
import traceback
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from corpus.hosts.session import Session


class Barrier:
    """Knows when all that were forked within it have ended."""

    handle = -1

    def __init__(self) -> None:
        self.children: list[int] = []

    def __enter__(self) -> None:
        self._read, self.handle = os.pipe()

    def __exit__(self, *_: object) -> None:
        os.close(self.handle)
        self.handle = -1
        os.read(self._read, 1)
        os.close(self._read)
        for child in self.children:
            os.waitpid(child, 0)
        self.children = []


BARRIER = Barrier()


class Forked(Session):
    """A session with a fork that answers; it is begun within the ``BARRIER``."""

    def __init__(self, argv: Sequence[str]) -> None:
        self._argv, self._read = tuple(argv), b""
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115  closed by close()
        there, back = os.pipe(), os.pipe()
        child = os.fork()
        if child == 0:
            try:
                _only(there[0], back[1], BARRIER.handle)
                self.answer(there[0], back[1])
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(0)
        BARRIER.children.append(child)
        os.close(there[0])
        os.close(back[1])
        self._process = _Process(there[1], back[0])  # type: ignore[assignment]

    def answer(self, come: int, go: int) -> None:
        """Do in the fork what the command would do at the other node."""
        raise NotImplementedError


class _Process:
    """What a session has of a process, where it is ssh that it ends, and not who is behind."""

    def __init__(self, target: int, source: int) -> None:
        self.stdin, self.stdout = os.fdopen(target, "wb", 0), os.fdopen(source, "rb", 0)

    def poll(self) -> None:
        """Nothing is known of its end."""

    def wait(self, timeout: float = 0) -> None:
        """Wait for nothing."""

    def kill(self) -> None:
        """The other one reads the end."""


def _only(*kept: int) -> None:
    """Close what was inherited, as a program that is called has it."""
    for path in list(Path("/proc/self/fd").iterdir()):
        handle = int(path.name)
        if handle > 2 and handle not in kept:
            with suppress(OSError):
                os.close(handle)
