"""Commands in a row: what they print, how they fail, and that none is left."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from corpus.hosts import pipeline
from corpus.model.errors import CommandFailed

NOTHING = os.open(os.devnull, os.O_RDONLY)


def test_each_reads_what_the_one_before_prints(tmp_path: Path) -> None:
    file = tmp_path / "numbers"
    file.write_text("3\n1\n2\n")
    with file.open("rb") as source:
        commands = [["sort"], ["head", "-n", "2"]]
        with pipeline.output_of(commands, source.fileno(), timeout=10) as output:
            assert output.read() == b"1\n2\n"


@pytest.mark.parametrize("at", [0, 1])
def test_one_that_fails(at: int) -> None:
    commands = [["cat"], ["cat"]]
    commands[at] = ["sh", "-c", "cat; echo no room >&2; exit 3"]
    with (
        pytest.raises(CommandFailed, match="no room") as error,
        pipeline.output_of(commands, NOTHING, timeout=10) as output,
    ):
        output.read()
    assert (error.value.code, list(error.value.argv)) == (3, commands[at])


def test_one_that_is_not_there() -> None:
    with (
        pytest.raises(CommandFailed) as error,
        pipeline.output_of([["cat"], ["no-such-command"]], NOTHING, timeout=10),
    ):
        pass
    assert error.value.code == 127


def test_past_its_time() -> None:
    began = time.monotonic()
    with (
        pytest.raises(CommandFailed, match="past its time") as error,
        pipeline.output_of([["sleep", "60"]], NOTHING, timeout=0.2) as output,
    ):
        output.read()
    assert error.value.code is None
    assert time.monotonic() - began < 30


def test_a_failure_of_who_reads_ends_them(tmp_path: Path) -> None:
    """The commands never end by themselves; none outlives the block."""
    commands = [["sh", "-c", f"echo $$ >{tmp_path}/pid; exec yes"], ["cat"]]

    def read_some() -> None:
        with pipeline.output_of(commands, NOTHING, timeout=60) as output:
            raise ValueError(len(output.read(1 << 16)))

    with pytest.raises(ValueError, match="65536"):
        read_some()
    assert not Path("/proc", (tmp_path / "pid").read_text().strip()).exists()


def test_into_a_file_that_is_read_meanwhile(tmp_path: Path) -> None:
    with (tmp_path / "file").open("wb") as file:
        commands = [["sh", "-c", "echo one; sleep 0.3; echo two"], ["cat"]]
        with pipeline.into(commands, NOTHING, file.fileno(), timeout=10) as growing:
            while not (tmp_path / "file").read_bytes():
                assert growing()
            while growing():
                time.sleep(0.01)
            assert (tmp_path / "file").read_bytes() == b"one\ntwo\n"
        with (
            pytest.raises(CommandFailed),
            pipeline.into([["false"], ["cat"]], NOTHING, file.fileno(), timeout=10),
        ):
            pass
