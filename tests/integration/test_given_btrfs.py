"""A btrfs that others use too and that was given as the pool: what is theirs stays as it is."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

import pytest

from corpus.commands import btrfs
from corpus.hosts import loops, quota, subvolumes
from corpus.hosts.local import Local
from corpus.model.errors import Conflict, Unsupported
from corpus.model.mode import Platform
from corpus.node.context import Node
from corpus.node.doctor import storage as doctor
from corpus.node.environments import guest, projects
from corpus.node.records import Limits, Record
from corpus.node.settings import Settings
from corpus.node.storage import ground, pool
from corpus.node.storage.quota import QuotaVolumes

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="mounts a filesystem: needs root")

MIB = 1 << 20
ID = "11111111-2222-4333-8444-555555555555"
TWO, ONE, INNER = "2/100", "1/100", "1/101"
RECORD = Record(
    ID, Platform.DEV, "abababababab", "10.88.0.12", 22003, 2, Limits(300 * MIB, size_limit=1 << 30)
)


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """A btrfs with another's volume and groups, one of them of the number of a project's."""
    host, folder = Local(), tmp_path_factory.mktemp("given")
    settings = Settings(prefix=folder, storage="quota")
    for path in (settings.records, settings.lxcpath, settings.pool):
        path.mkdir(parents=True)
    disk = folder / "given.img"
    loops.make_file(disk, 1 << 30)
    host.run(btrfs.make(disk))
    with loops.attached(disk) as device:
        host.run(btrfs.mount(device, settings.pool))
    made = Node(settings, host)
    try:
        try:
            subvolumes.enable_simple_quotas(settings.pool)
        except Unsupported as error:
            pytest.skip(str(error))
        # The kernel cleans removed subvolumes up at a commit, which is else every 30 s.
        host.run(["mount", "-o", "remount,commit=1", str(settings.pool)])
        for group in (TWO, ONE, INNER, RECORD.project_group("taken")):
            quota.make(settings.pool, group)
            quota.limit(settings.pool, group, 50 * MIB)
        quota.assign(settings.pool, INNER, TWO)
        host.run(btrfs.create(settings.pool / "theirs", TWO))
        (settings.pool / "theirs/file").write_bytes(b"x" * MIB)
        pool.prepare(made)
        assert ground.of(made).kind == "btrfs"
        subvolumes.create(settings.images / RECORD.image)
        yield made
    finally:
        host.run(["umount", "--lazy", str(settings.pool)])
        disk.unlink()


def shown(node: Node) -> list[str]:
    """The lines of others' groups, with their limits and what is in which."""
    host = node.host
    told = host.run(["btrfs", "qgroup", "show", "-pcr", "--raw", str(node.settings.pool)]).out
    theirs = {TWO, ONE, INNER, RECORD.project_group("taken")}
    lines = [line.split() for line in told.splitlines()]
    return sorted(" ".join(line) for line in lines if line[0] in theirs)


def test_their_groups_outlive_all_that_the_node_does(node: Node) -> None:
    os.sync()
    before, volumes = shown(node), pool.volumes(node)
    assert len(before) == 4
    assert isinstance(volumes, QuotaVolumes)
    assert list(doctor.groups(node)) == []
    home = guest.home(node.settings, ID)
    node.records.save(RECORD)
    volumes.make(home, RECORD.group, RECORD.limits.size, node.settings.images / RECORD.image)
    assert projects.make(node, ID, "demo") is True
    assert projects.make(node, ID, "taken") is False
    assert node.records.get(ID).allotment("taken") is None
    (home / "srv/projects/demo/file").write_bytes(b"x" * MIB)
    assert shown(node) == before
    for group in (TWO, ONE):
        with pytest.raises(Conflict, match="this node has not made it"):
            volumes.limit(group, 300 * MIB)
        volumes.remove(home.with_name("absent"), group)
    ours = {RECORD.group, RECORD.project_group("demo")}
    assert ours <= set(quota.groups(node.settings.pool))
    assert list(doctor.groups(node)) == []
    volumes.remove(home, RECORD.group)
    node.records.remove(ID)
    told = [one.where for one in doctor.groups(node)]
    assert set(told) == ours
    deadline = time.monotonic() + 30
    while volumes.strays(set()):
        with node.lock():
            volumes.prune(set())
        assert time.monotonic() < deadline, quota.groups(node.settings.pool)
        time.sleep(0.1)
    assert not ours & set(quota.groups(node.settings.pool))
    assert list((node.settings.pool / "groups").iterdir()) == []
    os.sync()
    assert shown(node) == before
