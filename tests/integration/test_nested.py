"""Subvolumes within subvolumes on a real btrfs: found, copied in place, read-only, removed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from corpus.hosts import beneath, nested, subvolume_names, subvolumes
from corpus.model.errors import Conflict
from corpus.node.storage import packing

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="mounts a filesystem: needs root")


@pytest.fixture
def top(btrfs: Path) -> Iterator[Path]:
    """Return a subvolume with others within, among them a read-only one that holds one more."""
    made, copy = btrfs / "top", btrfs / "copy"
    subvolumes.create(made)
    (made / "folder").mkdir()
    for name in ("folder/one", "folder/one/deep", "kept", "kept/within"):
        subvolumes.create(made / name)
        (made / name / "file").write_text(name)
    subvolumes.set_read_only(made / "kept", True)
    yield made
    for path in (made, copy):
        if path.exists():
            subvolumes.delete(path)  # also what is read-only and holds another one
    assert not made.exists()


def test_they_are_found_at_any_depth_the_outer_ones_first(top: Path) -> None:
    assert list(nested.everything(top).items()) == [
        (b"folder/one", False),
        (b"folder/one/deep", False),
        (b"kept", True),
        (b"kept/within", False),
    ]


def test_more_than_one_call_tells_are_found(top: Path) -> None:
    for number in range(260):
        subvolumes.create(top / f"n{number:03}")
    assert len(nested.everything(top)) == 264


def test_a_copy_has_them_in_place_and_is_apart(top: Path) -> None:
    copy = top.with_name("copy")
    subvolumes.snapshot(top, copy)
    assert list((copy / "folder/one").iterdir()) == []
    nested.fill(top, copy)
    nested.fill(top, copy)  # what is there stays
    assert nested.everything(copy) == nested.everything(top)
    assert (copy / "kept/within/file").read_text() == "kept/within"
    (copy / "folder/one/deep/file").write_text("other")
    assert (top / "folder/one/deep/file").read_text() == "folder/one/deep"
    with pytest.raises(OSError, match="Read-only"):
        (copy / "kept/file").write_text("other")


def test_what_moves_meanwhile_is_no_copy(top: Path) -> None:
    copy = top.with_name("copy")
    subvolumes.snapshot(top, copy)
    (top / "folder/one").rename(top / "elsewhere")
    with pytest.raises(Conflict, match="was moved"):
        nested.fill(top, copy)


def test_a_link_leads_nowhere(top: Path, btrfs: Path) -> None:
    """A guest's root replaces, in what is copied, a directory by a link to somebody else's."""
    copy, foreign = top.with_name("copy"), btrfs / "foreign"
    foreign.mkdir()
    subvolumes.create(foreign / "one")
    subvolumes.snapshot(top, copy)
    (copy / "folder/one").rmdir()
    (copy / "folder").rmdir()
    (copy / "folder").symlink_to(foreign)
    with pytest.raises(Conflict, match="was moved"):
        nested.fill(top, copy)
    assert list((foreign / "one").iterdir()) == []
    subvolumes.delete(foreign / "one")
    foreign.rmdir()


def test_below_a_hostile_directory_no_link_is_followed(tmp_path: Path) -> None:
    mine, theirs = tmp_path / "mine", tmp_path / "theirs"
    mine.mkdir()
    theirs.mkdir()
    (mine / "file").write_text("mine")
    (theirs / "etc").symlink_to(mine)
    (theirs / "link").symlink_to(mine / "file")
    with beneath.opened(theirs) as folder:
        with pytest.raises(OSError, match="directory"):
            beneath.write(folder, "etc/file", "theirs", 0o600)
        with pytest.raises(OSError, match="upwards"):
            beneath.write(folder, "../mine/file", "theirs", 0o600)
        beneath.remove(folder, "etc/file")
        assert beneath.names(folder, "etc") == []
        beneath.write(folder, "link", "theirs", 0o600)
        beneath.write(folder, "new/place/file", "theirs", 0o640)
        beneath.remove(folder, "absent/file")
    assert (mine / "file").read_text() == "mine"
    assert (theirs / "link").read_text() == "theirs"
    assert (theirs / "new/place/file").stat().st_mode & 0o777 == 0o640


@pytest.fixture
def far(top: Path) -> bytes:
    """Return the path, of 5,000 bytes, of a read-only subvolume that holds one more, in ``top``."""
    path = b"/".join([b"x" * 199] * 25)
    with beneath.opened(top) as handle, beneath.opened(path, handle, make=True) as folder:
        subvolumes.create(Path(f"/proc/self/fd/{folder}/far"))
        subvolumes.create(Path(f"/proc/self/fd/{folder}/far/within"))
        Path(f"/proc/self/fd/{folder}/far/within/file").write_text("far")
        subvolumes.set_read_only(Path(f"/proc/self/fd/{folder}/far"), True)
    return path + b"/far"


def test_those_at_paths_longer_than_any_call_takes_are_copied(top: Path, far: bytes) -> None:
    copy = top.with_name("copy")
    found = nested.everything(top)
    assert (found[far], found[far + b"/within"]) == (True, False)
    subvolumes.snapshot(top, copy)
    nested.fill(top, copy)
    assert nested.everything(copy) == found
    with beneath.opened(copy) as handle, beneath.opened(far + b"/within", handle) as inner:
        assert Path(f"/proc/self/fd/{inner}/file").read_text() == "far"
    for path in (top, copy):
        nested.remove(path)
        assert [one.name for one in top.parent.iterdir() if one.name.startswith(".")] == []
        assert not path.exists()
    subvolumes.create(top)  # for the fixture to remove


def test_names_of_such_are_read_too(top: Path, far: bytes) -> None:
    found = subvolume_names.below(top)
    assert {os.fsdecode(far), os.fsdecode(far + b"/within"), "kept/within"} <= found.keys()
    nested.remove(top)
    subvolumes.create(top)


def test_many_within_one_another_are_removed(top: Path) -> None:
    with beneath.opened(top) as handle:
        inner = os.dup(handle)
        for _ in range(120):
            subvolumes.create(Path(f"/proc/self/fd/{inner}") / ("y" * 60))
            below = os.open("y" * 60, os.O_RDONLY, dir_fd=inner)
            os.close(inner)
            inner = below
        os.close(inner)
    nested.remove(top)
    assert [one for one in top.parent.iterdir() if one == top or one.name.startswith(".")] == []
    subvolumes.create(top)


def test_a_packed_volume_has_them_again(top: Path, tmp_path: Path) -> None:
    copy, stream = top.with_name("copy"), tmp_path / "stream"
    handle = os.open(stream, os.O_RDWR | os.O_CREAT)
    try:
        what = packing.pack(top, handle, lambda _: None)
    finally:
        os.close(handle)
    subvolumes.create(copy)
    packing.unpack([stream.read_bytes()], copy, what, lambda _: None)
    assert nested.everything(copy) == nested.everything(top)
    assert (copy / "kept/within/file").read_text() == "kept/within"
    plain = tmp_path / "plain"  # where there are none, they become directories
    plain.mkdir()
    packing.unpack([stream.read_bytes()], plain, what, lambda _: None)
    assert (plain / "kept/within/file").read_text() == "kept/within"


def test_those_at_the_bottom_of_very_deep_directories_go(top: Path) -> None:
    """Made by a guest's root, who walks down by one name after the other."""
    handle = os.open(top, os.O_RDONLY)
    for _ in range(2500):
        os.mkdir("n" * 255, dir_fd=handle)
        inner = os.open("n" * 255, os.O_RDONLY, dir_fd=handle)
        os.close(handle)
        handle = inner
    for number in range(150):
        subvolumes.create(Path(f"/proc/self/fd/{handle}/v{number}"))
    subvolumes.create(Path(f"/proc/self/fd/{handle}/v7/within"))
    os.close(handle)
    for look in (nested.everything, subvolume_names.below):
        with pytest.raises(Conflict, match="more than 64 MiB"):
            look(top)
    nested.remove(top)
    assert [path.name for path in top.parent.iterdir()] == []
    subvolumes.create(top)
