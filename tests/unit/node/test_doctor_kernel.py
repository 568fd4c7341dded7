"""What the kernel holds is made what the records say: rules, bridge, cables, limits, groups."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from corpus.commands import network as commands
from corpus.commands.btrfs import Usage
from corpus.hosts import quota
from corpus.hosts.fake import Fake
from corpus.node.context import Node
from corpus.node.environments import controls, leftovers
from corpus.node.records import Limits
from corpus.node.storage import pool
from corpus.node.storage.quota import QuotaVolumes
from unit.node import nodes
from unit.node.doctored import OURS, found
from unit.node.doctored import made as made


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
    node, _ = made
    monkeypatch.setitem(pool._KINDS, "plain", QuotaVolumes)
    groups = {id: node.records.get(id).group for id in OURS}
    size = node.records.get(nodes.ID).limits.size
    held = {groups[nodes.ID]: Usage(100, size), groups[nodes.OTHER]: Usage(100, 5)}
    monkeypatch.setattr(QuotaVolumes, "used", lambda _, group: held.get(group))
    set_again: list[tuple[str, int | None]] = []
    monkeypatch.setattr(quota, "make", lambda _, group: None)
    monkeypatch.setattr(quota, "limit", lambda _, group, size: set_again.append((group, size)))
    pruned: list[set[str]] = []
    monkeypatch.setattr(QuotaVolumes, "prune", lambda _, kept: pruned.append(kept))
    monkeypatch.setattr(
        QuotaVolumes, "strays", lambda _, kept: sorted({"2/7", *groups.values()} - kept)
    )
    told = found(node, mend=True)
    assert {(one["check"], one["where"]) for one in told} == {
        ("quota_groups", "2/7"), ("sizes", nodes.OTHER),
    }  # fmt: skip
    assert set_again == [(groups[nodes.OTHER], size)]
    assert pruned == [set(groups.values())]


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
