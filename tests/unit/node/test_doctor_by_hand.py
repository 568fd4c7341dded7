"""What holds data, or may be somebody else's, is told, and left to a person by the doctor."""

from __future__ import annotations

import shutil
from dataclasses import replace

import pytest

from corpus.hosts.fake import Fake
from corpus.model.finding import State, is_well
from corpus.node.context import Node
from corpus.node.environments import guest, removal
from corpus.node.records import Move, Stage
from unit.node import nodes
from unit.node.doctored import OURS, found
from unit.node.doctored import made as made
from unit.node.nodes import THIRD


def test_what_is_not_ours_or_holds_data_is_told_and_left(made: tuple[Node, Fake]) -> None:
    node, _ = made
    places = node.settings.pool / "env"
    lost, foreign = places / THIRD / "srv", places / "mine"
    for path in (lost, foreign, node.settings.lxcpath / "mine"):
        path.mkdir(parents=True)
    (lost / "data").write_text("worth a lot")
    told = found(node, mend=True)
    assert {(one["check"], one["mended"]) for one in told} == {
        ("places", False), ("containers", False),
    }  # fmt: skip
    assert is_well(told)
    assert str(places / THIRD) in {one["where"] for one in told}
    assert (lost / "data").read_text() == "worth a lot"
    assert foreign.is_dir()


def test_a_lost_place_and_a_damaged_record_are_for_a_person(made: tuple[Node, Fake]) -> None:
    node, _ = made
    shutil.rmtree(guest.rootfs(node.settings, nodes.OTHER))
    (node.settings.records / f"{THIRD}.json").write_text("{")
    (node.settings.pool / "env" / THIRD).mkdir()
    told = found(node, mend=True)
    assert {(one["check"], one["mended"]) for one in told} == {
        ("places", False), ("records", False),
    }  # fmt: skip
    assert not is_well(told)
    assert (node.settings.pool / "env" / THIRD).is_dir()


@pytest.mark.parametrize("same", ["address", "ssh_port", "slot", "routes"])
def test_what_two_have_is_told(made: tuple[Node, Fake], same: str) -> None:
    node, _ = made
    one, other = (node.records.get(id) for id in OURS)
    node.records.save(other.changed(**{same: getattr(one, same)}))
    told = [each for each in found(node) if each["check"] == "taken"]
    assert told
    assert nodes.ID in told[0]["what"]


def test_one_that_became_whole_meanwhile_stays(made: tuple[Node, Fake]) -> None:
    node, _ = made
    removal.sweep(node, nodes.OTHER)
    assert node.records.get(nodes.OTHER).stage is Stage.READY


def test_a_migration_is_never_taken_for_what_may_be_removed(made: tuple[Node, Fake]) -> None:
    node, _ = made
    move = Move("node2", "192.0.2.2", 80, 22001, settled=True)
    for stage in (Stage.MOVING, Stage.ARRIVED):
        node.records.save(node.records.get(nodes.OTHER).changed(stage=stage, move=move))
        told = [one for one in found(node) if one["check"] == "half_way"]
        assert [(one["state"], "migration" in one["mend"]) for one in told] == [(State.BAD, True)]
    kept = replace(move, kept=True)
    moved = node.records.get(nodes.OTHER).changed(stage=Stage.MOVED, wanted=False, move=kept)
    node.records.save(moved)
    assert [one["what"] for one in found(node) if one["check"] in ("half_way", "places")] == []
    for left in (move, replace(kept, settled=False)):  # its data, or the decision
        node.records.save(moved.changed(move=left))
        assert [one["state"] for one in found(node) if one["check"] == "half_way"] == [State.BAD]
    found(node, mend=True)
    assert node.records.get(nodes.OTHER).stage is Stage.MOVED
