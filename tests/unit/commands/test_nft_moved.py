"""Rules for environments that live on other nodes."""

from __future__ import annotations

from corpus.commands.nft import Opening
from corpus.commands.nft_moved import Led, Rules, ruleset

RULES = Rules("corpus0", "corpus0", "cprx")


def test_where_nothing_has_moved_there_are_no_rules() -> None:
    assert ruleset(RULES) == ""


def test_what_is_new_to_who_moves_is_dropped_but_for_the_node_that_looks_at_it() -> None:
    text = ruleset(Rules("t", "b", "p", held=["10.88.0.10", "10.88.0.11"]))
    own, others = text.split("chain hold_others")
    held = "ip daddr { 10.88.0.10, 10.88.0.11 } ct state new"
    assert f"{held} tcp dport != 22 drop" in own
    assert f"{held} meta l4proto != tcp drop" in own
    assert f"{held} drop" in others
    assert "dnat" not in text


def test_requests_and_ssh_are_led_to_the_other_node() -> None:
    led = Led("10.88.0.10", [80, 8000], 22001, "192.0.2.2", 81, 22007)
    text = ruleset(Rules("t", "b", "p", led=[led]))
    assert "10.88.0.10 . 80 : 192.0.2.2 . 81, 10.88.0.10 . 8000 : 192.0.2.2 . 81" in text
    assert "tcp dport map { 22001 : 192.0.2.2 . 22007 }" in text
    assert (
        "ip daddr . tcp dport { 192.0.2.2 . 22007, 192.0.2.2 . 81 } masquerade to :32768-65535"
        in text
    )
    assert "udp" not in text


def test_what_begins_with_the_clients_address_is_led_to_a_port_of_its_own() -> None:
    led = Led("10.88.0.10", [80], 22001, "192.0.2.2", 81, 7, proxied=[8000], proxied_port=8403)
    text = ruleset(Rules("t", "b", "p", led=[led]))
    assert "10.88.0.10 . 80 : 192.0.2.2 . 81, 10.88.0.10 . 8000 : 192.0.2.2 . 8403" in text
    assert "192.0.2.2 . 8403" in text.split("chain lead_back")[1]


def test_opened_ports_are_led_to_the_same_there_for_whom_they_are_open() -> None:
    openings = [
        Opening("tcp", 5000, "10.88.0.10", 5432, ["198.51.100.0/24", "203.0.113.1/32"]),
        Opening("udp", 5001, "10.88.0.10", 53, ["0.0.0.0/0"]),
    ]
    led = Led("10.88.0.10", [], 22001, "192.0.2.2", 81, 7, openings=openings)
    text = ruleset(Rules("t", "b", "p", led=[led]))
    there = "192.0.2.2 . 5000"
    assert f"5000 . 198.51.100.0/24 : {there}, 5000 . 203.0.113.1/32 : {there}" in text
    assert "5001 . 0.0.0.0/0 : 192.0.2.2 . 5001" in text
    own, others = text.split("chain lead_others")
    assert f"dnat ip to tcp dport map {{ 5000 : {there}, 22001 : 192.0.2.2 . 7 }}" in own
    assert "dnat ip to udp dport map { 5001 : 192.0.2.2 . 5001 }" in own
    for protocol in ("tcp", "udp"):
        assert f"dnat ip to {protocol} dport . ip saddr map @led_{protocol}4" in others
    assert "udp dport { 192.0.2.2 . 5001 } masquerade" in others
    assert "ip saddr {" not in text
    assert "sport" not in text


def test_what_another_node_leads_here_is_led_on_for_what_came_from_there() -> None:
    openings = [
        Opening("tcp", 5000, "10.88.0.10", 5432, ["198.51.100.0/24"]),
        Opening("udp", 5001, "10.88.0.10", 53, ["0.0.0.0/0"], ["192.0.2.3"]),
    ]
    led = Led("10.88.0.10", [], 22001, "192.0.2.2", 81, 7, openings=openings)
    others = ruleset(Rules("t", "b", "p", led=[led])).split("chain lead_others")[1]
    by = "fib daddr type local udp sport 32768-65535 dnat ip to ip saddr . udp dport map"
    assert f"{by} {{ 192.0.2.3 . 5001 : 192.0.2.2 . 5001 }}" in others
    assert "tcp sport" not in others


def test_without_routes_ssh_alone_is_led() -> None:
    text = ruleset(Rules("t", "b", "p", led=[Led("10.88.0.10", [], 22001, "192.0.2.2", 80, 7)]))
    assert "22001 : 192.0.2.2 . 7" in text
    assert "map {  }" not in text
