"""Btrfs by ioctl on a real btrfs."""

from __future__ import annotations

from pathlib import Path

import pytest

from corpus.hosts import kernel, subvolumes
from corpus.hosts.local import Local
from corpus.model.errors import Unsupported


@pytest.fixture
def place(btrfs: Path, request: pytest.FixtureRequest) -> Path:
    """Return a subvolume of this test's own."""
    path = btrfs / request.node.name
    subvolumes.create(path)
    return path


def test_what_is_a_subvolume(place: Path, tmp_path: Path) -> None:
    (place / "folder").mkdir()
    (place / "link").symlink_to(place)
    assert subvolumes.is_btrfs(place)
    assert subvolumes.is_subvolume(place)
    assert not subvolumes.is_subvolume(place / "folder")
    assert not subvolumes.is_subvolume(place / "link")
    assert not subvolumes.is_subvolume(place / "absent")
    assert not subvolumes.is_subvolume(tmp_path)


def test_btrfs_progs_agree(place: Path) -> None:
    subvolumes.create(place / "sub")
    shown = Local().run(["btrfs", "subvolume", "show", str(place / "sub")]).out
    assert f"{place.name}/sub" in shown.splitlines()[0]


def test_a_snapshot_is_writable_and_apart(place: Path) -> None:
    subvolumes.create(place / "live")
    (place / "live" / "file").write_text("one")
    subvolumes.snapshot(place / "live", place / "copy")
    (place / "copy" / "file").write_text("two")
    assert (place / "live" / "file").read_text() == "one"
    assert subvolumes.is_subvolume(place / "copy")


def test_deletion_takes_what_lies_within(place: Path) -> None:
    outer = place / "outer"
    subvolumes.create(outer)
    (outer / "folder").mkdir()
    subvolumes.create(outer / "folder" / "inner")
    subvolumes.create(outer / "folder" / "inner" / "innermost")
    (outer / "folder" / "inner" / "file").write_text("x")
    subvolumes.delete(outer)
    assert list(place.iterdir()) == []


def test_children_are_counted_since_a_snapshot_lacks_them(place: Path) -> None:
    subvolumes.create(place / "one")
    (place / "one" / "plain").mkdir()
    assert subvolumes.children(place / "one") == 0
    for name in ("a", "b"):
        subvolumes.create(place / "one" / name)
    assert subvolumes.children(place / "one") == 2
    subvolumes.snapshot(place / "one", place / "two")
    assert subvolumes.children(place / "two") == 0
    for number in range(300):
        subvolumes.create(place / "two" / f"n{number}")
    assert subvolumes.children(place / "two") == 255


def test_names_that_are_taken(place: Path) -> None:
    subvolumes.create(place / "one")
    with pytest.raises(FileExistsError):
        subvolumes.create(place / "one")
    with pytest.raises(FileNotFoundError):
        subvolumes.delete(place / "absent")


def test_no_btrfs_says_so() -> None:
    with pytest.raises(Unsupported, match="no btrfs"):
        subvolumes.create(Path("/dev/shm/corpus-no-btrfs"))


def test_two_subvolumes_change_places(place: Path) -> None:
    for name in ("run", "new"):
        subvolumes.create(place / name)
        (place / name / "file").write_text(name)
    kernel.exchange(place / "run", place / "new")
    assert (place / "run" / "file").read_text() == "new"
    assert (place / "new" / "file").read_text() == "run"
    with pytest.raises(FileNotFoundError):
        kernel.exchange(place / "run", place / "absent")


def test_simple_quotas_or_a_word_about_the_kernel(btrfs: Path, tmp_path: Path) -> None:
    said = []
    for _again in range(2):
        try:
            subvolumes.enable_simple_quotas(btrfs)
        except Unsupported as error:
            said.append(str(error))
    assert all("simple quotas" in text and "to mend" in text for text in said)
    with pytest.raises(Unsupported):
        subvolumes.enable_simple_quotas(tmp_path)
