"""Rules for environments that live on other nodes."""

from __future__ import annotations

from corpus.commands.nft_moved import Led, Rules, ruleset

RULES = Rules("corpus0", "corpus0", "cprx")


def test_where_nothing_has_moved_there_are_no_rules() -> None:
    assert ruleset(RULES) == ""


def test_the_first_packet_to_who_moves_is_dropped() -> None:
    text = ruleset(Rules("t", "b", "p", held=["10.88.0.10", "10.88.0.11"]))
    assert "hook output" in text
    assert "hook forward" in text
    assert text.count("ip daddr { 10.88.0.10, 10.88.0.11 } tcp flags & (syn | ack) == syn") == 2
    assert "dnat" not in text


def test_requests_and_ssh_are_led_to_the_other_node() -> None:
    led = Led("10.88.0.10", [80, 8000], 22001, "192.0.2.2", 81, 22007)
    text = ruleset(Rules("t", "b", "p", led=[led]))
    assert "10.88.0.10 . 80 : 192.0.2.2 . 81, 10.88.0.10 . 8000 : 192.0.2.2 . 81" in text
    assert "tcp dport map { 22001 : 192.0.2.2 . 22007 }" in text
    assert "ip daddr . tcp dport { 192.0.2.2 . 22007, 192.0.2.2 . 81 } masquerade" in text


def test_without_routes_ssh_alone_is_led() -> None:
    text = ruleset(Rules("t", "b", "p", led=[Led("10.88.0.10", [], 22001, "192.0.2.2", 80, 7)]))
    assert "22001 : 192.0.2.2 . 7" in text
    assert "map {  }" not in text
