"""Less room: down to what is used and no further, whatever a guest writes meanwhile."""

from __future__ import annotations

from typing import Any

import pytest

from corpus.hosts.fake import Fake
from corpus.model.errors import InvalidInput, StillUsed
from corpus.node.context import Node
from corpus.node.environments import limiting, room
from corpus.node.records import Allotment, Limits
from unit.node import nodes
from unit.node.rooms import GIB, record
from unit.node.rooms import limited as limited
from unit.node.rooms import node as node
from unit.node.rooms import used as used


def test_a_trim_takes_a_step_or_goes_to_a_size(node: Node, limited: list[int | None]) -> None:
    with pytest.raises(InvalidInput, match="less than 64M would be left"):
        room.trim(node, nodes.ID)
    room.enlarge(node, nodes.ID, "12G")
    assert room.trim(node, nodes.ID).record.limits.size == 7 * GIB
    assert room.trim(node, nodes.ID, "2G").record.limits.size == 2 * GIB
    with pytest.raises(InvalidInput, match="that would be more"):
        room.trim(node, nodes.ID, "3G")
    assert limited[-1] == 2 * GIB


@pytest.mark.parametrize("size", ["1G", "64M", str(GIB + room.RESERVE - 1)])
def test_a_trim_below_what_is_used_is_refused_whichever_way(
    node: Node, size: str, limited: list[int | None]
) -> None:
    for how in (
        lambda test: room.trim(node, nodes.ID, size, test=test),
        lambda test: limiting.limit(node, nodes.ID, size=size, test=test),
    ):
        for test in (True, False):
            with pytest.raises(StillUsed, match="1G are used already, and 32M are kept"):
                how(test)
    assert record(node).limits.size == 5 * GIB
    assert limited == []
    room.trim(node, nodes.ID, GIB + room.RESERVE)


def test_what_a_guest_writes_meanwhile_has_the_trim_taken_back(
    node: Node, used: dict[str, int], monkeypatch: pytest.MonkeyPatch, limited: list[int | None]
) -> None:
    real = room.check

    def checked(*given: Any) -> None:
        real(*given)
        used["used"] = 2 * GIB

    monkeypatch.setattr(room, "check", checked)
    for trim in (
        lambda: room.trim(node, nodes.ID, "2G"),
        lambda: limiting.limit(node, nodes.ID, size="2G", pids=100),
    ):
        used["used"] = GIB
        with pytest.raises(StillUsed):
            trim()
        assert limited[-2:] == [2 * GIB, 5 * GIB]
        assert record(node).limits == Limits(5 * GIB)
    assert isinstance(node.host, Fake)
    values = [argv[-1] for argv in nodes.ran(node.host, "lxc-cgroup")]
    assert values == ["100", "max"]


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        ('{"local": {"kept": 2147483648}}', "demo: 2G of past deployments (mc_project.usage demo)"),
        ('{"local": {"kept": "a lot"}}', None),
        ('{"local": {"kept": -1}}', None),
        ("[" * 5000, None),
        ("", None),
    ],
)
def test_a_refusal_says_what_the_environment_could_prune(
    node: Node, answer: str, told: str | None
) -> None:
    assert isinstance(node.host, Fake)
    node.host.answer("lxc-attach", answer)
    node.change(nodes.ID, lambda now: now.allotted(Allotment("demo", 5 * GIB)))
    with pytest.raises(StillUsed) as refused:
        room.trim(node, nodes.ID, "1G", "demo")
    mend = refused.value.mend or ""
    assert mend.startswith("ask for 1056M or more")
    assert mend.splitlines()[1:] == ([f"           {told}"] if told else [])
