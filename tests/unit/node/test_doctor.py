"""What differs from the records is found, and what can be mended is, once."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from corpus.commands import network as commands
from corpus.hosts.fake import Fake
from corpus.model.finding import State, is_well
from corpus.node import boot
from corpus.node.context import Node
from corpus.node.doctor import proxy
from corpus.node.doctor.examine import CHECKS, examine
from corpus.node.environments import controls, guest, leftovers, lifecycle, making, removal
from corpus.node.proxy import front, replica
from corpus.node.records import Limits, Move, Pair, Stage
from corpus.node.storage import pool
from corpus.node.storage.quota import QuotaVolumes
from unit.node import nodes

THIRD = "33333333-2222-4333-8444-555555555555"
OURS = (nodes.ID, nodes.OTHER)


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Node, Fake]:
    """A node with two environments, one of which is stopped; all is well."""
    monkeypatch.setattr(leftovers, "CGROUPS", tmp_path / "cgroup")
    monkeypatch.setattr(proxy, "answers", lambda port: True)
    node, host = nodes.make(tmp_path)
    nodes.sound(node, host)
    boot.prepare(node)
    making.create(node, id=nodes.ID, hosts=["one.example"], memory="512M", wait=0)
    making.create(node, id=nodes.OTHER, platform="prod", hosts=["two.example"], wait=0)
    lifecycle.stop(node, nodes.OTHER)
    return node, host


def found(node: Node, *, mend: bool = False) -> list[dict[str, Any]]:
    return [one for one in examine(node, mend=mend) if one["state"] != State.OK]


def checks(node: Node) -> set[str]:
    return {one["check"] for one in found(node)}


def test_one_that_is_well(made: tuple[Node, Fake]) -> None:
    node, host = made
    before = len(host.commands)
    told = examine(node, mend=True)
    assert [one for one in told if one["state"] != State.OK] == []
    assert {one["check"] for one in told} == set(CHECKS)
    changing = {"lxc-start", "lxc-stop", "nft", "sysctl", "rm"}
    assert not changing & {command[0] for command in host.commands[before:]}


def half_way(node: Node) -> None:
    node.records.save(node.records.get(nodes.OTHER).changed(stage=Stage.CREATING))


def lost_config(node: Node) -> None:
    lifecycle.config(node, node.records.get(nodes.ID)).write_text("lxc.idmap = u 0 0 65536\n")


def pair_with_nobody(node: Node) -> None:
    record = node.records.get(nodes.OTHER)
    node.records.save(record.changed(pairs=(Pair("demo", THIRD),)))


def unwanted(node: Node) -> None:
    node.records.save(node.records.get(nodes.ID).changed(wanted=False))


def not_running(node: Node) -> None:
    node.records.save(node.records.get(nodes.OTHER).changed(wanted=True))


def container_of_nobody(node: Node) -> None:
    (node.settings.lxcpath / THIRD).mkdir()
    (node.settings.lxcpath / THIRD / "config").write_text("# of one that is gone\n")


def socket_of_nobody(node: Node) -> None:
    (node.settings.asks / THIRD).mkdir()


def socket_missing(node: Node) -> None:
    guest.asks(node.settings, nodes.ID).rmdir()


def lock_of_nobody(node: Node) -> None:
    (node.settings.locks / THIRD).touch()


def half_written(node: Node) -> None:
    for folder in (node.settings.records, node.settings.lxcpath / nodes.ID, node.settings.images):
        (folder / ".a.json.abcd_123").touch()


def half_unpacked(node: Node) -> None:
    (node.settings.images / ".abcdef012345-2.partial").mkdir()


def half_snapshot(node: Node) -> None:
    (guest.home(node.settings, nodes.ID) / "snapshots" / ".new").mkdir(parents=True)


def proxy_file_gone(node: Node) -> None:
    del node.host.files[str(node.settings.proxy / "hosts.map")]  # type: ignore[attr-defined]


def user_ids_gone(node: Node) -> None:
    node.host.files["/etc/subuid"] = b""  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("spoil", "check"),
    [
        (half_way, "half_way"),
        (lost_config, "configuration"),
        (pair_with_nobody, "pairs"),
        (unwanted, "running"),
        (not_running, "running"),
        (container_of_nobody, "containers"),
        (socket_of_nobody, "sockets"),
        (socket_missing, "sockets"),
        (lock_of_nobody, "locks"),
        (half_written, "temporary"),
        (half_unpacked, "images"),
        (half_snapshot, "copies"),
        (proxy_file_gone, "proxy"),
        (user_ids_gone, "user_ids"),
    ],
)
def test_it_is_found_and_mended(
    made: tuple[Node, Fake], spoil: Callable[[Node], None], check: str
) -> None:
    node, _ = made
    spoil(node)
    assert check in checks(node)
    assert check in checks(node), "looking mends nothing"
    assert all(one["mended"] for one in found(node, mend=True))
    assert found(node) == []


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


def test_one_that_is_worked_on_is_left(made: tuple[Node, Fake]) -> None:
    node, _ = made
    half_way(node)
    with node.lock(nodes.OTHER):
        assert found(node, mend=True) == []
    assert node.records.get(nodes.OTHER).stage is Stage.CREATING


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


def test_rules_that_differ_are_loaded_anew(made: tuple[Node, Fake]) -> None:
    node, host = made
    tables = [{"table": {"family": "inet", "name": node.settings.bridge}}]
    aside = " ".join(commands.within(f"{node.settings.bridge}-doctor", []))
    host.answer(f"{aside} nft --json", json.dumps({"nftables": tables}))
    host.answer(f"{aside} nft --stateless", "table inet corpus0 { chain input { drop } }\n")
    told = found(node, mend=True)
    assert [(one["check"], one["mended"]) for one in told] == [("firewall", True)]
    assert nodes.ran(host, "nft")[-1] == ("nft", "-f", "-")
    assert ("ip", "netns", "delete", f"{node.settings.bridge}-doctor") in host.commands


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        ("ip -json link show dev", '[{"ifname": "corpus0", "address": "02:00:00:00:00:01"}]'),
        ("ip -4 -json", "[]"),
    ],
)
def test_a_bridge_that_differs_is_put_right(
    made: tuple[Node, Fake], words: str, answer: str
) -> None:
    node, host = made
    host.answer(words, answer)
    assert [one["check"] for one in found(node, mend=True)].count("bridge") == 1
    assert ("ip", "link", "set", "dev", node.settings.bridge, "up") in host.commands


def test_a_cable_of_nobody_is_cut(made: tuple[Node, Fake]) -> None:
    node, host = made
    mine = node.records.get(nodes.ID).interface
    names = [{"ifname": name} for name in (mine, "cenv33333333222", "veth0")]
    host.answer("ip -json link show master", json.dumps(names))
    assert [one["where"] for one in found(node, mend=True)] == ["cenv33333333222"]
    cut = [command[-1] for command in nodes.ran(host, "ip") if "delete" in command[:3]]
    assert "cenv33333333222" in cut
    assert mine not in cut


def test_limits_of_a_running_guest_are_set_anew(made: tuple[Node, Fake]) -> None:
    node, host = made
    key = controls.settings(Limits(0, memory=1), controls.layout())[0].key
    host.answer("lxc-cgroup", lambda argv: f"{64 << 20}\n" if argv[-1] == key else "")
    told = found(node, mend=True)
    assert [(one["check"], one["mended"]) for one in told] == [("limits", True)]
    assert (key, str(512 << 20)) in {c[-2:] for c in nodes.ran(host, "lxc-cgroup")}


def test_sizes_and_groups_follow_the_records(
    made: tuple[Node, Fake], monkeypatch: pytest.MonkeyPatch
) -> None:
    node, host = made
    monkeypatch.setitem(pool._KINDS, "plain", QuotaVolumes)
    groups = {id: node.records.get(id).group for id in OURS}
    size = node.records.get(nodes.ID).limits.size
    lines = [
        f"{groups[nodes.ID]} 100 100 {size}",
        f"{groups[nodes.OTHER]} 100 100 5",
        "2/7 0 0 none",
    ]
    host.answer("btrfs qgroup show", "\n".join(lines))
    monkeypatch.setattr(QuotaVolumes, "used", lambda self, group: self.usage().get(group))
    pruned: list[set[str]] = []
    monkeypatch.setattr(QuotaVolumes, "prune", lambda _, kept: pruned.append(kept))
    monkeypatch.setattr(
        QuotaVolumes, "strays", lambda _, kept: sorted({"2/7", *groups.values()} - kept)
    )
    told = found(node, mend=True)
    assert {(one["check"], one["where"]) for one in told} == {
        ("quota_groups", "2/7"), ("sizes", nodes.OTHER),
    }  # fmt: skip
    set_again = ("btrfs", "qgroup", "limit", str(size), groups[nodes.OTHER])
    assert set_again in {command[:5] for command in host.commands}
    assert pruned == [set(groups.values())]


def test_a_check_that_trips_hides_no_other(
    made: tuple[Node, Fake], monkeypatch: pytest.MonkeyPatch
) -> None:
    node, host = made
    lock_of_nobody(node)
    host.prepare_failure("netns", err="no network namespaces")
    host.prepare_failure("add", err="no network namespaces")
    told = {one["check"]: one for one in found(node)}
    assert "could not be looked at" in told["firewall"]["what"]
    assert "locks" in told


def test_groups_without_a_monitor_are_cleared(
    made: tuple[Node, Fake], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    node, _ = made
    group = tmp_path / "cgroup" / f"lxc.payload.{nodes.OTHER}"
    group.mkdir(parents=True)
    root = tmp_path / "cgroup"
    real, clear = leftovers.groups, leftovers.clear
    monkeypatch.setattr(leftovers, "groups", lambda id, _=None: real(id, root))
    monkeypatch.setattr(leftovers, "clear", lambda id: clear(id, root))
    assert [one["mended"] for one in found(node, mend=True)] == [True]
    assert not group.exists()


def test_a_front_that_is_away_or_not_watched_is_told_and_had_back(made: tuple[Node, Fake]) -> None:
    node, host = made
    making.create(node, id=THIRD, role="proxy", wait=0)
    host.answer("lxc-attach", lambda argv: nodes.attached(host, argv))
    front.move(node, THIRD)
    assert found(node) == []
    replica.pass_over(node, THIRD, "it does not answer")
    assert [one["what"] for one in found(node)] == [
        "the node's own proxy has its ports: it does not answer"
    ]
    assert all(one["mended"] for one in found(node, mend=True))
    assert found(node) == []
    del host.files[f"{nodes.INSIDE}/etc/corpus/proxy/hosts.map"]
    assert [one["check"] for one in found(node, mend=True)] == ["front"]
    assert found(node) == []
    host.prepare_failure("corpus-front.service")
    assert [one["where"] for one in found(node)] == ["corpus-front.service"]


def test_keys_where_the_front_is_no_more_are_told_and_removed(made: tuple[Node, Fake]) -> None:
    node, host = made
    making.create(node, id=THIRD, role="proxy", wait=0)
    host.answer("lxc-attach", lambda argv: nodes.attached(host, argv))
    front.move(node, THIRD)
    node.change(THIRD, lambda now: now.changed(front=False))  # killed in the middle of a move
    boot.prepare(node)
    assert [one["what"] for one in found(node)] == [
        "it is the front no more, and may have the sites' keys"
    ]
    assert all(one["mended"] for one in found(node, mend=True))
    assert found(node) == []
