"""One command at a time on a lab. The lock is the kernel's, so it dies with its holder."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from corpus.model.errors import Conflict


@contextmanager
def held(path: Path, patience: float = 300.0) -> Iterator[None]:
    """Hold the lock file ``path``; raises Conflict after ``patience`` seconds of waiting."""
    path.parent.mkdir(parents=True, exist_ok=True)
    deadline = time.monotonic() + patience
    handle = _open_current(path, deadline)
    try:
        yield
    finally:
        os.close(handle)


def _open_current(path: Path, deadline: float) -> int:
    """Return the locked file that bears the name: ``down`` removes it while others wait."""
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if path.exists() and os.path.samestat(os.fstat(handle), path.stat()):
                return handle
        except BlockingIOError:
            if time.monotonic() > deadline:
                os.close(handle)
                raise Conflict(
                    "another command works on this lab", where=str(path),
                    mend="wait until it has ended, then try again",
                ) from None  # fmt: skip
            time.sleep(0.05)
        os.close(handle)
