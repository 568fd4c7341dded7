"""Mount points in the kernel's table."""

from __future__ import annotations

from pathlib import Path

from corpus.hosts import mounts

TABLE = """\
228 92 0:67 /guests/a / rw,relatime,idmapped shared:112 master:56 - btrfs /dev/loop1 rw
229 228 0:127 / /srv/a\\040b\\134c rw shared:113 - tmpfs none rw
"""


def test_points_are_unescaped() -> None:
    assert mounts.parse(TABLE) == [Path("/"), Path("/srv/a b\\c")]


def test_a_plain_directory_is_none(tmp_path: Path) -> None:
    assert mounts.is_point(Path("/proc"))
    assert not mounts.is_point(tmp_path)
