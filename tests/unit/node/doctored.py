"""A node that all is well with, until a test spoils something, and what its doctor finds then."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from corpus.hosts.fake import Fake
from corpus.model.finding import State
from corpus.node import boot
from corpus.node.context import Node
from corpus.node.doctor import proxy
from corpus.node.doctor.examine import examine
from corpus.node.environments import leftovers, lifecycle, making
from unit.node import nodes

OURS = (nodes.ID, nodes.OTHER)


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Node, Fake]:
    """A node with two environments, one of which is stopped; all is well."""
    monkeypatch.setattr(leftovers, "CGROUPS", tmp_path / "cgroup")
    monkeypatch.setattr(proxy, "answers", lambda port: True)
    node, host = nodes.make(tmp_path)
    nodes.sound(node, host)
    boot.prepare(node)
    making.create(node, id=nodes.ID, hosts=["one.example"], memory="512M", wait=0)
    making.create(node, id=nodes.OTHER, platform="prod", hosts=["two.example"], wait=0)
    lifecycle.stop(node, nodes.OTHER)
    return node, host


def found(node: Node, *, mend: bool = False) -> list[dict[str, Any]]:
    """Return what the doctor finds that is not as it should be."""
    return [one for one in examine(node, mend=mend) if one["state"] != State.OK]
