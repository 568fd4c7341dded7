from __future__ import annotations

import json
from ipaddress import IPv4Interface

from corpus.commands import network


def test_interfaces_are_parsed_with_and_without_addresses() -> None:
    text = json.dumps(
        [
            {"ifname": "eth0", "mtu": 1400, "addr_info": [{"local": "192.0.2.2", "prefixlen": 24}]},
            {},
            {"ifname": "br0", "mtu": 1500},
        ]
    )
    assert network.parse_links(text) == [
        network.Link("eth0", 1400, (IPv4Interface("192.0.2.2/24"),)),
        network.Link("br0", 1500, ()),
    ]
    assert network.parse_links("") == []


def test_tables_are_parsed() -> None:
    text = '{"nftables": [{"metainfo": {}}, {"table": {"family": "ip", "name": "x", "handle": 1}}]}'
    assert network.parse_tables(text) == [("ip", "x")]
    assert network.parse_tables("") == []


def test_a_chain_that_drops_what_is_forwarded_is_found() -> None:
    def chain(name: str, hook: str, policy: str) -> dict[str, object]:
        values = {"family": "inet", "table": "filter", "name": name, "hook": hook}
        return {"chain": values | {"policy": policy}}

    chains = [chain("a", "forward", "accept"), chain("b", "forward", "drop")]
    chains += [chain("c", "input", "drop"), {"chain": {"family": "ip", "table": "t", "name": "d"}}]
    found = network.parse_dropping(json.dumps({"nftables": chains}), "forward")
    assert found == ["inet filter b"]


def test_what_the_traffic_adds_to_a_table_is_left_out() -> None:
    listed = "elements = { 10.88.0.9,\n\t\t\t     10.88.0.10 }"
    kept = f"\tset senders {{\n\t\ttype ipv4_addr\n\t\t{listed}\n\t}}\n"
    head = "\tset many {\n\t\ttype ipv4_addr\n\t\tflags dynamic\n"
    text = f"table inet corpus0 {{\n{kept}\n{head}\t\telements = {{ 10.88.0.9 }}\n\t}}\n}}\n"
    assert network.steady(text) == f"table inet corpus0 {{\n{kept}\n{head}\t}}\n}}\n"
