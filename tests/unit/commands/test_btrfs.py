from __future__ import annotations

from pathlib import PurePath

from corpus.commands import btrfs

POOL = PurePath("/pool")


def test_a_snapshot_is_accounted_to_its_group() -> None:
    source, target = POOL / "images/x", POOL / "env/y/rootfs"
    assert btrfs.snapshot(source, target, "2/7") == [
        "btrfs", "subvolume", "snapshot", "-i", "2/7", "/pool/images/x", "/pool/env/y/rootfs",
    ]  # fmt: skip
    assert btrfs.create(target) == ["btrfs", "subvolume", "create", "/pool/env/y/rootfs"]


def test_limits_are_set_by_id_on_the_pool() -> None:
    assert btrfs.group_limit(POOL, "2/7", 1024) == [
        "btrfs", "qgroup", "limit", "1024", "2/7", "/pool",
    ]  # fmt: skip


def test_groups_are_read_with_their_limits() -> None:
    text = """Qgroupid    Referenced    Exclusive  Max referenced   Path
--------    ----------    ---------  --------------   ----
0/5              16384        16384            none   <toplevel>
2/187649984473770 1073725440 1073725440   1073741824   <0 member qgroups>
"""
    assert btrfs.parse_groups(text) == {
        "0/5": btrfs.Usage(16384, None),
        "2/187649984473770": btrfs.Usage(1073725440, 1 << 30),
    }
    assert btrfs.parse_groups("ERROR: can't list qgroups: quotas not enabled\n") == {}


def test_space_is_the_last_line() -> None:
    assert btrfs.parse_space(" 1B-blocks  Avail\n 100 90\n") == (100, 90)
