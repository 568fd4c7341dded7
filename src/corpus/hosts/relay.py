"""Two commands that talk with each other, and one that talks through descriptors it was given."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from contextlib import ExitStack

from corpus.hosts.files import write_all
from corpus.model.errors import CommandFailed

_CHUNK = 1 << 18
_AFTER = 60.0  # seconds for one to end once the other has
_SAID = 1 << 16  # bytes


def connect(one: Sequence[str], other: Sequence[str], *, timeout: float) -> tuple[int, int, str]:
    """Run two commands, each reading what the other prints; return their codes and what they said
    last.

    Raises CommandFailed past ``timeout`` seconds, and when the ``other`` one does not end soon
    after the ``one``.
    """
    with ExitStack() as stack:
        errors = stack.enter_context(tempfile.TemporaryFile())
        there, back = os.pipe(), os.pipe()
        started = []
        try:
            for argv, (source, target) in (
                (one, (back[0], there[1])),
                (other, (there[0], back[1])),
            ):
                process = subprocess.Popen(list(argv), stdin=source, stdout=target, stderr=errors)
                started.append(process)
                stack.callback(process.wait)
                stack.callback(process.kill)
        finally:
            for handle in (*there, *back):
                os.close(handle)
        try:
            codes = [started[0].wait(timeout), started[1].wait(min(timeout, _AFTER))]
        except subprocess.TimeoutExpired:
            raise CommandFailed(one, None, "it lasts too long") from None
        errors.seek(max(0, errors.seek(0, os.SEEK_END) - _SAID))
        return codes[0], codes[1], errors.read().decode(errors="replace")


def through(argv: Sequence[str], *, timeout: float) -> int:
    """Run a command whose own helper, this module, talks at our standard input and output."""
    source, target = os.dup(0), os.dup(1)
    try:
        return subprocess.run(
            list(argv), stdin=subprocess.DEVNULL, stdout=2, check=False,
            timeout=timeout, env={**os.environ, "CORPUS_RELAY": f"{source} {target}"},
            pass_fds=(source, target),
        ).returncode  # fmt: skip
    finally:
        os.close(source)
        os.close(target)


def helper() -> list[str]:
    """Return the command that a command of ``through`` is to start for its connection."""
    return [sys.executable, "-m", "corpus.hosts.relay"]


def _copy(source: int, target: int) -> None:
    while data := os.read(source, _CHUNK):
        write_all(target, data)
    os.close(target)


def main() -> int:
    """Copy both ways until what comes in has ended, as ssh(1) does."""
    for handle in (0, 1):  # rsync leaves its sockets so that a full one is an error
        os.set_blocking(handle, True)
    source, target = (int(number) for number in os.environ["CORPUS_RELAY"].split())
    threading.Thread(target=_copy, args=(0, target), daemon=True).start()
    _copy(source, 1)
    return 0


if __name__ == "__main__":
    sys.exit(main())
