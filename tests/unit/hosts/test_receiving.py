"""Bytes are taken as they come, and a peer that sends nothing, or for ever, is ended."""

from __future__ import annotations

import os
import sys
import time

import pytest

from corpus.hosts.receiving import receive
from corpus.model.errors import CommandFailed


def run(script: str, **more: float) -> bytes:
    pieces: list[bytes] = []
    receive([sys.executable, "-ISc", script], pieces.append, **more)  # type: ignore[arg-type]
    return b"".join(pieces)


def test_every_byte_arrives() -> None:
    script = "import sys; sys.stdout.buffer.write(bytes(range(256)) * 4096)"
    assert run(script) == bytes(range(256)) * 4096


def test_its_errors_are_told_and_not_taken() -> None:
    with pytest.raises(CommandFailed) as caught:
        run("import sys; print('x' * 9000 + 'why', file=sys.stderr); sys.exit(3)")
    assert caught.value.code == 3
    assert caught.value.output.strip().endswith("why")
    assert len(caught.value.output) <= 4000


def test_one_that_is_silent_is_ended() -> None:
    begun = time.monotonic()
    with pytest.raises(CommandFailed) as caught:
        run("import time; print(1, flush=True); time.sleep(60)", patience=0.3)
    assert caught.value.code is None
    assert time.monotonic() - begun < 30


def test_one_that_sends_for_ever_is_ended() -> None:
    with pytest.raises(CommandFailed) as caught:
        run("while True: print('x' * 100, flush=True)", limit=0.3)
    assert caught.value.code is None
    with pytest.raises(CommandFailed):
        run("import sys\nwhile True: print('x' * 100, file=sys.stderr)", limit=0.3)


def test_an_error_of_the_taker_ends_it() -> None:
    def refuse(_data: bytes) -> None:
        raise ValueError("enough")

    with pytest.raises(ValueError, match="enough"):
        receive([sys.executable, "-ISc", "while True: print('x' * 100)"], refuse)


def test_what_closes_its_pipes_and_stays_is_ended() -> None:
    with pytest.raises(CommandFailed):
        run("import os, time; os.close(1); os.close(2); time.sleep(60)", patience=0.3)


def test_a_program_that_is_not_there() -> None:
    with pytest.raises(CommandFailed) as caught:
        receive([f"/nowhere/{os.getpid()}"], print)
    assert caught.value.code == 127
