"""The operator's nftables.service flushes all rules: the node's come back, by themselves."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from corpus.commands.network import list_tables, parse_tables, show_table, steady
from corpus.hosts.base import Host
from guests import node as node
from labs import lab as lab
from patience import wait_until

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="a lab is made by root alone")

NFTABLES, OURS = "nftables.service", "corpus-firewall.service"


def rules(node: Host) -> dict[tuple[str, str], str]:
    """Return the node's tables, by family and name."""
    found = parse_tables(node.run(list_tables()).out)
    return {
        one: steady(node.run(show_table(*one)).out) for one in found if one[1].startswith("corpus")
    }


def systemctl(node: Host, *words: str) -> str:
    return node.run(["systemctl", *words], check=False, timeout=120).out.strip()


@pytest.fixture
def whole(node: Host) -> Iterator[dict[tuple[str, str], str]]:
    """Return the rules; afterwards nftables.service is as it was: off."""
    assert systemctl(node, "is-active", NFTABLES) == "inactive"
    there = rules(node)
    assert {family for family, _ in there} >= {"inet", "bridge"}
    yield there
    systemctl(node, "stop", NFTABLES)
    node.run(["nft", "flush", "ruleset"])
    systemctl(node, "start", "corpus-weigh.service")
    assert rules(node) == there


def test_the_rules_come_back_whatever_is_done_with_nftables(
    node: Host, whole: dict[tuple[str, str], str]
) -> None:
    systemctl(node, "start", OURS)  # there is nothing to follow yet
    assert systemctl(node, "is-active", OURS) == "inactive"
    for verb in ("start", "reload", "restart", "reload"):
        systemctl(node, verb, NFTABLES)
        assert "table inet filter" in node.run(["nft", "list", "ruleset"]).out  # the operator's
        wait_until(lambda: rules(node) == whole)  # systemctl waits for nftables.service alone
        systemctl(node, "start", OURS)  # until it is done
        assert systemctl(node, "is-active", OURS) == "active"
    node.run(["nft", "flush", "ruleset"])  # which systemd does not see
    assert rules(node) == {}
    systemctl(node, "start", "corpus-weigh.service")
    assert rules(node) == whole
    assert systemctl(
        node, "is-failed", OURS, "corpus-weigh.service", "corpus-node.service"
    ).split() == ["active", "inactive", "active"]


def test_a_node_without_nftables_service_lacks_nothing(
    node: Host, whole: dict[tuple[str, str], str]
) -> None:
    systemctl(node, "mask", "--runtime", NFTABLES)
    try:
        systemctl(node, "restart", OURS)
        assert systemctl(node, "is-failed", OURS) == "inactive"
    finally:
        systemctl(node, "unmask", "--runtime", NFTABLES)
    assert rules(node) == whole
