from __future__ import annotations

import re
from dataclasses import replace

from corpus.commands import nft

GUEST = nft.Guest("cenv11111111222", "02:c0:0a:58:00:0a", "10.88.0.10", 22001)
RULES = nft.Rules("corpus0", "corpus0", "cenv", "cpxy", "10.88.0.0/16", "10.88.0.1", [GUEST], (80,))
OTHER = nft.Guest("cenv99999999222", "02:c0:0a:58:00:0b", "10.88.0.11", 22002)


def test_only_tables_of_our_own_are_named() -> None:
    text = nft.ruleset(RULES)
    assert set(re.findall(r"(?:table) (\w+ \w+)", text)) == {"inet corpus0", "bridge corpus0"}
    assert "flush" not in text


def test_the_tables_are_replaced_in_one_text() -> None:
    text = nft.ruleset(RULES)
    assert text.index("add table inet") < text.index("delete table inet") < text.index("map ssh4")


def test_an_ssh_port_leads_to_its_guest_and_frames_are_bound_to_it() -> None:
    text = nft.ruleset(RULES)
    assert "elements = { 22001 : 10.88.0.10 . 22 }" in text
    assert '"cenv11111111222" . 02:c0:0a:58:00:0a . 10.88.0.10' in text
    assert "iifname corpus0 tcp dport { 80 } accept" in text


def test_without_guests_there_are_no_elements() -> None:
    assert "elements" not in nft.ruleset(replace(RULES, guests=[]))


def test_a_guest_reaches_the_ssh_port_of_its_pair_alone() -> None:
    text = nft.ruleset(replace(RULES, guests=[GUEST, replace(OTHER, reaches=(22001,))]))
    assert "elements = { 10.88.0.11 . 22001 }" in text
    assert "ip daddr 10.88.0.1 ip saddr . tcp dport @reached4 accept" in text
    assert "10.88.0.10 . 22002" not in text


def test_guests_reach_the_mail_relay_at_the_gateway_and_nothing_else_of_it() -> None:
    assert "dport 25" not in nft.ruleset(RULES)
    lines = nft.ruleset(replace(RULES, relay=("192.0.2.25", 587))).splitlines()
    text = "\n".join(line.strip() for line in lines)
    ours = "iifname corpus0 ip daddr"
    assert f"{ours} 10.88.0.1 tcp dport 25 dnat ip to 192.0.2.25:587\n" in text
    assert f"{ours} 192.0.2.25 ct status dnat accept; {ours} 192.0.2.25 drop\n" in text
    assert f"{ours} 192.0.2.25 tcp dport 587 ct status dnat accept\n" in text
    assert text.index(f"{ours} 192.0.2.25 drop") < text.index("iifname corpus0 accept")


def test_an_opened_port_leads_to_its_guest_for_the_networks_alone() -> None:
    opening = nft.Opening("udp", 23000, "10.88.0.10", 53, ("192.0.2.0/24", "198.51.100.1/32"))
    text = nft.ruleset(replace(RULES, openings=[opening]))
    udp = text.partition("map udp4 {")[2].partition("}\n    }")[0]
    assert "23000 . 192.0.2.0/24 : 10.88.0.10 . 53" in udp
    assert "23000 . 198.51.100.1/32 : 10.88.0.10 . 53" in udp
    assert "23000" not in text.partition("map tcp4 {")[2].partition("}")[0]


def test_what_another_node_leads_here_comes_to_what_it_leads_alone() -> None:
    led = nft.Opening("tcp", 23000, "10.88.0.10", 53, ("10.0.0.0/8",), ("192.0.2.2", "192.0.2.3"))
    own = nft.Opening("tcp", 23001, "10.88.0.11", 53, ("10.0.0.0/8",))
    text = nft.ruleset(replace(RULES, openings=[led, own]))
    peers = text.partition("map peers_tcp4 {")[2].partition("}\n    }")[0]
    assert "192.0.2.2 . 23000 : 10.88.0.10 . 53, 192.0.2.3 . 23000 : 10.88.0.10 . 53" in peers
    assert "23001" not in peers
    by = "tcp sport 32768-65535 dnat ip to ip saddr . tcp dport map @peers_tcp4"
    assert f"iifname != corpus0 fib daddr type local {by}" in text
    assert "sport" not in nft.ruleset(replace(RULES, openings=[own]))


def test_guests_have_no_ipv6_no_source_routes_and_no_interface_past_the_bridge() -> None:
    early = nft.ruleset(RULES).partition("chain early {")[2].partition("}")[0]
    for rule in (
        'iifname "cenv*" drop',
        "iifname corpus0 meta nfproto != ipv4 drop",
        "iifname corpus0 ip option lsrr exists drop",
    ):
        assert rule in early


def test_a_guest_has_so_many_connections_at_the_most() -> None:
    text = nft.ruleset(replace(RULES, connections=77))
    assert text.count("add @connections4 { ip saddr ct count over 77 } drop") == 2
