"""What is said to a process and what it prints, up to a bound: a guest's could print for ever."""

from __future__ import annotations

import os
import select
import selectors
import subprocess
import time
from contextlib import suppress

_CHUNK = 1 << 16
_LAST = 4000  # bytes of what was printed that an error shows


class TooMuch(Exception):
    """The process has printed more than it may."""


class Talk:
    """Give ``stdin`` to a process and keep what it prints, ``most`` bytes of both together.

    It is started with pipes for its output, and for its input where there is ``stdin``.
    """

    def __init__(self, process: subprocess.Popen[bytes], stdin: bytes | None, most: int) -> None:
        self._process = process
        self._left = memoryview(stdin or b"")
        self._most = most
        self._out, self._err = bytearray(), bytearray()

    @property
    def out(self) -> str:
        """What it has printed so far."""
        return self._out.decode(errors="replace")

    @property
    def err(self) -> str:
        """What it has said of errors so far."""
        return self._err.decode(errors="replace")

    @property
    def last(self) -> str:
        """The end of what it has printed so far, of errors last."""
        return (self._out[-_LAST:] + self._err[-_LAST:]).decode(errors="replace")

    def hold(self, timeout: float | None) -> None:
        """Talk until the process has ended and nobody has its output open.

        Raises TooMuch, and subprocess.TimeoutExpired after ``timeout`` seconds; it may be called
        again then.
        """
        end = None if timeout is None else time.monotonic() + timeout
        with selectors.DefaultSelector() as pipes:
            for pipe, text in (
                (self._process.stdout, self._out),
                (self._process.stderr, self._err),
            ):
                if pipe is not None and not pipe.closed:
                    pipes.register(pipe, selectors.EVENT_READ, text)
            if self._process.stdin is not None and not self._process.stdin.closed:
                pipes.register(self._process.stdin, selectors.EVENT_WRITE)
            while pipes.get_map():
                for key, _ in pipes.select(self._until(end)):
                    if not (self._write() if key.data is None else self._read(key)):
                        pipes.unregister(key.fileobj)
                        key.fileobj.close()  # type: ignore[union-attr]  # a pipe of the process
        self._process.wait(self._until(end))

    def _until(self, end: float | None) -> float | None:
        if end is None:
            return None
        left = end - time.monotonic()
        if left <= 0:
            raise subprocess.TimeoutExpired(self._process.args, left)
        return left

    def _read(self, key: selectors.SelectorKey) -> bool:
        data = os.read(key.fd, _CHUNK)
        if len(self._out) + len(self._err) + len(data) > self._most:
            raise TooMuch
        key.data.extend(data)
        return bool(data)

    def _write(self) -> bool:
        """Write what certainly finds room; whoever reads no more is told nothing."""
        assert self._process.stdin is not None  # noqa: S101  it is registered
        with suppress(BrokenPipeError):
            written = os.write(self._process.stdin.fileno(), self._left[: select.PIPE_BUF])
            self._left = self._left[written:]
            return bool(self._left)
        return False
