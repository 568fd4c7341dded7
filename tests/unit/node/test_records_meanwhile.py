"""What somebody else changes of a record meanwhile stays, whoever saves it next."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from corpus.node.context import Node
from corpus.node.environments import lifecycle, limiting, making, room
from corpus.node.environments import limits as bounds
from corpus.node.proxy import routes
from unit.node import nodes
from unit.node.rooms import node as node
from unit.node.rooms import record
from unit.node.rooms import used as used


def meanwhile(monkeypatch: pytest.MonkeyPatch, node: Node, module: Any, name: str) -> None:
    """Have an admin lead a host name to the environment once ``name`` was called."""
    real = getattr(module, name)

    def called(*given: Any, **more: Any) -> Any:
        found = real(*given, **more)
        routes.route(node, nodes.ID, routes.parse_route("new.example.org"))
        return found

    monkeypatch.setattr(module, name, called)


CHANGES: dict[str, tuple[Any, str, Callable[[Node], object]]] = {
    "enlarge": (room, "check", lambda node: room.enlarge(node, nodes.ID)),
    "stop": (lifecycle, "ready", lambda node: lifecycle.stop(node, nodes.ID)),
    "limit": (bounds, "changed", lambda node: limiting.limit(node, nodes.ID, pids=100)),
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_an_admin_changes_meanwhile_stays(
    node: Node, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    module, name, work = CHANGES[change]
    before = record(node)
    meanwhile(monkeypatch, node, module, name)
    work(node)
    assert [route.host for route in record(node).routes] == ["new.example.org"]
    assert record(node).changed(routes=()) != before


def test_a_name_led_to_one_that_is_being_made_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, _ = nodes.make(tmp_path)
    meanwhile(monkeypatch, plain, making, "bring_up")
    making.create(plain, id=nodes.ID, wait=0)
    assert [route.host for route in record(plain).routes] == ["new.example.org"]
    assert record(plain).stage == "ready"


def test_more_room_that_is_there_already_saves_nothing(node: Node) -> None:
    file = node.settings.records / f"{nodes.ID}.json"
    before = file.stat().st_ino, file.stat().st_mtime_ns
    room.make_room(node, nodes.ID, 1)
    assert (file.stat().st_ino, file.stat().st_mtime_ns) == before
