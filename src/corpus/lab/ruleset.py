"""The lab's nftables rules as one text, taken by the kernel whole or not at all."""

from __future__ import annotations

from corpus.lab.paths import LabPaths
from corpus.lab.settings import Settings

NODE_HTTP_PORT = 80


def ruleset(paths: LabPaths, settings: Settings) -> str:
    """Return the rules that lead loopback ports to the node and let the node out.

    route_localnet lets packets to 127.0.0.0/8 in from the bridge: the input chain drops
    those that ask for the host's own services.
    """
    bridge, table = f'"{paths.bridge}"', paths.table
    node, subnet = settings.node_address, settings.network
    ports = f"{settings.ssh_port_base}-{settings.ssh_port_last}"
    return f"""add table ip {table}
delete table ip {table}
table ip {table} {{
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
