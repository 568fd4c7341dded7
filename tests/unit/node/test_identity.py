"""An environment's identity: written anew at every start, into no trap of its root's."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from corpus.hosts.fake import Fake
from corpus.node.context import Node
from corpus.node.environments import guest, lifecycle, listing, making
from unit.node import nodes
from unit.node.rooms import node as node
from unit.node.rooms import used as used


def start_again(node: Node) -> None:
    lifecycle.stop(node, nodes.ID)
    lifecycle.start(node, nodes.ID)


def identity(node: Node) -> Path:
    return guest.rootfs(node.settings, nodes.ID) / "etc/corpus/environment.json"


def test_the_identity_is_written_anew_at_every_start(node: Node, tmp_path: Path) -> None:
    assert isinstance(node.host, Fake)
    later = Node(nodes.make(tmp_path, relay="192.0.2.25:587")[0].settings, node.host)
    identity(node).write_text("{}")
    lifecycle.start(later, nodes.ID)  # it runs and goes on
    assert len(nodes.ran(node.host, "lxc-start")) == 1
    told = json.loads(identity(node).read_text())
    assert (told["relay"], told["gateway"]) == ("10.88.0.1:25", "10.88.0.1")
    assert identity(node).stat().st_mode & 0o777 == 0o644


Trap = Callable[[Path, Path], object]
TRAPS: dict[str, Trap] = {
    "link": lambda file, victim: (file.unlink(), file.symlink_to(victim)),
    "directory": lambda file, victim: (file.unlink(), file.mkdir(), (file / "x").touch()),
    "link above": lambda file, victim: (
        file.unlink(), file.parent.rmdir(), file.parent.symlink_to(victim.parent)
    ),
    "link of the new one": lambda file, victim: (
        file.with_name(".environment.json.new").symlink_to(victim)
    ),
    "directory of the new one": lambda file, victim: (
        (file.with_name(".environment.json.new") / "x").mkdir(parents=True)
    ),
    "pipe": lambda file, victim: (file.unlink(), os.mkfifo(file)),
    "file above": lambda file, victim: (file.unlink(), file.parent.rmdir(), file.parent.touch()),
}  # fmt: skip


@pytest.mark.parametrize("trap", TRAPS)
def test_traps_of_a_guest_do_not_lead_out_nor_keep_it_from_starting(
    tmp_path: Path, trap: str
) -> None:
    plain, _ = nodes.make(tmp_path)
    making.create(plain, id=nodes.ID, wait=0)
    victim = tmp_path / "of-the-node/environment.json"
    victim.parent.mkdir()
    victim.write_text("mine")
    TRAPS[trap](identity(plain), victim)
    start_again(plain)
    assert victim.read_text() == "mine"
    assert [path.name for path in victim.parent.iterdir()] == ["environment.json"]
    assert listing.inspect(plain, nodes.ID)["state"] == "running"
