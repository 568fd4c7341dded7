"""Rules around environments of role proxy: what comes to the front, and what they may reach.

Such an environment is no port of the bridge but at the end of a cable of its own, routed: the
node's bridge keeps its ports apart, and where the kernel has br_netfilter a packet led from one
port to another one is bridged by that rule, whatever was decided about it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Proxy:
    """The interface that leads to an environment of role proxy, and its address."""

    interface: str
    address: str


@dataclass(frozen=True)
class FrontRules:
    """What the rules know.

    ``active``: the address that the node's ``ports`` lead to; None: the node has them itself.
    ``routed``: address and port of everything that host names lead to. ``answers`` is the port
    of the ``gateway`` at which challenges of certificate authorities are answered.
    """

    table: str
    gateway: str
    proxies: Sequence[Proxy]
    active: str | None
    ports: Sequence[int]
    routed: Sequence[tuple[str, int]]
    answers: int


def ruleset(rules: FrontRules) -> str:
    """Return a table of its own, or its removal where there is no such environment.

    Connections that exist go where they went: a move of the front cuts none.
    """
    table = f"inet {rules.table}-front"
    fresh = f"add table {table}\ndelete table {table}\n"
    if not rules.proxies:
        return fresh
    ours = ", ".join(f'"{proxy.interface}"' for proxy in rules.proxies)
    known = ", ".join(f'"{proxy.interface}" . {proxy.address}' for proxy in rules.proxies)
    led = "\n        ".join(
        f"iifname != @ours fib daddr type local tcp dport {port} dnat ip to {rules.active}:{port}"
        for port in (rules.ports if rules.active else ())
    )
    routed = ", ".join(f"{address} . {port}" for address, port in sorted(set(rules.routed)))
    return f"""{fresh}table {table} {{
    set ours {{
        type ifname
        elements = {{ {ours} }}
    }}
    set senders {{
        type ifname . ipv4_addr
        elements = {{ {known} }}
    }}
    set routed4 {{
        type ipv4_addr . inet_service
        {f"elements = {{ {routed} }}" if routed else ""}
    }}
    chain early {{
        type filter hook prerouting priority raw; policy accept;
        iifname @ours meta nfproto != ipv4 drop
        iifname @ours ip option lsrr exists drop
        iifname @ours ip option ssrr exists drop
        iifname @ours iifname . ip saddr != @senders drop
    }}
    chain prerouting {{
        type nat hook prerouting priority dstnat - 1; policy accept;
        {led}
    }}
    chain forward {{
        type filter hook forward priority filter - 1; policy accept;
        iifname != @ours oifname != @ours accept
        ct state established,related accept
        iifname @ours ip daddr . tcp dport @routed4 accept
        iifname @ours drop
        ct status dnat accept
        drop
    }}
    chain input {{
        type filter hook input priority filter - 1; policy accept;
        iifname != @ours accept
        ct state established,related accept
        ip daddr {rules.gateway} tcp dport {rules.answers} accept
        drop
    }}
}}
"""
