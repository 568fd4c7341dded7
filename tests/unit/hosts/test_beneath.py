"""Work below a directory that somebody hostile has filled."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from corpus.hosts import beneath


def deep(place: Path, levels: int) -> None:
    """Make a directory ``deep`` that has ``levels`` others within one another, each with a file."""
    handle = os.open(place, os.O_RDONLY)
    for name in ("deep", *["d" * 100] * levels):
        os.mkdir(name, dir_fd=handle)
        inner = os.open(name, os.O_RDONLY, dir_fd=handle)
        os.close(os.open("file", os.O_WRONLY | os.O_CREAT, dir_fd=inner))
        os.close(handle)
        handle = inner
    os.close(handle)


def test_a_tree_deeper_than_any_path_is_long_goes(tmp_path: Path) -> None:
    deep(tmp_path, 1200)
    before = len(list(Path("/proc/self/fd").iterdir()))
    with beneath.opened(tmp_path) as folder:
        beneath.remove(folder, "deep")
    assert list(tmp_path.iterdir()) == []
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_a_file_is_written_in_place_of_such_a_tree(tmp_path: Path) -> None:
    deep(tmp_path, 1200)
    with beneath.opened(tmp_path) as folder:
        beneath.write(folder, "deep", "text", 0o644)
    assert (tmp_path / "deep").read_text() == "text"


def test_nothing_is_removed_behind_a_link(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out/file").write_text("mine")
    (tmp_path / "in/sub").mkdir(parents=True)
    (tmp_path / "in/sub/link").symlink_to(tmp_path / "out")
    (tmp_path / "in/link").symlink_to(tmp_path / "out")
    with beneath.opened(tmp_path / "in") as folder:
        beneath.remove(folder, "link/file")
        beneath.remove(folder, "sub")
        with pytest.raises(NotADirectoryError), beneath.opened("link", folder):
            pass
    assert (tmp_path / "out/file").read_text() == "mine"
    assert not (tmp_path / "in/sub").exists()
