"""What a command prints, taken as it comes: bytes from a peer that may send for ever."""

from __future__ import annotations

import contextlib
import os
import selectors
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from corpus.hosts.local import identity
from corpus.hosts.processes import kill_descendants
from corpus.model.errors import CommandFailed

_CHUNK = 1 << 18
_TAIL = 4000


def receive(
    argv: Sequence[str],
    take: Callable[[bytes], None],
    *,
    user: str | None = None,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    patience: float = 60,
    limit: float = 3600,
) -> None:
    """Run ``argv`` as ``user`` and give what it prints to ``take``, piece by piece.

    An error that ``take`` raises ends the command and passes. Raises CommandFailed, with the
    last of what it wrote to standard error, when it ends non-zero; with code None when it
    prints nothing for ``patience`` seconds, or lasts longer than ``limit`` seconds.
    """
    said = b""
    deadline = time.monotonic() + limit
    with _started(argv, user, env, cwd) as process:
        for from_errors, data in _pieces(process, patience, deadline):
            if from_errors:
                said = (said + data)[-_TAIL:]
            elif data:
                take(data)
            else:
                raise CommandFailed(argv, None, said.decode(errors="replace"))
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(min(patience, max(0.0, deadline - time.monotonic())))
        if process.returncode != 0:
            raise CommandFailed(argv, process.returncode, said.decode(errors="replace"))


@contextlib.contextmanager
def _started(
    argv: Sequence[str], user: str | None, env: Mapping[str, str] | None, cwd: Path | None
) -> Iterator[subprocess.Popen[bytes]]:
    """Start the command; whatever happens, it is over after the block."""
    become, names = identity(user) if user is not None else ([], {})
    try:
        process = subprocess.Popen(
            [*become, *argv],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, **(env or {}), **names},
            cwd=cwd,
        )
    except (FileNotFoundError, PermissionError) as error:
        raise CommandFailed(argv, 127, str(error)) from None
    with process:
        try:
            yield process
        finally:
            if process.poll() is None:
                kill_descendants(process.pid, patience=1.0)
                process.kill()


def _pieces(
    process: subprocess.Popen[bytes], patience: float, deadline: float
) -> Iterator[tuple[bool, bytes]]:
    """Give what comes from either pipe until both are closed; empty bytes: too long nothing."""
    with selectors.DefaultSelector() as selector:
        for pipe in (process.stdout, process.stderr):
            assert pipe is not None  # noqa: S101  asked for above
            selector.register(pipe, selectors.EVENT_READ)
        while selector.get_map():
            left = deadline - time.monotonic()
            ready = selector.select(min(patience, left)) if left > 0 else []
            if not ready:  # or it goes on for too long
                yield False, b""
            for key, _ in ready:
                data = os.read(key.fd, _CHUNK)
                if data:
                    yield key.fileobj is process.stderr, data
                else:
                    selector.unregister(key.fileobj)
