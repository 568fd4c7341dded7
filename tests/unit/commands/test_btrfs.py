from __future__ import annotations

from pathlib import PurePath

from corpus.commands import btrfs

POOL = PurePath("/pool")


def test_a_subvolume_is_accounted_to_its_group() -> None:
    target = POOL / "env/y/srv"
    assert btrfs.create(target, "2/7") == [
        "btrfs", "subvolume", "create", "-i", "2/7", "/pool/env/y/srv",
    ]  # fmt: skip
    assert btrfs.create(target) == ["btrfs", "subvolume", "create", "/pool/env/y/srv"]


SCRUB = """UUID:             91ebdb4c-ae4b-4ed4-8fc7-1c4a4ab9ba07
Scrub started:    Wed Nov 25 21:30:05 2026
Status:           finished
Duration:         0:00:01
\tdata_extents_scrubbed: 12
\tread_errors: 0
\tcsum_errors: 2
\tuncorrectable_errors: 1
\tlast_physical: 1
"""


def test_the_last_scrub_is_read_with_its_errors() -> None:
    assert btrfs.parse_scrub(SCRUB) == {
        "started": "Wed Nov 25 21:30:05 2026",
        "status": "finished",
        "read_errors": 0,
        "csum_errors": 2,
        "uncorrectable_errors": 1,
    }
    assert btrfs.parse_scrub("UUID:  91ebdb4c\n\tno stats available\n") is None


def test_space_is_the_last_line() -> None:
    assert btrfs.parse_space(" 1B-blocks  Avail\n 100 90\n") == (100, 90)


def test_a_mount_for_a_guest_is_not_compressed_unless_it_is_asked() -> None:
    plain = btrfs.mount(PurePath("/dev/loop1"), POOL)
    assert plain == ["mount", "-t", "btrfs", "-o", btrfs.MOUNT_OPTIONS, "/dev/loop1", "/pool"]
    assert "user_subvol_rm_allowed" in plain[4]
    options = btrfs.mount(POOL / "a.img", POOL, file=True, compress=True)[4].split(",")
    assert {"loop", "compress=zstd", "noatime"} <= set(options)
