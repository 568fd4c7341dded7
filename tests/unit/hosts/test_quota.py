"""The kernel's counters of one quota group, from a pretended /sys and from none."""

from __future__ import annotations

from pathlib import Path

import pytest

from corpus.commands.btrfs import Usage
from corpus.hosts import quota

NAMES = ("referenced", "rsv_data", "rsv_meta_prealloc", "max_referenced", "limit_flags")


@pytest.fixture
def group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The directory of group 2/77: 100 bytes on the disk, 20 under way, limited to 500."""
    monkeypatch.setattr(quota, "filesystem", lambda path: "the-id")
    folder = tmp_path / "the-id/qgroups/2_77"
    folder.mkdir(parents=True)
    for name, value in zip(NAMES, (100, 20, 1000, 500, 1), strict=True):
        (folder / name).write_text(f"{value}\n")
    return folder


def test_data_under_way_counts_and_guesses_of_metadata_do_not(group: Path) -> None:
    assert quota.usage(Path("/pool"), "2/77", group.parents[2]) == Usage(120, 500)
    (group / "limit_flags").write_text("0x0\n")
    assert quota.usage(Path("/pool"), "2/77", group.parents[2]) == Usage(120, None)


def test_where_there_are_no_quotas_there_is_no_answer(group: Path, tmp_path: Path) -> None:
    assert quota.usage(Path("/pool"), "2/78", group.parents[2]) is None


def test_which_groups_there_are(group: Path, tmp_path: Path) -> None:
    assert quota.exists(Path("/pool"), "2/77", group.parents[2])
    assert not quota.exists(Path("/pool"), "2/7", group.parents[2])
    (group.parent / "0_256").mkdir()
    (group.parent / "mode").write_text("squota\n")
    assert sorted(quota.groups(Path("/pool"), group.parents[2])) == ["0/256", "2/77"]


def test_another_filesystem_has_none(tmp_path: Path) -> None:
    assert quota.usage(tmp_path / "absent", "2/77") is None
    assert quota.usage(Path("/proc"), "2/77") is None
    assert quota.groups(Path("/proc")) == []
    with pytest.raises(OSError, match="ioctl"):
        quota.exists(Path("/proc"), "2/77")
