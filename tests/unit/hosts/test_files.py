"""Files that a crash leaves old or new, never half."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from corpus.hosts.files import append_line, sweep, write_all, write_atomic


def test_a_reader_sees_the_old_or_the_new_content(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_atomic(path, b"old")
    with path.open("rb") as reader:
        write_atomic(path, b"new content", 0o600)
        assert reader.read() == b"old"
    assert path.read_bytes() == b"new content"
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("step", ["fsync", "fchmod", "replace"])
def test_a_failure_at_any_step_leaves_the_old_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    path = tmp_path / "file"
    write_atomic(path, b"old")

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path if step == "replace" else os, step, fail)
    with pytest.raises(OSError, match="No space"):
        write_atomic(path, b"new")
    assert path.read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


def test_lines_are_appended_whole(tmp_path: Path) -> None:
    path = tmp_path / "ledger"
    append_line(path, "one")
    append_line(path, "two\n")
    assert path.read_text() == "one\ntwo\n"
    assert path.stat().st_mode & 0o777 == 0o600


def test_what_a_death_left_is_swept_and_nothing_else(tmp_path: Path) -> None:
    kept = [tmp_path / name for name in ("file", ".file", ".file.x.Abcdefgh", ".name.tmpabc")]
    for path in (*kept, tmp_path / ".file.a_b3cd9x"):
        path.touch()
    sweep(tmp_path)
    assert sorted(tmp_path.iterdir()) == sorted(kept)


def test_a_part_that_was_written_is_not_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that gets full takes what it can, and says so only the next time."""
    write = os.write
    monkeypatch.setattr(os, "write", lambda handle, data: write(handle, data[:3]))
    with (tmp_path / "file").open("wb") as file:
        write_all(file.fileno(), b"0123456789")
    assert (tmp_path / "file").read_bytes() == b"0123456789"
