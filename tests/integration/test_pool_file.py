"""A pool in a file, on a disk that gets full: it is promised no more than that, and comes back."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from corpus.commands import loop
from corpus.hosts import guests, kernel, loops, mounts, subvolumes
from corpus.hosts.local import Local
from corpus.model.errors import Conflict
from corpus.model.mode import Platform
from corpus.node.context import Node
from corpus.node.doctor import storage as doctor
from corpus.node.environments import guest
from corpus.node.records import Limits, Record
from corpus.node.settings import Settings
from corpus.node.storage import ground, health, pool

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="mounts")

MIB = 1 << 20
ID = "11111111-2222-4333-8444-555555555555"
RECORD = Record(ID, Platform.DEV, "abababababab", "10.88.0.12", 22003, 2, Limits(300 * MIB))


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    """A node on a disk of 3 GiB, whose pool is to be a file."""
    host, disk = Local(), tmp_path / "disk.img"
    loops.make_file(disk, 3 << 30)
    host.run(loop.make_ext4(disk, "small"))
    made = Node(Settings(prefix=tmp_path / "node", storage="quota", pool_size="1G"), host)
    made.settings.prefix.mkdir()
    host.run(loop.mount_ext4(disk, made.settings.prefix))
    made.settings.records.mkdir()
    try:
        yield made
    finally:
        for place in (made.settings.pool, made.settings.prefix):
            while mounts.is_point(place):  # the loop device may need it a little longer
                host.run(loop.unmount(place), check=False)
                time.sleep(0.1)
        disk.unlink()


def fail(node: Node, place: Path) -> None:
    """Write until the pool's filesystem has found out that the disk beneath is full."""
    deadline, number = time.monotonic() + 60, 0
    while not ground.failed(node) and time.monotonic() < deadline:
        with suppress(OSError):
            (place / f"large-{number}").write_bytes(os.urandom(MIB))
            (place / f"small-{number}").write_bytes(os.urandom(1000))
            kernel.sync(place)
        number += 1
    assert ground.failed(node)


def test_it_is_held_against_the_disk_beneath_and_mounted_anew(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(Conflict, match="a pool of 24G would fail once it fills"):
        pool.prepare(Node(replace(node.settings, pool_size="24G"), node.host))
    pool.prepare(node)
    assert health.health(node)["warnings"] == []
    volumes, home = pool.volumes(node), guest.home(node.settings, ID)
    srv = guest.srv(node.settings, ID)
    subvolumes.create(node.settings.images / RECORD.image)
    node.records.save(RECORD)
    volumes.make(home, RECORD.group, 300 * MIB, node.settings.images / RECORD.image)
    (srv / "kept").write_text("here")
    kernel.sync(home)
    ballast = node.settings.prefix / "ballast"
    with ballast.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, shutil.disk_usage(node.settings.prefix).free)
    assert volumes.space()[1] == 0
    assert "may take" in health.health(node)["warnings"][0]
    fail(node, srv)
    assert "failed: it is read-only" in next(iter(doctor.pool_health(node))).what
    ballast.unlink()
    with monkeypatch.context() as patched:
        patched.setattr(guests, "state", lambda *_: ("RUNNING", 1))
        with pytest.raises(Conflict, match="failed: it is read-only") as caught:
            pool.prepare(node)
        assert RECORD.name in str(caught.value.mend)
    pool.prepare(node)
    assert not ground.failed(node)
    (srv / "new").write_bytes(os.urandom(10 * MIB))
    kernel.sync(home)
    assert (srv / "kept").read_text() == "here"
