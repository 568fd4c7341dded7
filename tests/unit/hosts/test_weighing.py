"""What a tree takes, whatever lies in it."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from corpus.hosts import beneath, weighing


def fill(path: Path, size: int = 100_000) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(os.urandom(size))
    with path.open("rb") as file:  # blocks are given when it reaches the disk
        os.fsync(file.fileno())


def du(path: Path) -> int:
    said = subprocess.run(
        ["du", "--summarize", "--block-size=1", path], capture_output=True, text=True, check=True
    )
    return int(said.stdout.split()[0])


def test_it_is_what_du_says_with_links_and_holes(tmp_path: Path) -> None:
    top, outside = tmp_path / "top", tmp_path / "outside"
    fill(top / "a/b/c/file")
    fill(outside / "file", 500_000)
    (top / "again").hardlink_to(top / "a/b/c/file")
    (top / "trap").symlink_to(outside)
    with (top / "sparse").open("wb") as file:
        file.truncate(1 << 30)
    os.mkfifo(top / "pipe")
    found = weighing.weigh(top, 10)
    assert found.complete
    assert sum(found.found.values()) == du(top) < 200_000


def test_places_are_told_apart_down_to_a_depth(tmp_path: Path) -> None:
    for path in ("file", "a/file", "a/b/file", "a/b/c/d/file", "e/file"):
        fill(tmp_path / path)
    found = weighing.weigh(tmp_path, 10, depth=2).found
    assert found.keys() == {"", "a", "a/b", "e"}
    assert found["a/b"] >= 200_000 > found["a"] >= 100_000
    assert sum(found.values()) == du(tmp_path)


def test_it_ends_when_its_time_is_over(tmp_path: Path) -> None:
    fill(tmp_path / "a/file")
    assert not weighing.weigh(tmp_path, 0).complete


def test_one_deeper_than_paths_can_be_is_walked(tmp_path: Path) -> None:
    names, top = 2500, tmp_path / "top"
    top.mkdir()
    handle = os.open(top, os.O_RDONLY)
    for _ in range(names):
        os.mkdir("deep", dir_fd=handle)
        inner = os.open("deep", os.O_RDONLY, dir_fd=handle)
        os.close(handle)
        handle = inner
    os.close(handle)
    before = len([*Path("/proc/self/fd").iterdir()])
    found = weighing.weigh(top, 10)
    assert (found.complete, len([*Path("/proc/self/fd").iterdir()])) == (True, before)
    assert sum(found.found.values()) >= names * (tmp_path.stat().st_blocks * 512)
    with beneath.opened(tmp_path) as folder:  # pytest cannot
        beneath.remove(folder, "top")


def test_what_is_too_much_is_left_out_and_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in "abc":
        fill(tmp_path / name / "inner/file")
    monkeypatch.setattr(weighing, "_MOST", 2)
    assert not weighing.weigh(tmp_path, 10).complete
    monkeypatch.setattr(weighing, "_MOST", 200)
    monkeypatch.setattr(weighing, "_DEEPEST", 1)
    assert not weighing.weigh(tmp_path, 10).complete
    monkeypatch.setattr(weighing, "_DEEPEST", 200)
    monkeypatch.setattr(weighing, "_PLACES", 2)
    found = weighing.weigh(tmp_path, 10, depth=2)
    assert (found.complete, len(found.found)) == (True, 2)
    assert sum(found.found.values()) == du(tmp_path)


def test_a_directory_that_is_moved_away_meanwhile_leads_nowhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    top, outside = tmp_path / "top", tmp_path / "outside"
    fill(outside / "secret/file", 500_000)
    fill(top / "a/b/file")
    look = weighing._Walk.look

    def late(self: weighing._Walk, handle: int, place: str) -> list[str]:
        found = look(self, handle, place)
        if "b" in found:
            (top / "a").rename(outside / "a")
        return found

    monkeypatch.setattr(weighing._Walk, "look", late)
    found = weighing.weigh(top, 10)
    assert not found.complete
    assert sum(found.found.values()) < 200_000
