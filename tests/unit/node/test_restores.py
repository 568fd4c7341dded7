"""A restore brings both volumes back or none; whoever comes next ends one that was killed."""

from __future__ import annotations

from pathlib import Path

import pytest

from corpus.model.errors import CommandFailed, Conflict
from corpus.node import boot
from corpus.node.context import Node
from corpus.node.environments import lifecycle, listing, making, snapshots
from corpus.node.records import Stage
from instants import Killed
from unit.node import nodes
from unit.node.copied import held, read, write
from unit.node.copied import node as node
from unit.node.nodes import host_of


def test_a_restore_brings_both_volumes_back_and_can_be_undone(node: Node) -> None:
    snapshots.take(node, nodes.ID, "first")
    write(node, "two")
    snapshots.restore(node, nodes.ID, "first")
    assert read(node) == "one"
    assert held(node) == ["before-restore", "first"]
    snapshots.restore(node, nodes.ID, snapshots.AUTOMATIC)
    assert read(node) == "two"
    assert held(node) == ["before-restore", "first"]
    snapshots.restore(node, nodes.ID, snapshots.AUTOMATIC)
    assert read(node) == "one"
    assert listing.inspect(node, nodes.ID)["state"] == "running"


def test_the_image_is_put_back_and_the_rest_of_the_record_stays(node: Node) -> None:
    snapshots.take(node, nodes.ID, "first")
    node.change(nodes.ID, lambda now: now.changed(image="cd" * 6, ssh_port=22077))
    snapshots.restore(node, nodes.ID, "first")
    record = node.records.get(nodes.ID)
    assert (record.image, record.ssh_port) == ("ab" * 6, 22077)
    assert [route.host for route in record.routes] == ["a.example"]


def test_a_stopped_one_stays_stopped(node: Node) -> None:
    snapshots.take(node, nodes.ID, "first")
    lifecycle.stop(node, nodes.ID)
    snapshots.restore(node, nodes.ID, "first")
    assert listing.inspect(node, nodes.ID)["state"] == "stopped"


def test_a_front_that_was_put_back_takes_what_has_changed_since(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    snapshots.take(node, nodes.ID, "first")
    followed = list[str]()
    monkeypatch.setattr(lifecycle, "follow", lambda node, record: followed.append(record.id))
    snapshots.restore(node, nodes.ID, "first")
    assert followed == [nodes.ID]


def test_a_plan_of_a_restore_touches_nothing(node: Node) -> None:
    snapshots.take(node, nodes.ID, "first")
    said = snapshots.plan_restore(node, nodes.ID, "first")
    assert [line.split()[0] for line in said] == ["stop", "keep", "put", "start"]
    assert held(node) == ["first"]
    assert nodes.ran(host_of(node), "lxc-stop") == []


def test_a_restore_that_fails_before_the_exchange_leaves_all_as_it_was(node: Node) -> None:
    snapshots.take(node, nodes.ID, "first")
    write(node, "two")
    host_of(node).prepare_failure("cp", err="no space")
    with pytest.raises(CommandFailed, match="no space"):
        snapshots.restore(node, nodes.ID, "first")
    assert (read(node), held(node)) == ("two", ["first"])
    assert node.records.get(nodes.ID).stage is Stage.READY


STEPS = range(24)


@pytest.mark.parametrize("again", ["settle", "boot", "create"])
def test_a_restore_killed_anywhere_ends_right(
    node: Node, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, again: str
) -> None:
    """Killed before each rename, save and start in turn, all of it is old, or all of it new."""
    snapshots.take(node, nodes.ID, "first")
    ends = set()
    for step in STEPS:
        write(node, "two")
        with monkeypatch.context() as patch:
            _die_at(patch, step)
            try:
                snapshots.restore(node, nodes.ID, "first")
                ends.add("whole")
            except Killed:
                ends.add(str(node.records.get(nodes.ID).stage))
        if again == "boot":
            assert not boot.boot(node)[nodes.ID].startswith(("failed", "removed"))
        elif again == "create":
            making.create(node, id=nodes.ID, wait=0)
        else:
            snapshots.settle(node, nodes.ID)
            lifecycle.start(node, nodes.ID)
        assert node.records.get(nodes.ID).stage is Stage.READY
        restored = snapshots.AUTOMATIC in held(node)
        assert read(node) == ("one" if restored else "two")
        if restored:
            snapshots.delete(node, nodes.ID, snapshots.AUTOMATIC)
        snapshots.tidy(node, nodes.ID)
        assert held(node) == ["first"]
    assert ends == {"ready", "restoring", "whole"}


def _die_at(patch: pytest.MonkeyPatch, step: int) -> None:
    """Have the ``step``-th of the moments at which something becomes visible never come."""
    left = [step]

    def counted(function: object) -> object:
        def call(*args: object, **kwargs: object) -> object:
            left[0] -= 1
            if left[0] < 0:
                raise Killed
            return function(*args, **kwargs)  # type: ignore[operator]

        return call

    patch.setattr(Path, "rename", counted(Path.rename))
    patch.setattr(snapshots.copies, "copy", counted(snapshots.copies.copy))
    patch.setattr(snapshots.copies, "delete", counted(snapshots.copies.delete))
    patch.setattr(lifecycle, "halt", counted(lifecycle.halt))
    patch.setattr(lifecycle, "bring_up", counted(lifecycle.bring_up))
    patch.setattr(Node, "change", counted(Node.change))


def test_one_left_half_way_is_not_used_meanwhile(node: Node) -> None:
    node.change(nodes.ID, lambda now: now.changed(stage=Stage.RESTORING))
    with pytest.raises(Conflict, match=r"half-way \(restoring\)(.|\n)*start"):
        lifecycle.stop(node, nodes.ID)
