"""The log of one deployment: a file, and whoever listens."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from pathlib import Path

from corpus.model.secret import masked

Sink = Callable[[str], None]


def _nobody(line: str) -> None:
    """Listen to nothing."""


class Log:
    """Write lines to the log file and to a listener.

    Neither a full disk nor a listener that went away may end a deployment, so both are
    ignored here. ``secrets`` are masked in every line.
    """

    def __init__(self, path: Path, sink: Sink = _nobody) -> None:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._handle = os.open(path, flags, 0o600)
        except OSError:
            self._handle = os.open(os.devnull, flags)
        self._sink = sink
        self.secrets: list[str] = []

    def masked(self, text: str) -> str:
        """Return ``text`` without the secrets."""
        return masked(text, self.secrets)

    def title(self, text: str) -> None:
        """Announce a step."""
        self._write(f"-----> {text}")

    def line(self, text: str) -> None:
        """Tell something within a step; a text of several lines is indented as a whole."""
        for line in text.splitlines() or [""]:
            self._write(f"       {line}")

    def alarm(self, text: str) -> None:
        """Tell what went wrong."""
        for line in text.splitlines():
            self._write(f" !     {line}")

    def _write(self, line: str) -> None:
        line = self.masked(line)
        with contextlib.suppress(OSError):
            os.write(self._handle, line.encode(errors="replace") + b"\n")
        try:
            self._sink(line)
        except OSError:
            self._sink = _nobody

    def close(self) -> None:
        """Close the file."""
        os.close(self._handle)
