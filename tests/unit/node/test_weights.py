"""Where nothing accounts sizes: what is told of them was walked for, and says how old it is."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from corpus.hosts import weighing
from corpus.model.errors import Conflict, InvalidInput, StillUsed
from corpus.node import __main__ as command
from corpus.node import boot
from corpus.node.context import Node
from corpus.node.doctor import storage as doctor
from corpus.node.environments import guest, limiting, making, removal, room
from corpus.node.records import Record
from corpus.node.storage import images, usage, weights
from unit.node import nodes

MIB, GIB = 1 << 20, 1 << 30


def fill(path: Path, size: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(os.urandom(size))
    os.sync()  # blocks are given when it reaches the disk


@pytest.fixture
def node(tmp_path: Path) -> Node:
    """A node with one environment of 64 MiB, made of an image of 3 MiB; 50 GiB are free."""
    made, _ = nodes.make(tmp_path)
    fill(images.volume(made, images.find(made)) / "usr/file", 3 * MIB)
    making.create(made, id=nodes.ID, size="64M", size_limit="100G", wait=0)
    return made


def told(node: Node) -> dict[str, object]:
    return usage.usage(node, nodes.ID)[0]


def test_nothing_is_told_before_it_was_weighed(node: Node) -> None:
    found = told(node)
    assert (found["used"], found["age"], found["complete"], found["over"]) == (
        None, None, False, False,
    )  # fmt: skip
    assert list(doctor.sizes(node)) == []


def test_what_it_takes_is_told_by_its_parts_with_the_age(node: Node) -> None:
    srv = guest.srv(node.settings, nodes.ID)
    for path, size in (("data/a/b", 5), ("run/x", 4), ("archives/1/x", 3), ("etc", 2)):
        fill(srv / "projects/demo" / path, size * MIB)
    fill(srv / "elsewhere/file", MIB)
    fill(guest.rootfs(node.settings, nodes.ID) / "var/log", 6 * MIB)
    weights.weigh(node)
    found = told(node)
    little = MIB // 2  # directories
    project = found["projects"]["demo"]  # type: ignore[index]
    for name, size in (("data", 5), ("run", 4), ("archives", 3), ("other", 2), ("used", 14)):
        assert size * MIB <= project[name] < size * MIB + little, (name, project)
    assert (project["accounted"], project["size"]) == (False, None)
    for name, size in (("used", 21), ("system", 6), ("other", 1)):
        assert size * MIB <= found[name] < size * MIB + little, (name, found)  # type: ignore
    assert 3 * MIB <= found["image"]["used"] < 3 * MIB + little  # type: ignore[index]
    assert (found["age"], found["complete"], found["over"], found["shared"]) == (
        0, True, False, None,
    )  # fmt: skip


def test_one_over_its_size_is_told_by_usage_facts_and_doctor(node: Node) -> None:
    assert boot.facts(node)["over"] == []
    fill(guest.srv(node.settings, nodes.ID) / "file", 65 * MIB)
    weights.weigh(node, nodes.ID)
    assert told(node)["over"] is True
    assert boot.facts(node)["over"] == [nodes.ID]
    (finding,) = doctor.sizes(node)
    assert "its size is 64M, and nothing holds it" in finding.what
    room.enlarge(node, nodes.ID, "1G")
    assert (told(node)["over"], list(doctor.sizes(node))) == (False, [])


def test_a_size_is_checked_against_what_was_found_and_what_is_free(node: Node) -> None:
    fill(guest.srv(node.settings, nodes.ID) / "file", 40 * MIB)
    weights.weigh(node)
    room.enlarge(node, nodes.ID, "10G")
    with pytest.raises(Conflict, match="disk has 50G free and keeps 2G"):
        room.enlarge(node, nodes.ID, "49G")
    with pytest.raises(Conflict, match="too little to let"):
        limiting.limit(node, nodes.ID, size="60G")
    with pytest.raises(Conflict, match="100G at the most"):
        room.enlarge(node, nodes.ID, "200G")
    with pytest.raises(StillUsed, match="are used already"):
        room.trim(node, nodes.ID, "64M")
    with pytest.raises(InvalidInput, match="would be less"):
        room.enlarge(node, nodes.ID, "1G")
    assert node.records.get(nodes.ID).limits.size == 10 * GIB


def test_old_figures_are_told_of(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    weights.weigh(node)
    now = time.time() + 30 * 3600
    monkeypatch.setattr(time, "time", lambda: now)
    (finding,) = doctor.sizes(node)
    assert "weighed 30 hours ago" in finding.what
    assert told(node)["age"] == pytest.approx(30 * 3600, abs=60)


def test_what_could_not_be_walked_in_time_says_so(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(weights, "SECONDS", 0.0)
    weights.weigh(node)
    assert told(node)["complete"] is False
    (finding,) = doctor.sizes(node)
    assert "more that could not be counted in time" in finding.what


def test_no_smaller_size_is_given_where_not_all_was_seen(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    room.enlarge(node, nodes.ID, "10G")
    monkeypatch.setattr(weights, "SECONDS", 0.0)
    weights.weigh(node)
    for smaller in (room.trim, partial(limiting.limit, size="5G")):
        with pytest.raises(StillUsed, match="not known whether 5G are enough"):
            smaller(node, nodes.ID)
    room.enlarge(node, nodes.ID, "11G")
    monkeypatch.undo()
    weights.weigh(node)
    room.trim(node, nodes.ID, "5G")


def test_one_that_is_never_weighed_is_told_of(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    assert list(doctor.sizes(node)) == []
    now = time.time() + 30 * 3600
    monkeypatch.setattr(time, "time", lambda: now)
    (finding,) = doctor.sizes(node)
    assert "never weighed since it was made 30 hours ago" in finding.what
    node.change(nodes.ID, lambda record: record.changed(made=""))
    assert len(list(doctor.sizes(node))) == 1


def test_a_round_that_is_broken_off_goes_on_with_the_oldest(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    making.create(node, id=nodes.OTHER, size="64M", wait=0)
    weights.weigh(node, nodes.ID)
    walked, weigh = list[str](), weights._weigh

    def one(node: Node, record: Record, image: int | None) -> weights.Weight | None:
        if walked:
            raise KeyboardInterrupt  # the time that the timer's service has is over
        walked.append(record.id)
        return weigh(node, record, image)

    monkeypatch.setattr(weights, "_weigh", one)
    for first in (nodes.OTHER, nodes.ID, nodes.OTHER):
        walked.clear()
        with pytest.raises(KeyboardInterrupt):
            weights.weigh(node)
        assert walked == [first]


def test_an_image_that_is_gone_is_left_out_as_before(node: Node) -> None:
    weights.weigh(node)
    before = told(node)["used"]
    for path in node.settings.images.glob("*.json"):
        path.unlink()
    weights.weigh(node)
    assert told(node)["used"] == before


def test_the_figures_go_with_the_environment(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = node.settings.pool / "weights"
    weights.weigh(node)
    assert [path.name for path in folder.iterdir()] == [f"{nodes.ID}.json"]
    record, weigh = node.records.get(nodes.ID), weighing.weigh
    removal.destroy(node, nodes.ID)
    assert list(folder.iterdir()) == []
    # One that is destroyed while it is walked.
    guest.srv(node.settings, nodes.ID).mkdir(parents=True)
    guest.rootfs(node.settings, nodes.ID).mkdir()
    node.records.save(record)

    def late(top: Path, seconds: float, depth: int = 0) -> weighing.Weight:
        node.records.remove(nodes.ID)
        return weigh(top, seconds, depth)

    monkeypatch.setattr(weighing, "weigh", late)
    weights.weigh(node, nodes.ID)
    assert list(folder.iterdir()) == []


def test_nobody_walks_where_the_kernel_accounts(node: Node) -> None:
    assert weights.weigh(Node(replace(node.settings, storage="quota"), node.host)) == {}


def test_the_timer_weighs_all(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "this_node", lambda _: node)
    assert command.main(["weigh"]) == 0
    assert told(node)["complete"] is True
