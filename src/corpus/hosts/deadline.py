"""A host whose commands end in time, all together, and print little: it keeps nobody."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import PurePath

from corpus.hosts.base import Command, Host, Result
from corpus.model.errors import CommandFailed

_MOST = 4 << 20  # bytes that one command may print


class Deadline(Host):
    """Run commands on ``outer`` until ``seconds`` are over, counted from its making.

    What runs then is ended and raises CommandFailed, and so does what is run afterwards, and what
    prints more than 4 MiB.
    """

    def __init__(self, outer: Host, seconds: float) -> None:
        self.name = outer.name
        self._outer = outer
        self._end = time.monotonic() + seconds

    def execute(self, command: Command) -> Result:
        """Run it there, for as long as is left."""
        left = self._end - time.monotonic()
        if left <= 0:
            raise CommandFailed(command.argv, None, "")
        own = left if command.timeout is None else min(command.timeout, left)
        return self._outer.execute(replace(command, timeout=own, most=min(command.most, _MOST)))

    def put(self, path: PurePath, data: bytes, mode: int = 0o644) -> None:
        """Write a file there."""
        self._outer.put(path, data, mode)

    def get(self, path: PurePath) -> bytes:
        """Read a file there."""
        return self._outer.get(path)
