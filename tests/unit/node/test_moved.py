"""A migration that nobody kills: no change made meanwhile is lost, and it comes back as it was."""

from __future__ import annotations

from dataclasses import replace

import pytest

from corpus.model.errors import Conflict
from corpus.node.certificates import store
from corpus.node.certificates.store import Source
from corpus.node.context import Node
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
    led = tuple(replace(opening, led_by=("node2",)) for opening in before.openings)
    assert replace(one.records.get(ID), made="") == replace(before, made="", openings=led)
    assert unwell(one) == unwell(two) == []


def test_who_led_its_ports_here_leads_them_on_and_to_where_it_comes_back(bench: Bench) -> None:
    put_back(bench.start, bench.folder)
    one, two = both(bench.folder)

    def led_by(node: Node) -> list[tuple[str, ...]]:
        return [opening.led_by for opening in node.records.get(ID).openings]

    first = replace(one.records.get(ID).openings[0], led_by=("elsewhere",))
    one.change(ID, lambda now: now.changed(openings=(first,)))
    with BARRIER:
        leaving.migrate(one, ID, "node2")
    assert (led_by(one), led_by(two)) == ([("elsewhere",)], [("node1",)])
    with BARRIER:
        leaving.migrate(two, ID, "node1")
    assert led_by(one) == [("elsewhere", "node2")]


def test_whose_certificates_stay_is_told(bench: Bench) -> None:
    put_back(bench.start, bench.folder)
    one, _ = both(bench.folder)
    said: list[str] = []
    stays = "leave the certificate of one.example here"

    def planned() -> list[str]:
        with BARRIER:
            return [line for line in leaving.plan(one, ID, "node2") if "certificate" in line]

    assert planned() == []
    store.save(one.settings, Source("one.example", ("one.example",), "dns"))
    store.save(one.settings, Source("other.test", ("other.test",)))
    assert [line.startswith(stays) for line in planned()] == [True]
    with BARRIER:
        leaving.migrate(one, ID, "node2", say=said.append)
    assert said[0].startswith(stays)
