"""A node with a real btrfs of simple quotas, and one environment on it that never starts."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from corpus.hosts import quota, subvolumes
from corpus.hosts.local import Local
from corpus.model.errors import Unsupported
from corpus.model.mode import Platform
from corpus.node.context import Node
from corpus.node.environments import guest
from corpus.node.records import Limits, Record
from corpus.node.settings import Settings
from corpus.node.storage import pool

MIB, GIB = 1 << 20, 1 << 30
ID = "11111111-2222-4333-8444-555555555555"


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """A node whose pool is a btrfs of 4 GiB in a file; no guest runs on it."""
    host, folder = Local(), tmp_path_factory.mktemp("node")
    settings = Settings(prefix=folder, storage="quota", pool_size="4G", minimum_free="512M")
    for path in (settings.records, settings.lxcpath):
        path.mkdir(parents=True)
    made = Node(settings, host)
    try:
        pool.prepare(made)
    except Unsupported as error:
        pytest.skip(str(error))
    # The kernel cleans removed subvolumes up at a commit, which is else every 30 s.
    host.run(["mount", "-o", "remount,commit=1", str(settings.pool)])
    subvolumes.create(settings.images / "abababababab")
    yield made
    host.run(["umount", "--lazy", str(settings.pool)])
    assert str(settings.pool) not in Path("/proc/self/mountinfo").read_text()
    (folder / "pool.img").unlink()


@pytest.fixture
def record(node: Node) -> Iterator[Record]:
    """An environment of 512 MiB that may grow to 1 GiB; it never starts."""
    limits = Limits(512 * MIB, size_limit=GIB)
    made = Record(ID, Platform.DEV, "abababababab", "10.88.0.12", 22003, 2, limits)
    node.records.save(made)
    home = guest.home(node.settings, ID)
    volumes = pool.volumes(node)
    volumes.make(home, made.group, limits.size, node.settings.images / "abababababab")
    yield made
    volumes.remove(home, made.group)
    node.records.remove(ID)
    deadline = time.monotonic() + 30
    while left := node_groups(made) & set(quota.groups(node.settings.pool)):
        volumes.prune(set())
        assert time.monotonic() < deadline, left
        time.sleep(0.1)


def node_groups(record: Record) -> set[str]:
    return {record.group, *(record.project_group(name) for name in ("demo", "shop", "other"))}


def root(node: Node, name: str = "demo") -> Path:
    return guest.srv(node.settings, ID) / "projects" / name
