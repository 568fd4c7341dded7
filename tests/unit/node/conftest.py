"""A node in memory, which is killed again and again."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from corpus.hosts.fake import Fake
from corpus.node import boot
from corpus.node.doctor import proxy
from corpus.node.environments import lifecycle, making
from corpus.node.storage import pool

pytest.register_assert_rewrite("unit.node.between", "unit.node.killing")

from unit.node import killing, outliving  # noqa: E402


@pytest.fixture
def host() -> Fake:
    """Return a host that runs nothing, and remembers what it was asked."""
    return Fake()


@pytest.fixture
def scratch(tmp_path: Path) -> Iterator[Path]:
    """A directory in memory, where there is one: it is filled and emptied at each step."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else tmp_path) as name:
        yield Path(name)


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have sizes be enforced, where this is used before ``folder``."""
    monkeypatch.setitem(pool._KINDS, "plain", outliving.Held)


@pytest.fixture
def folder(scratch: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where a node lies with a staging environment that runs, and a prod one that is stopped."""
    monkeypatch.setattr(proxy, "answers", lambda port: True)
    place = scratch / "it"
    node = outliving.machine(place)
    boot.prepare(node)
    making.create(node, id=killing.STAGING, hosts=["one.example"], wait=0)
    making.create(node, id=killing.PROD, platform="prod", wait=0)
    lifecycle.stop(node, killing.PROD)
    return place
