"""An environment whose size is a quota, on a node whose kernel accounts what a test says."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from corpus.commands.btrfs import Usage
from corpus.hosts import quota
from corpus.node.context import Node
from corpus.node.environments import making
from corpus.node.records import Record
from unit.node import nodes

GIB = 1 << 30


@pytest.fixture
def used(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """What the kernel accounts to the one environment; taken away: no quotas."""
    found = {"used": GIB}

    def usage(pool: Path, group: str) -> Usage | None:
        return Usage(found["used"], found.get("limit")) if found else None

    monkeypatch.setattr(quota, "usage", usage)
    monkeypatch.setattr(quota, "make", lambda pool, group: None)
    monkeypatch.setattr(quota, "limit", lambda pool, group, size: None)
    return found


@pytest.fixture
def limited(used: dict[str, int], monkeypatch: pytest.MonkeyPatch) -> list[int | None]:
    """The sizes that the quota group was given, in their order."""
    given: list[int | None] = []
    monkeypatch.setattr(quota, "limit", lambda pool, group, size: given.append(size))
    return given


@pytest.fixture
def node(tmp_path: Path, used: dict[str, int]) -> Node:
    """A node on btrfs with one environment of 5 GiB; the pool has 50 GiB free."""
    plain, _ = nodes.make(tmp_path)
    making.create(plain, id=nodes.ID, wait=0)
    return Node(replace(plain.settings, storage="quota"), plain.host)


def record(node: Node) -> Record:
    return node.records.get(nodes.ID)
