"""A dry run tells what the call does then, raises what it raises, and touches nothing."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from corpus.model.errors import Conflict, CorpusError, InvalidInput
from corpus.node import boot, foreseen
from corpus.node.context import Node
from corpus.node.doctor import proxy
from corpus.node.environments import lifecycle, making, removal
from corpus.node.records import Stage
from unit.node import nodes
from unit.node.nodes import host_of


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Node:
    monkeypatch.setattr(proxy, "answers", lambda port: True)
    made, host = nodes.make(tmp_path)
    nodes.sound(made, host)
    boot.prepare(made)
    making.create(made, id=nodes.ID, hosts=["one.example"], wait=0)
    return made


def everything(node: Node) -> dict[str, Any]:
    """All files of the node and of its host; the lock of all is made by whoever asks."""
    folder = node.settings.prefix.parent
    found: dict[str, Any] = {
        str(path): path.read_bytes() if path.is_file() else None for path in folder.rglob("*")
    }
    return found | host_of(node).files


def untouched(node: Node, call: Callable[[], Any]) -> Any:
    """What a call returns that leaves everything as it was, and runs nothing that changes it."""
    before, ran = everything(node), len(host_of(node).calls)
    answer = call()
    assert everything(node) == before
    changing = {"lxc-start", "lxc-stop", "nft", "sysctl", "btrfs", "mount", "cp"}
    assert not changing & {command[0] for command in host_of(node).commands[ran:]}
    return answer


def test_create_says_what_it_makes_then(node: Node) -> None:
    def create(test: bool) -> dict[str, Any]:
        return making.create(
            node, id=nodes.OTHER, platform="prod", hosts=["two.example"], wait=0, test=test
        )

    told = untouched(node, lambda: create(True))
    assert told["test"] is True
    made = create(False)
    assert told["changes"] == [
        f"make {made['name']} of image {made['image']}, 5G, with address {made['address']} and "
        f"SSH port {made['ssh_port']}",
        "lead two.example to its port 80",
        f"start {made['name']}",
    ]
    assert untouched(node, lambda: create(True)) == {"test": True, "changes": []}
    lifecycle.stop(node, nodes.OTHER)
    assert create(True)["changes"] == [f"start {made['name']}"]


@pytest.mark.parametrize(
    ("given", "kind"),
    [
        ({"size": "200T"}, InvalidInput),
        ({"hosts": ["one.example"]}, Conflict),
        ({"address": "10.88.0.10"}, Conflict),
        ({"id": nodes.ID, "platform": "prod"}, Conflict),
        ({"image": "nothing"}, CorpusError),
    ],
)
def test_create_raises_the_same(node: Node, given: dict[str, Any], kind: type[CorpusError]) -> None:
    said = []
    for test in (True, False):
        with pytest.raises(kind) as caught:
            making.create(node, **given, wait=0, test=test)
        said.append(caught.value.what)
    assert said[0] == said[1]


def test_destroy_says_what_goes(node: Node) -> None:
    told = untouched(node, lambda: removal.destroy(node, nodes.ID, test=True))
    assert told == ["lead one.example nowhere", "remove staging-11111111 with all its data"]
    assert removal.destroy(node, nodes.ID) == told
    assert removal.destroy(node, nodes.ID, test=True) == []


def test_what_was_left_half_way_is_told_of(node: Node) -> None:
    node.records.save(node.records.get(nodes.ID).changed(stage=Stage.CREATING))
    told = untouched(node, lambda: making.create(node, id=nodes.ID, wait=0, test=True))["changes"]
    assert told[0] == "remove staging-11111111, which was left creating"
    assert f"{nodes.ID}: left half-way: creating; it is removed, as at boot" in foreseen.boot(node)


def test_prepare_and_boot_say_what_differs(node: Node) -> None:
    assert untouched(node, lambda: foreseen.prepare(node)) == []
    assert untouched(node, lambda: foreseen.boot(node)) == []
    host_of(node).files["/etc/subuid"] = b""
    node.records.save(node.records.get(nodes.ID).changed(wanted=False))
    lifecycle.halt(node, node.records.get(nodes.ID))
    node.records.save(node.records.get(nodes.ID).changed(wanted=True))
    told = untouched(node, lambda: foreseen.boot(node))
    assert told == [
        "/etc/subuid: the range of the environments is not in it; it is added",
        "start staging-11111111",
    ]
    boot.boot(node)
    assert foreseen.boot(node) == []


def test_a_machine_that_is_no_node_yet_is_told_all(node: Node) -> None:
    shutil.rmtree(node.settings.prefix)
    host_of(node).files.clear()
    told = untouched(node, lambda: foreseen.prepare(node))
    assert [line.split()[0] for line in told] == [
        "make", "/etc/subuid:", "/etc/subgid:", "make", "load", "start",
    ]  # fmt: skip
