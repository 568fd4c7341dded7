"""Commands in a row, each reading what the one before it prints; no shell between them."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import IO

from corpus.hosts.files import write_all
from corpus.model.errors import CommandFailed

_BUFFER = 1 << 18
_ROOM = 1 << 20  # bytes that a pipe holds, so that neither side waits for the other at each page


@contextmanager
def output_of(
    commands: Sequence[Sequence[str]], source: int, *, timeout: float
) -> Iterator[IO[bytes]]:
    """Yield what the last of ``commands`` prints; the first reads the descriptor ``source``.

    All of it is to be read. Leaving the block waits for the commands. Raises CommandFailed
    when one ends non-zero, or runs past ``timeout`` seconds; another exception in the block
    kills them.
    """
    with _running(commands, source, subprocess.PIPE, timeout) as started:
        output = started[-1].stdout
        assert output is not None  # noqa: S101  asked for above
        with output:
            yield output


@contextmanager
def into(
    commands: Sequence[Sequence[str]], source: int, target: int, *, timeout: float
) -> Iterator[Callable[[], bool]]:
    """Yield what tells whether they still run, while the last one prints to ``target``.

    What it has printed can be read there meanwhile. All else is as with ``output_of``.
    """
    with _running(commands, source, target, timeout) as started:
        yield lambda: started[-1].poll() is None


@contextmanager
def _running(
    commands: Sequence[Sequence[str]], source: int, target: int, timeout: float
) -> Iterator[list[subprocess.Popen[bytes]]]:
    with tempfile.TemporaryFile() as errors, contextlib.ExitStack() as stack:
        started = _start(commands, source, target, errors, stack)
        expired = threading.Event()

        def expire() -> None:
            expired.set()
            _kill(started)

        timer = threading.Timer(timeout, expire)
        timer.daemon = True
        timer.start()
        stack.callback(timer.cancel)
        yield started
        codes = [process.wait() for process in started]
        if expired.is_set() or any(codes):
            at = next((n for n, code in enumerate(codes) if code), 0)
            errors.seek(0)
            told = errors.read(1 << 16).decode(errors="replace")
            raise CommandFailed(commands[at], None if expired.is_set() else codes[at], told)


def _start(
    commands: Sequence[Sequence[str]],
    source: int,
    target: int,
    errors: IO[bytes],
    stack: contextlib.ExitStack,
) -> list[subprocess.Popen[bytes]]:
    started: list[subprocess.Popen[bytes]] = []
    stack.callback(_end, started)
    given: int | IO[bytes] = source
    for number, argv in enumerate(commands, start=1):
        wanted = target if number == len(commands) else subprocess.PIPE
        try:
            process = subprocess.Popen(
                list(argv), stdin=given, stdout=wanted, stderr=errors, bufsize=_BUFFER
            )
        except FileNotFoundError as error:
            raise CommandFailed(argv, 127, str(error)) from None
        if started and started[-1].stdout:
            started[-1].stdout.close()  # or its end would never be seen
        started.append(process)
        if process.stdout:
            widen(process.stdout.fileno())
            given = process.stdout
    return started


def widen(pipe: int) -> None:
    """Let a pipe hold more, where the account's share of such memory allows it."""
    with contextlib.suppress(OSError):
        fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, _ROOM)


def pipe() -> tuple[int, int]:
    """Return the two ends, reading first, of a pipe that holds much."""
    ends = os.pipe()
    widen(ends[0])
    return ends


@contextmanager
def fed(pieces: Iterable[bytes]) -> Iterator[tuple[int, Callable[[], str]]]:
    """Yield a pipe that a thread writes ``pieces`` to, and what tells their SHA-256 in the end.

    That raises the error that ended the pieces early, an OSError.
    """
    reading, writing = pipe()
    digest, failures = hashlib.sha256(), []

    def feed() -> None:
        try:
            with open(writing, "wb", 0) as target:  # noqa: PTH123
                for data in pieces:
                    digest.update(data)
                    write_all(target.fileno(), data)
        except OSError as error:
            failures.append(error)

    def told() -> str:
        thread.join()
        if failures:
            raise failures[0]
        return digest.hexdigest()

    thread = threading.Thread(target=feed, daemon=True)
    thread.start()
    try:
        yield reading, told
    finally:
        os.close(reading)  # who still writes is told so, and ends
        thread.join()


def _kill(started: Sequence[subprocess.Popen[bytes]]) -> None:
    for process in started:
        process.kill()


def _end(started: Sequence[subprocess.Popen[bytes]]) -> None:
    """Leave no process behind, whatever happened."""
    _kill(started)
    for process in started:
        process.wait()
        if process.stdout:
            process.stdout.close()
