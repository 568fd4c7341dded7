"""A process that is talked with: lines and bytes to it, lines from it, until one of both ends."""

from __future__ import annotations

import os
import selectors
import subprocess
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress

from corpus.model.errors import CommandFailed

STALL = 60.0  # seconds in which somebody who is well takes something
_LONGEST = 1 << 22  # bytes of a line


class Session:
    """One running process. ``close`` it, whatever happens."""

    def __init__(self, argv: Sequence[str]) -> None:
        self._argv = tuple(argv)
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115  closed by close()
        self._read = b""
        try:
            self._process = subprocess.Popen(
                list(argv), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors,
                bufsize=0, start_new_session=True,
            )  # fmt: skip
        except OSError as error:
            self._errors.close()
            raise CommandFailed(argv, 127, str(error)) from None

    def write(self, data: bytes) -> None:
        """Send bytes. Raises CommandFailed when it has ended, or takes none for ``STALL`` seconds:
        then it is ended, for nobody knows what of it was taken."""
        assert self._process.stdin is not None  # noqa: S101  asked for above
        left = memoryview(data)
        try:
            handle = self._process.stdin.fileno()
            os.set_blocking(handle, False)
            with selectors.DefaultSelector() as selector:
                selector.register(handle, selectors.EVENT_WRITE)
                while left:
                    if not selector.select(STALL):
                        self._process.kill()
                        raise CommandFailed(
                            self._argv, None, f"it took nothing for {STALL:.0f} seconds"
                        )
                    left = left[os.write(handle, left) :]
        except (OSError, ValueError):
            raise self._ended() from None

    def line(self, patience: float) -> bytes:
        """Return the next line that it prints, without its end.

        Raises CommandFailed when it ends before, or says nothing for ``patience`` seconds.
        """
        assert self._process.stdout is not None  # noqa: S101  asked for above
        deadline = time.monotonic() + patience
        with selectors.DefaultSelector() as selector:
            selector.register(self._process.stdout, selectors.EVENT_READ)
            while b"\n" not in self._read:
                if not selector.select(max(0.0, deadline - time.monotonic())):
                    raise CommandFailed(self._argv, None, self._said())
                data = os.read(self._process.stdout.fileno(), 1 << 16)
                self._read += data
                if not data or len(self._read) > _LONGEST:
                    raise self._ended()
        line, _, self._read = self._read.partition(b"\n")
        return line

    def close(self) -> None:
        """End it."""
        with suppress(OSError):
            self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout, self._errors):
            if pipe is not None:
                with suppress(OSError):
                    pipe.close()

    def _said(self) -> str:
        try:
            self._errors.seek(0)
            return self._errors.read(1 << 16).decode(errors="replace")
        except ValueError:  # another thread has closed it, perhaps just now
            return "it was closed"

    def _ended(self) -> CommandFailed:
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(2)
        return CommandFailed(self._argv, self._process.poll(), self._said())
