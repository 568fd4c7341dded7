"""Room of single projects: sizes of their own, and what is accounted to each."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from corpus.model.errors import Conflict, InvalidInput, NotFound, StillUsed
from corpus.node.context import Node
from corpus.node.environments import guest, projects, room
from corpus.node.records import Allotment
from corpus.node.storage import usage as usages
from corpus.node.storage.quota import QuotaVolumes
from unit.node import nodes
from unit.node.rooms import GIB, record
from unit.node.rooms import limited as limited
from unit.node.rooms import node as node
from unit.node.rooms import used as used


def test_a_project_has_a_size_of_its_own(node: Node, limited: list[int | None]) -> None:
    with pytest.raises(NotFound, match=r"no project demo .* accounted by itself"):
        room.allot(node, nodes.ID, "demo", "2G")
    node.change(nodes.ID, lambda now: now.allotted(Allotment("demo")))
    with pytest.raises(InvalidInput, match="demo has no size of its own"):
        room.enlarge(node, nodes.ID, project="demo")
    assert room.tighter(node, record(node), "demo").size == 5 * GIB
    done = room.allot(node, nodes.ID, "demo", "2G", "9G", test=True)
    assert done.changes == ["demo: size none becomes 2G", "demo: size_limit none becomes 9G"]
    assert record(node).projects == (Allotment("demo"),)
    room.allot(node, nodes.ID, "demo", "2G", "9G")
    assert room.tighter(node, record(node), "demo") == room.Room(2 * GIB, GIB, 9 * GIB)
    assert room.make_room(node, nodes.ID, 3 * GIB, "demo").size == 5 * GIB  # the environment's
    assert record(node).projects == (Allotment("demo", 7 * GIB, 9 * GIB),)
    room.trim(node, nodes.ID, "3G", "demo")
    assert record(node).limits.size == 5 * GIB
    with pytest.raises(InvalidInput, match="above the size_limit"):
        room.allot(node, nodes.ID, "demo", "10G")
    with pytest.raises(StillUsed):
        room.allot(node, nodes.ID, "demo", "1G")
    room.allot(node, nodes.ID, "demo", "none", "none")
    assert record(node).projects == (Allotment("demo"),)
    assert limited[-1] is None


def test_a_trim_of_a_project_that_is_taken_back_leaves_no_size_where_there_was_none(
    node: Node, used: dict[str, int], monkeypatch: pytest.MonkeyPatch, limited: list[int | None]
) -> None:
    node.change(nodes.ID, lambda now: now.allotted(Allotment("demo")))
    real = room.check

    def checked(*given: Any) -> None:
        real(*given)
        used["used"] = 2 * GIB

    monkeypatch.setattr(room, "check", checked)
    with pytest.raises(StillUsed):
        room.allot(node, nodes.ID, "demo", "2G")
    assert limited[-2:] == [2 * GIB, None]
    assert record(node).projects == (Allotment("demo"),)


def test_a_guest_cannot_make_its_record_grow_without_end(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    def made(_: object, folder: int, name: str, group: str, within: str) -> bool:
        with suppress(FileExistsError):
            os.mkdir(name, dir_fd=folder)
        return True

    monkeypatch.setattr(QuotaVolumes, "allot", made)
    monkeypatch.setattr(projects, "MOST", 3)
    for name in ("a", "b", "c", "a"):
        assert projects.make(node, nodes.ID, name)
    with pytest.raises(Conflict, match="has 3 projects"):
        projects.make(node, nodes.ID, "d")
    (guest.srv(node.settings, nodes.ID) / "projects/b").rmdir()
    assert projects.make(node, nodes.ID, "d")
    assert [one.project for one in record(node).projects] == ["a", "c", "d"]


def test_where_parts_are_not_accounted_nothing_is_made(node: Node, tmp_path: Path) -> None:
    plain, _ = nodes.reload(tmp_path)
    assert projects.make(plain, nodes.ID, "demo") is False
    assert record(plain).projects == ()
    assert not (guest.srv(plain.settings, nodes.ID) / "projects").exists()


def test_usage_where_nothing_is_accounted_says_so(node: Node, tmp_path: Path) -> None:
    plain, _ = nodes.reload(tmp_path)
    (found,) = usages.usage(plain)
    assert (found["used"], found["system"], found["projects"], found["shared"]) == (None,) * 4
    assert found["image"] == {"id": "abababababab", "used": None, "environments": 1}


def test_groups_of_projects_are_apart(node: Node) -> None:
    one = record(node)
    two = one.changed(id=nodes.OTHER)
    groups = [each.project_group(name) for each in (one, two) for name in ("demo", "shop")]
    assert len({*groups, one.group, two.group}) == 6
    assert all(group.startswith("1/") and int(group[2:]) < 1 << 48 for group in groups)
