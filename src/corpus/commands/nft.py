"""The node's own nftables tables, as one text that the kernel takes whole or not at all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

RELAY_PORT = 25  # of the gateway, where guests find the mail relay


@dataclass(frozen=True)
class Guest:
    """What the rules know of one environment; it ``reaches`` these ports of the gateway too."""

    interface: str
    mac: str
    address: str
    ssh_port: int
    reaches: Sequence[int] = ()


@dataclass(frozen=True)
class Rules:
    """The network that the rules guard.

    ``interfaces`` is what the guests' interface names begin with (not every kernel can match
    the bridge itself), ``proxies`` those of environments whose rules are nft_front's;
    ``open_ports`` are the node's own, for its guests. ``relay`` is the
    address and port of the mail server that guests reach at the ``gateway``, and at it alone.
    """

    table: str
    bridge: str
    interfaces: str
    proxies: str
    subnet: str
    gateway: str
    guests: Sequence[Guest]
    open_ports: Sequence[int] = ()
    relay: tuple[str, int] | None = None


def load() -> list[str]:
    """Return the command that replaces the tables by the rules on its standard input."""
    return ["nft", "-f", "-"]


def show(table: str) -> list[str]:
    """Return the command that prints the node's table."""
    return ["nft", "list", "table", "inet", table]


def remove(table: str) -> str:
    """Return the input of ``load`` that removes the tables."""
    return _fresh("inet", table, remove_only=True) + _fresh("bridge", table, remove_only=True)


def _fresh(family: str, table: str, *, remove_only: bool = False) -> str:
    # "add" first, so that "delete" finds it: both lie in one transaction.
    return f"add table {family} {table}\ndelete table {family} {table}\n" + (
        "" if remove_only else f"add table {family} {table}\n"
    )


def _elements(values: Sequence[str]) -> str:
    return f"elements = {{ {', '.join(values)} }}" if values else ""


def ruleset(rules: Rules) -> str:
    """Return the whole ruleset: SSH ports led to the guests, guests kept from each other.

    Only ``table`` is touched. Chains accept what is not about the bridge, so that foreign
    forwarding on a server goes on; towards the guests everything but SSH is closed, and the
    proxy reaches them from the node itself. A port of the gateway that one guest ``reaches`` is
    the proxy's too: packets between two guests are never forwarded.
    """
    forwards = [f"{g.ssh_port} : {g.address} . 22" for g in rules.guests]
    reached = [f"{g.address} . {port}" for g in rules.guests for port in g.reaches]
    ports = ", ".join(str(port) for port in rules.open_ports)
    accept_ports = f"iifname {rules.bridge} tcp dport {{ {ports} }} accept" if ports else ""
    led, passed, taken = _relay(rules)
    return f"""{_fresh("inet", rules.table)}
table inet {rules.table} {{
    map ssh4 {{
        type inet_service : ipv4_addr . inet_service
        {_elements(forwards)}
    }}
    set reached4 {{
        type ipv4_addr . inet_service
        {_elements(reached)}
    }}
    chain prerouting {{
        type nat hook prerouting priority dstnat; policy accept;
        {led}
        iifname != {rules.bridge} fib daddr type local dnat ip to tcp dport map @ssh4
    }}
    chain output {{
        type nat hook output priority -100; policy accept;
        fib daddr type local dnat ip to tcp dport map @ssh4
    }}
    chain postrouting {{
        type nat hook postrouting priority srcnat; policy accept;
        ip saddr 127.0.0.0/8 oifname {rules.bridge} masquerade
        ip saddr {rules.subnet} oifname != {rules.bridge} masquerade
    }}
    chain forward {{
        type filter hook forward priority filter; policy accept;
        iifname != {rules.bridge} oifname != {rules.bridge} accept
        ct state established,related accept
        iifname {rules.bridge} oifname {rules.bridge} drop
        iifname "{rules.proxies}*" oifname {rules.bridge} accept
        {passed}
        iifname {rules.bridge} accept
        ct status dnat accept
        drop
    }}
    chain input {{
        type filter hook input priority filter; policy accept;
        iifname != {rules.bridge} accept
        ct state established,related accept
        icmp type echo-request accept
        {accept_ports}
        ip daddr {rules.gateway} ip saddr . tcp dport @reached4 accept
        {taken}
        drop
    }}
}}
{_bridge(rules)}"""


def _relay(rules: Rules) -> tuple[str, str, str]:
    """Return the rules that lead to the relay, that let it be forwarded to, and be local."""
    if rules.relay is None:
        return "", "", ""
    address, port = rules.relay
    ours = f"iifname {rules.bridge} ip daddr"
    return (
        f"{ours} {rules.gateway} tcp dport {RELAY_PORT} dnat ip to {address}:{port}",
        f"{ours} {address} ct status dnat accept; {ours} {address} drop",
        f"{ours} {address} tcp dport {port} ct status dnat accept",
    )


def _bridge(rules: Rules) -> str:
    """Return the table that drops frames whose sender is not the guest of that interface."""
    known = [f'"{g.interface}" . {g.mac} . {g.address}' for g in rules.guests]
    return f"""{_fresh("bridge", rules.table)}
table bridge {rules.table} {{
    set senders {{
        type ifname . ether_addr . ipv4_addr
        {_elements(known)}
    }}
    chain prerouting {{
        type filter hook prerouting priority -300; policy accept;
        iifname != "{rules.interfaces}*" accept
        ether type ip iifname . ether saddr . ip saddr @senders accept
        ether type arp iifname . ether saddr . arp saddr ip @senders accept
        drop
    }}
}}
"""
