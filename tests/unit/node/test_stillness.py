"""What is copied file by file is at rest: a guest that runs would have other files copied."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from corpus.model.errors import Conflict
from corpus.node.context import Node
from corpus.node.environments import cloning, exporting, guest, leftovers, lifecycle, snapshots
from corpus.node.storage.image import ImageVolumes
from corpus.node.storage.plain import PlainVolumes
from corpus.node.storage.quota import QuotaVolumes
from unit.node import nodes
from unit.node.copied import held
from unit.node.copied import node as node

COPIES: dict[str, Callable[[Node, bool], object]] = {
    "snapshot": lambda node, freeze: snapshots.take(node, nodes.ID, "one", freeze=freeze),
    "snapshot, test": lambda node, freeze: snapshots.plan_take(
        node, nodes.ID, "one", freeze=freeze
    ),
    "export": lambda node, freeze: exporting.export(
        node, nodes.ID, node.settings.prefix / "file", freeze=freeze
    ),
    "export, test": lambda node, freeze: exporting.changes(
        node, nodes.ID, node.settings.prefix / "file", freeze=freeze
    ),
    "clone": lambda node, freeze: cloning.clone(node, nodes.ID, freeze=freeze, wait=0),
    "clone, test": lambda node, freeze: cloning.changes(node, nodes.ID, freeze=freeze),
}


@pytest.mark.parametrize("way", COPIES)
def test_nothing_is_copied_file_by_file_from_under_one_that_runs(node: Node, way: str) -> None:
    act = COPIES[way]
    with pytest.raises(Conflict, match="neither stopped nor frozen"):
        act(node, False)
    assert held(node) == []
    assert len(node.records.all()) == 1
    guest.halted(node.settings, nodes.ID).touch()  # a copy was killed: it goes on before this one
    lifecycle.hold_still(node, node.records.get(nodes.ID))
    with pytest.raises(Conflict, match="neither stopped nor frozen"):
        act(node, False)
    lifecycle.freeze(node, nodes.ID)
    act(node, False)


@pytest.mark.parametrize("way", COPIES)
def test_it_may_be_where_a_copy_is_a_snapshot(
    node: Node, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(PlainVolumes, "reads", ImageVolumes.reads)
    if way.startswith("clone"):
        with pytest.raises(Conflict, match="neither stopped nor frozen"):
            COPIES[way](node, False)
    else:
        COPIES[way](node, False)
    monkeypatch.setattr(PlainVolumes, "reads", QuotaVolumes.reads)
    snapshots.delete(node, nodes.ID, "one")
    (node.settings.prefix / "file").unlink(missing_ok=True)
    COPIES[way](node, False)


@pytest.mark.parametrize("way", COPIES)
def test_what_lives_on_without_its_monitor_is_not_at_rest(
    node: Node, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    lifecycle.stop(node, nodes.ID)
    monkeypatch.setattr(leftovers, "alive", lambda _: True)
    with pytest.raises(Conflict, match="LXC calls it stopped"):
        COPIES[way](node, True)
