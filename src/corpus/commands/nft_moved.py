"""nftables: what is meant for environments that live on other nodes, or nowhere at the moment.

Chains of their own in the node's table, before those of ``nft``, and loaded with them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Led:
    """An environment that lives on another node: what is meant for its ``address`` goes there.

    ``ports`` are those that the proxy leads to; all of them go to ``http_port`` of that node's
    own proxy, and the SSH port here to the one there.
    """

    address: str
    ports: Sequence[int]
    ssh_port: int
    to: str
    http_port: int
    to_ssh_port: int


@dataclass(frozen=True)
class Rules:
    """New connections to the addresses ``held`` wait; ``led`` live elsewhere.

    ``table`` and ``bridge`` are the node's, ``proxies`` is what the names of the interfaces of
    environments that are proxies begin with.
    """

    table: str
    bridge: str
    proxies: str
    held: Sequence[str] = ()
    led: Sequence[Led] = ()


def ruleset(rules: Rules) -> str:
    """Return the chains; nothing where nothing has moved. A connection that exists goes on."""
    body = _hold(rules) + _lead(rules)
    return f"table inet {rules.table} {{{body}}}\n" if body else ""


def _hold(rules: Rules) -> str:
    """Return what drops the first packet of connections, which is sent again."""
    if not rules.held:
        return ""
    drop = f"ip daddr {{ {', '.join(rules.held)} }} tcp flags & (syn | ack) == syn drop"
    return f"""
    chain hold_own {{
        type filter hook output priority filter - 1; policy accept;
        {drop}
    }}
    chain hold_others {{
        type filter hook forward priority filter - 1; policy accept;
        {drop}
    }}
"""


def _lead(rules: Rules) -> str:
    if not rules.led:
        return ""
    to = {(led.address, port): led for led in rules.led for port in led.ports}
    web = [f"{address} . {port} : {led.to} . {led.http_port}"
           for (address, port), led in to.items()]  # fmt: skip
    ssh = [f"{led.ssh_port} : {led.to} . {led.to_ssh_port}" for led in rules.led]
    there = sorted({f"{led.to} . {port}" for led in rules.led
                    for port in (led.http_port, led.to_ssh_port)})  # fmt: skip
    requests = f"dnat ip to ip daddr . tcp dport map {{ {', '.join(web)} }}" if web else ""
    doors = f"fib daddr type local dnat ip to tcp dport map {{ {', '.join(ssh)} }}"
    proxied = f'iifname "{rules.proxies}*" {requests}' if web else ""
    return f"""
    chain lead_own {{
        type nat hook output priority -101; policy accept;
        {requests}
        {doors}
    }}
    chain lead_others {{
        type nat hook prerouting priority dstnat - 1; policy accept;
        {proxied}
        iifname != {rules.bridge} {doors}
    }}
    chain lead_back {{
        type nat hook postrouting priority srcnat - 1; policy accept;
        ct status dnat ip daddr . tcp dport {{ {", ".join(there)} }} masquerade
    }}
"""
