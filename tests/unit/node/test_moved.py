"""A migration that nobody kills: no change made meanwhile is lost, and it comes back as it was."""

from __future__ import annotations

from dataclasses import replace

import pytest

from corpus.model.errors import Conflict
from corpus.node.migration import leaving, sending
from corpus.node.proxy import routes
from linked import BARRIER
from unit.node.between import ID, Bench, both, mirror, serving
from unit.node.between import bench as bench
from unit.node.killing import put_back, unwell


def test_what_is_changed_while_it_is_sent_is_not_lost(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_back(bench.start, bench.folder)
    one, two = both(bench.folder)

    def changing(way: sending.Mirror, part: str) -> int:
        routes.route(one, ID, routes.parse_route("new.example"))
        return mirror(way, part)

    monkeypatch.setattr(sending.Mirror, "_mirror", changing)
    with BARRIER, pytest.raises(Conflict, match="changed while it was sent"):
        leaving.migrate(one, ID, "node2")
    assert "new.example" in [route.host for route in one.records.get(ID).routes]
    assert serving(bench.folder) == ["node1"]
    assert two.records.find(ID) is None


def test_it_comes_back_to_its_places(bench: Bench) -> None:
    put_back(bench.start, bench.folder)
    one, two = both(bench.folder)
    before = one.records.get(ID)
    for source, target in ((one, "node2"), (two, "node1")):
        with BARRIER:
            leaving.migrate(source, ID, target)
        assert serving(bench.folder) == [target]
    assert replace(one.records.get(ID), made="") == replace(before, made="")
    assert unwell(one) == unwell(two) == []
