"""Snapshots: which names they have, what they tell, and that they go with the environment."""

from __future__ import annotations

import os

import pytest

from corpus.model.errors import CommandFailed, Conflict, InvalidInput, NotFound
from corpus.node.context import Node
from corpus.node.environments import guest, lifecycle, listing, removal, snapshots
from unit.node import nodes
from unit.node.copied import held
from unit.node.copied import node as node
from unit.node.nodes import host_of


def test_a_snapshot_tells_of_what_was(node: Node) -> None:
    lifecycle.stop(node, nodes.ID)
    made = snapshots.take(node, nodes.ID, "first", freeze=False)
    assert (made["name"], made["frozen"], made["image"]) == ("first", False, "ab" * 6)
    assert made["limits"]["size"] == 5 << 30
    assert snapshots.listed(node, nodes.ID) == [made]
    assert listing.inspect(node, nodes.ID)["snapshots"] == ["first"]


def test_deleting_a_snapshot_may_be_done_again(node: Node) -> None:
    snapshots.take(node, nodes.ID, "first")
    assert snapshots.plan_delete(node, nodes.ID, "first") != []
    assert snapshots.delete(node, nodes.ID, "first") is True
    assert snapshots.plan_delete(node, nodes.ID, "first") == []
    assert snapshots.delete(node, nodes.ID, "first") is False
    assert held(node) == []


@pytest.mark.parametrize("name", ["", ".new", "../x", "A", "a" * 64, "a/b", None, "before-restore"])
def test_names_are_checked(node: Node, name: str) -> None:
    for call in (snapshots.take, snapshots.plan_take):
        with pytest.raises(InvalidInput):
            call(node, nodes.ID, name)
    assert held(node) == []


def test_what_is_there_or_is_not(node: Node) -> None:
    snapshots.take(node, nodes.ID, "first")
    for take in (snapshots.take, snapshots.plan_take):
        with pytest.raises(Conflict, match="has a snapshot first"):
            take(node, nodes.ID, "first")
    for restore in (snapshots.restore, snapshots.plan_restore):
        with pytest.raises(NotFound, match="there: first"):
            restore(node, nodes.ID, "other")


def test_a_snapshot_that_fails_leaves_nothing_and_thaws(node: Node) -> None:
    host_of(node).prepare_failure("cp", err="no space")
    with pytest.raises(CommandFailed, match="no space"):
        snapshots.take(node, nodes.ID, "first")
    assert held(node) == []
    assert listing.inspect(node, nodes.ID)["state"] == "running"


def test_snapshots_go_with_the_environment(node: Node) -> None:
    snapshots.take(node, nodes.ID, "first")
    assert removal.destroy(node, nodes.ID) != []
    assert nodes.left(node) == []


def test_a_plain_environment_goes_however_deep_its_root_has_made_it(node: Node) -> None:
    handle = os.open(guest.srv(node.settings, nodes.ID), os.O_RDONLY)
    for _ in range(1200):
        os.mkdir("d" * 10, dir_fd=handle)
        inner = os.open("d" * 10, os.O_RDONLY, dir_fd=handle)
        os.close(handle)
        handle = inner
    os.close(handle)
    assert removal.destroy(node, nodes.ID)
    assert nodes.left(node) == []
