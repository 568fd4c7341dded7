"""The lab's nftables rules as one text, taken by the kernel whole or not at all."""

from __future__ import annotations

from corpus.lab.paths import LabPaths
from corpus.lab.settings import Member, Settings

NODE_HTTP_PORT = 80


def ruleset(paths: LabPaths, settings: Settings) -> str:
    """Return the rules that lead loopback ports to the nodes, and let the nodes out.

    route_localnet lets packets to 127.0.0.0/8 in from the bridge: the input chain drops
    those that ask for the host's own services. Frames from one node to another pass the
    forward chain where the kernel has a bridge's packets filtered (br_netfilter).
    """
    bridge, table = f'"{paths.bridge}"', paths.table
    subnet = settings.network
    led = "\n        ".join(line for member in settings.members for line in _led(member))
    return f"""add table ip {table}
delete table ip {table}
table ip {table} {{
    chain output {{
        type nat hook output priority -100; policy accept;
        {led}
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
        iifname {bridge} oifname {bridge} accept
        oifname {bridge} ct state established,related accept
        oifname {bridge} drop
    }}
}}
"""


def _led(member: Member) -> list[str]:
    local, ports = "ip daddr 127.0.0.1 tcp dport", member.ssh_ports
    return [
        f"{local} {member.http_port} dnat to {member.address}:{NODE_HTTP_PORT}",
        f"{local} {ports[0]}-{ports[-1]} dnat to {member.address}",
    ]
