"""Copies by hard links and reflinks on plain directories; snapshots are tested on a real btrfs."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from corpus.hosts.fake import Fake
from corpus.hosts.local import Local
from corpus.model.errors import CommandFailed
from corpus.project import trees
from corpus.project.trees import Way
from projects import digest

HOST = Local()


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    (folder / "sub").mkdir(parents=True)
    (folder / "db").write_text("one")
    (folder / "sub" / "big").write_bytes(b"x" * 70000)
    (folder / "sub" / "big").chmod(0o640)
    (folder / "link").symlink_to("db")
    (folder / "twin").hardlink_to(folder / "db")
    (folder / "empty").mkdir(mode=0o711)
    return folder


@pytest.mark.parametrize("way", [Way.HARDLINK, Way.REFLINK])
def test_a_copy_is_the_same_and_apart(source: Path, tmp_path: Path, way: Way) -> None:
    target = tmp_path / "target"
    trees.copy(source, target, way, HOST)
    assert digest(target) == digest(source)
    assert (target / "db").stat().st_ino == (target / "twin").stat().st_ino
    before = digest(target)
    with (source / "db").open("r+") as file:
        file.write("TWO")
    assert digest(target) == before
    assert digest(source) != before


def test_unchanged_files_are_shared_with_the_last_copy_never_with_the_live(
    source: Path, tmp_path: Path
) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    trees.copy(source, first, Way.HARDLINK, HOST)
    (source / "db").write_text("changed")
    trees.copy(source, second, Way.HARDLINK, HOST, first)

    def inode(folder: Path, name: str) -> int:
        return (folder / name).stat().st_ino

    assert inode(second, "sub/big") == inode(first, "sub/big")
    assert inode(second, "db") != inode(first, "db")
    live = {inode(source, "sub/big"), inode(source, "db")}
    assert live.isdisjoint({inode(second, "sub/big"), inode(second, "db")})
    assert (first / "db").read_text() == "one"
    assert digest(second) == digest(source)


@pytest.mark.parametrize("way", [Way.HARDLINK, Way.REFLINK])
def test_whole_or_not_at_all(source: Path, tmp_path: Path, way: Way) -> None:
    fake = Fake()
    fake.prepare_failure("--archive", err="No space left on device")
    target = tmp_path / "target"
    with pytest.raises(CommandFailed, match="No space left"):
        trees.copy(source, target, way, fake)
    assert not target.exists()
    (tmp_path / "target.partial" / "rubbish").mkdir(exist_ok=True)
    trees.copy(source, target, way, HOST)
    assert digest(target) == digest(source)
    assert not (tmp_path / "target.partial").exists()


def test_the_way_of_a_plain_filesystem(tmp_path: Path) -> None:
    can = Fake()
    assert trees.way_of(tmp_path, can) is Way.REFLINK
    cannot = Fake()
    cannot.prepare_failure("--reflink=always")
    assert trees.way_of(tmp_path, cannot) is Way.HARDLINK
    assert list(tmp_path.iterdir()) == []


def test_nobody_finds_what_the_way_is_tried_with(tmp_path: Path) -> None:
    """A deployment that dies leaves none of it; a report that asks meanwhile removes none."""
    seen: list[Path] = []
    fake = Fake()
    fake.answer("cp", lambda _argv: str(seen.extend(tmp_path.iterdir())))
    trees.way_of(tmp_path, fake)
    assert len(fake.calls) == 1
    assert seen == []


def test_remove_takes_anything_and_follows_nothing(source: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept").touch()
    (source / "way-out").symlink_to(outside)
    (tmp_path / "link").symlink_to(source)
    trees.remove(tmp_path / "link")
    assert source.exists()
    trees.remove(source)
    trees.remove(source)
    assert not source.exists()
    assert (outside / "kept").exists()
    trees.remove(outside / "kept")
    assert not (outside / "kept").exists()


def test_labels(tmp_path: Path) -> None:
    assert trees.label(tmp_path / "absent") == ""
    assert trees.label(tmp_path) == ""
    trees.set_label(tmp_path, "mine")
    assert trees.label(tmp_path) == "mine"
    moved = tmp_path.with_name(f"{tmp_path.name}-moved")
    tmp_path.rename(moved)
    assert trees.label(moved) == "mine"
    trees.clear(moved)
    assert trees.label(moved) == ""


def test_sizes(source: Path) -> None:
    assert trees.size_of(source) == (3 + 3 + 70000 + 2, 4)
    assert trees.free_bytes(source) > 0


def test_a_subvolume_of_another_file_system_is_copied(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def other(_source: Path, _target: Path) -> None:
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))

    monkeypatch.setattr(trees.subvolumes, "is_subvolume", lambda path: path == source)
    monkeypatch.setattr(trees.subvolumes, "snapshot", other)
    trees.copy(source, tmp_path / "copy", Way.SNAPSHOT, Local())
    assert digest(tmp_path / "copy") == digest(source)


def test_a_file_that_goes_while_its_size_is_asked(
    source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    walked = os.walk
    monkeypatch.setattr(
        trees.os, "walk", lambda path: ((f, n, [*s, "session"]) for f, n, s in walked(path))
    )
    assert trees.size_of(source) == (3 + 3 + 70000 + 2, 4)


def test_what_is_removed_is_never_found_half(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(_path: Path) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(trees, "_remove_plain", killed)
    with pytest.raises(KeyboardInterrupt):
        trees.discard(source)
    assert not source.exists()
    (left,) = source.parent.glob(f".{source.name}*")
    assert trees.is_discarded(left)
    monkeypatch.undo()
    source.mkdir()
    trees.discard(source)
    trees.discard(source)
    assert list(source.parent.glob(f"*{source.name}*")) == []
