"""Real filesystems for tests, taken away again, with a look at what was left."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from corpus.hosts.local import Local
from patience import wait_until


@pytest.fixture(scope="session")
def btrfs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Return a mounted btrfs in a file of 512 MiB."""
    if os.geteuid() != 0:
        pytest.skip("mounts a filesystem: needs root")
    host, folder = Local(), tmp_path_factory.mktemp("btrfs")
    image, mounted = folder / "image", folder / "mounted"
    mounted.mkdir()
    host.run(["truncate", "--size=512M", str(image)])
    host.run(["mkfs.btrfs", "--quiet", str(image)])
    host.run(["mount", "-o", "loop,user_subvol_rm_allowed", str(image), str(mounted)])
    try:
        yield mounted
    finally:
        host.run(["umount", "--lazy", str(mounted)], check=False)
    assert str(mounted) not in Path("/proc/self/mountinfo").read_text()
    loops = ["losetup", "--associated", str(image)]  # who still has the mount has its device
    wait_until(lambda: host.run(loops).out == "", told=lambda: host.run(loops).out)
