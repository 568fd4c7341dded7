"""The lab's nftables rules as one text, taken by the kernel whole or not at all."""

from __future__ import annotations

from ipaddress import IPv4Address

from corpus.lab.paths import LabPaths
from corpus.lab.settings import Settings

NODE_HTTP_PORT = 80


def ruleset(paths: LabPaths, settings: Settings, resolver: IPv4Address | None = None) -> str:
    """Return the rules that lead loopback ports to the node and let the node out.

    ``resolver``: the host's name server, where it listens on the host's loopback only; the
    node then asks the gateway. Because route_localnet lets packets to 127.0.0.0/8 in from
    the bridge, the input chain drops those that no rule of ours has sent there.
    """
    bridge, table = f'"{paths.bridge}"', f'"{paths.table}"'
    node, subnet = settings.node_address, settings.network
    ports = f"{settings.ssh_port_base}-{settings.ssh_port_last}"
    return f"""add table ip {table}
delete table ip {table}
table ip {table} {{
    chain prerouting {{
        type nat hook prerouting priority dstnat; policy accept;
        {_resolver(bridge, settings.gateway, resolver)}
    }}
    chain output {{
        type nat hook output priority -100; policy accept;
        ip daddr 127.0.0.1 tcp dport {settings.http_port} dnat to {node}:{NODE_HTTP_PORT}
        ip daddr 127.0.0.1 tcp dport {ports} dnat to {node}
    }}
    chain postrouting {{
        type nat hook postrouting priority srcnat; policy accept;
        ip saddr 127.0.0.0/8 oifname {bridge} masquerade
        ip saddr {subnet} oifname != {bridge} masquerade
    }}
    chain input {{
        type filter hook input priority filter; policy accept;
        iifname {bridge} ip daddr 127.0.0.0/8 ct state new ct status & dnat == 0 drop
    }}
    chain forward {{
        type filter hook forward priority filter; policy accept;
        oifname {bridge} ct state established,related accept
        oifname {bridge} drop
    }}
}}
"""


def _resolver(bridge: str, gateway: IPv4Address, resolver: IPv4Address | None) -> str:
    if resolver is None:
        return ""
    return (
        f"iifname {bridge} ip daddr {gateway} meta l4proto {{ tcp, udp }} th dport 53"
        f" dnat to {resolver}:53"
    )
