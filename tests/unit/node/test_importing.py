"""An import: the same environment again, or a copy, and what is in the way of either."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from corpus.commands.cgroups import Layout
from corpus.hosts import subvolumes
from corpus.model.errors import Conflict, InvalidInput, Unsupported
from corpus.node.context import Node
from corpus.node.environments import (
    controls,
    exporting,
    guest,
    importing,
    lifecycle,
    making,
    removal,
)
from corpus.node.network import ports
from corpus.node.proxy import routes
from corpus.node.records import Allotment, Role, Route, Stage
from corpus.node.storage import pool
from corpus.node.storage.plain import PlainVolumes
from unit.node import nodes
from unit.node.exported import file as file
from unit.node.exported import node as node
from unit.node.exported import rewritten

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="owners and devices are made by root")


def test_it_is_the_same_one_again(node: Node, file: Path) -> None:
    lifecycle.autostart(node, nodes.ID, order=7)
    strict = Route("a.example", 8080, 5, "redirect", 3600, proxy_protocol=True)
    node.change(nodes.ID, lambda now: now.changed(routes=(strict,), maintenance=True))
    file.unlink()
    exporting.export(node, nodes.ID, file)
    before = nodes.record_json(node, nodes.ID)
    removal.destroy(node, nodes.ID)
    made = importing.import_(node, file, wait=0)
    after = nodes.record_json(node, nodes.ID)
    assert made["state"] == "running"
    assert {**after, "made": ""} == {**before, "made": ""}
    root = guest.rootfs(node.settings, nodes.ID)
    assert (root / "etc/corpus/release_key").read_text() == "mine"
    assert (guest.srv(node.settings, nodes.ID) / "file").read_text() == "one"
    assert list((node.settings.pool / "import").iterdir()) == []


def test_the_same_one_has_all_that_led_to_it(node: Node, file: Path) -> None:
    new = routes.parse_route("a.example", 8000, 5, "redirect", 3600, proxy_protocol=True)
    routes.route(node, nodes.ID, new)
    routes.maintenance(node, nodes.ID, on=True)
    ports.open_(node, nodes.ID, 5432, to=["192.0.2.0/24"])
    ports.open_(node, nodes.ID, 53, protocol="udp")
    file.unlink()
    exporting.export(node, nodes.ID, file)
    before = nodes.record_json(node, nodes.ID)
    removal.destroy(node, nodes.ID)
    making.create(node, id=nodes.OTHER, address="10.88.0.99", ssh_port=22099, wait=0)
    ports.open_(node, nodes.OTHER, 80, node_port=23000)
    told = importing.changes(node, file)
    assert "open udp port 23000 of the node, to its port 53 for 0.0.0.0/0" in told
    assert "show its maintenance page" in told
    importing.import_(node, file, wait=0)
    after = nodes.record_json(node, nodes.ID)
    assert [one["protocol"] for one in after.pop("openings")] == ["udp"]  # type: ignore[attr-defined]
    del before["openings"]
    assert {**before, "made": "", "slot": 1} == {**after, "made": ""}
    assert nodes.front(node, "maintenance.map") == f"{nodes.ID} on\n"


def test_limits_that_this_machine_cannot_hold_are_refused(
    node: Node, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    removal.destroy(node, nodes.ID)
    limited = rewritten(file, lambda m: m["record"]["limits"].update(pids=100))
    monkeypatch.setattr(controls, "layout", lambda: Layout(1, 1, 0))
    for call in (importing.import_, importing.changes):
        with pytest.raises(Unsupported, match="no control groups for pids"):
            call(node, limited)


def test_with_another_id_it_is_a_copy(node: Node, file: Path) -> None:
    made = importing.import_(node, file, id=nodes.OTHER, keys=[nodes.KEY], start=False)
    assert (made["id"], made["routes"], made["state"]) == (nodes.OTHER, [], "stopped")
    root = guest.rootfs(node.settings, nodes.OTHER)
    assert not (root / "etc/corpus/release_key").exists()
    assert json.loads((root / "etc/corpus/environment.json").read_text())["id"] == nodes.OTHER
    assert importing.import_(node, file, id="new", wait=0)["id"] not in (nodes.ID, nodes.OTHER)


def test_a_proxy_stays_a_proxy(node: Node, tmp_path: Path) -> None:
    making.create(node, id=nodes.OTHER, role="proxy", wait=0)
    file = tmp_path / "proxy.tar"
    exporting.export(node, nodes.OTHER, file)
    made = importing.import_(node, file, id="new", wait=0)
    assert node.records.get(made["id"]).role is Role.PROXY
    removal.destroy(node, nodes.OTHER)
    importing.import_(node, file, wait=0)
    assert node.records.get(nodes.OTHER).role is Role.PROXY
    with pytest.raises(InvalidInput, match="no host name leads to a proxy"):
        importing.plan(node, file, id="new", hosts=["b.example"])


def test_projects_are_accounted_as_they_were(
    node: Node, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, limits = list[tuple[str, str]](), dict[str, int]()

    class Accounted(PlainVolumes):
        kind = "quota"
        apart = True

        def join(self, group: str, within: str) -> None:
            pass

        def limit(self, group: str, size: int) -> None:
            limits[group] = size

    def create_in(folder: int, name: str, group: str) -> None:
        made.append((name, group))
        os.mkdir(name, dir_fd=folder)

    monkeypatch.setitem(pool._KINDS, "plain", Accounted)
    monkeypatch.setattr(subvolumes, "create_in", create_in)
    (guest.srv(node.settings, nodes.ID) / "projects/demo/data").mkdir(parents=True)
    node.change(nodes.ID, lambda now: now.changed(projects=(Allotment("demo", 1 << 30),)))
    exporting.export(node, nodes.ID, tmp_path / "a.tar")
    file = rewritten(
        tmp_path / "a.tar", lambda m: m["parts"][1].update(subvolumes={"projects/demo": False})
    )
    importing.import_(node, file, id=nodes.OTHER, wait=0)
    copy = node.records.get(nodes.OTHER)
    assert copy.projects == (Allotment("demo", 1 << 30),)
    assert made == [("demo", copy.project_group("demo"))]
    assert limits[copy.project_group("demo")] == 1 << 30
    for bad in ({"project": "../x"}, {"project": "demo", "size": "all"}):
        hostile = rewritten(file, lambda m, bad=bad: m["record"].update(projects=[bad]))
        with pytest.raises(InvalidInput):
            importing.plan(node, hostile, id="new")


def test_what_a_record_leaves_unsaid_is_as_in_a_new_one(node: Node, file: Path) -> None:
    def leave_out(told: dict[str, Any]) -> None:
        for name in ("order", "autostart"):
            del told["record"][name]

    made = importing.import_(node, rewritten(file, leave_out), id=nodes.OTHER, wait=0)
    assert (made["order"], made["autostart"]) == (0, True)


def test_a_killed_import_is_made_anew(node: Node, file: Path) -> None:
    importing.import_(node, file, id=nodes.OTHER, wait=0)
    node.change(nodes.OTHER, lambda now: now.changed(stage=Stage.CREATING))
    staged = guest.staged(node.settings, nodes.OTHER)
    staged.mkdir()
    (staged / "half").write_text("x")
    assert importing.import_(node, file, id=nodes.OTHER, wait=0)["state"] == "running"
    assert not staged.exists()
    node.change(nodes.OTHER, lambda now: now.changed(stage=Stage.CREATING))
    staged.mkdir()
    removal.destroy(node, nodes.OTHER)
    assert not staged.exists()


def test_what_is_in_the_way_is_told(node: Node, file: Path) -> None:
    for call in (importing.import_, importing.changes):
        with pytest.raises(Conflict, match="is there"):
            call(node, file)
        with pytest.raises(InvalidInput, match="digest"):
            call(node, file, id="new", digest="0" * 64)
        with pytest.raises(Conflict, match="leads to"):
            call(node, file, id="new", hosts=["a.example"])
        with pytest.raises(InvalidInput, match="a copy of a staging"):
            call(node, file, id="new", platform="prod")
    assert importing.changes(node, file, id="new")[0].startswith("make a staging environment")


def test_only_a_copy_is_of_another_type(node: Node, tmp_path: Path) -> None:
    making.create(node, id=nodes.OTHER, platform="prod", wait=0)
    exporting.export(node, nodes.OTHER, tmp_path / "prod.tar")
    removal.destroy(node, nodes.OTHER)
    with pytest.raises(InvalidInput, match="only a copy"):
        importing.import_(node, tmp_path / "prod.tar", platform="staging", wait=0)
    made = importing.import_(node, tmp_path / "prod.tar", id="new", platform="staging", wait=0)
    assert made["platform"] == "staging"


def test_a_taken_port_is_no_hindrance(node: Node, file: Path) -> None:
    removal.destroy(node, nodes.ID)
    making.create(node, id=nodes.OTHER, wait=0)  # has address and port of the other one now
    made = importing.import_(node, file, wait=0)
    assert (made["address"], made["ssh_port"]) == ("10.88.0.11", 22002)
