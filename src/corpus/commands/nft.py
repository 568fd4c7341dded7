"""The node's own nftables tables, as one text that the kernel takes whole or not at all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

RELAY_PORT = 25  # of the gateway, where guests find the mail relay
NAME_PORT = 53
PROTOCOLS = ("tcp", "udp")
# Where connections come from, at another machine: by that a peer tells what a node leads there
# from what its environments send.
GUEST_PORTS = "1024-32767"
LED_PORTS = "32768-65535"


@dataclass(frozen=True)
class Guest:
    """What the rules know of one environment; it ``reaches`` these ports of the gateway too."""

    interface: str
    mac: str
    address: str
    ssh_port: int
    reaches: Sequence[int] = ()


@dataclass(frozen=True)
class Opening:
    """A port of the node that leads to a guest's, for ``sources`` (networks that are apart).

    The nodes at the addresses ``led_by`` lead connections there that passed their own rules.
    """

    protocol: str
    node_port: int
    address: str
    port: int
    sources: Sequence[str]
    led_by: Sequence[str] = ()


@dataclass(frozen=True)
class Rules:
    """The network that the rules guard.

    ``interfaces`` is what the guests' interface names begin with (not every kernel can match
    the bridge itself), ``proxies`` those of environments whose rules are nft_front's;
    ``open_ports`` are the node's own, for its guests. ``relay`` is the
    address and port of the mail server that guests reach at the ``gateway``, and at it alone.
    Guests reach no address of ``closed`` but those of ``reachable``, and ask ``nameservers``.
    ``connections`` is how many of their own each may have at a time.
    """

    table: str
    bridge: str
    interfaces: str
    proxies: str
    subnet: str
    gateway: str
    guests: Sequence[Guest]
    open_ports: Sequence[int] = ()
    openings: Sequence[Opening] = ()
    relay: tuple[str, int] | None = None
    nameservers: Sequence[str] = ()
    closed: Sequence[str] = ()
    reachable: Sequence[str] = ()
    connections: int = 8192


def from_peers(protocol: str, there: str) -> str:
    """Return what leads, by the map ``there``, what another node leads to a port of this one."""
    return f"{protocol} sport {LED_PORTS} dnat ip to ip saddr . {protocol} dport map {there}"


def load() -> list[str]:
    """Return the command that replaces the tables by the rules on its standard input."""
    return ["nft", "-f", "-"]


def _fresh(family: str, table: str) -> str:
    # "add" first, so that "delete" finds it: all lie in one transaction.
    name = f"{family} {table}"
    return f"add table {name}\ndelete table {name}\nadd table {name}\n"


def _elements(values: Sequence[str]) -> str:
    return f"elements = {{ {', '.join(values)} }}" if values else ""


def ruleset(rules: Rules) -> str:
    """Return the whole ruleset: ports led to the guests, guests kept from each other.

    Only ``table`` is touched. Chains accept what is not about the bridge, so that foreign
    forwarding on a server goes on; towards the guests everything but SSH and what was opened is
    closed, and the proxy reaches them from the node itself.
    """
    return f"""{_fresh("inet", rules.table)}
table inet {rules.table} {{
{_sets(rules)}
{_nat(rules)}
{_filters(rules)}
}}
{_bridge(rules)}"""


def _sets(rules: Rules) -> str:
    forwards = [f"{g.ssh_port} : {g.address} . 22" for g in rules.guests]
    reached = [f"{g.address} . {port}" for g in rules.guests for port in g.reaches]
    openings = "\n".join(_opened(rules, protocol) for protocol in PROTOCOLS)
    return f"""    map ssh4 {{
        type inet_service : ipv4_addr . inet_service
        {_elements(forwards)}
    }}
    set reached4 {{
        type ipv4_addr . inet_service
        {_elements(reached)}
    }}
    set nameservers4 {{
        type ipv4_addr
        {_elements(rules.nameservers)}
    }}
    set closed4 {{
        type ipv4_addr
        flags interval
        {_elements(rules.closed)}
    }}
    set reachable4 {{
        type ipv4_addr
        flags interval
        {_elements(rules.reachable)}
    }}
    set connections4 {{
        type ipv4_addr
        size 65535
        flags dynamic
    }}
{openings}"""


def _opened(rules: Rules, protocol: str) -> str:
    """Return where opened ports lead: for whom from outside, from the node itself, and what
    other nodes lead here."""
    own = [opening for opening in rules.openings if opening.protocol == protocol]
    led = [f"{o.node_port} . {net} : {o.address} . {o.port}" for o in own for net in o.sources]
    here = [f"{o.node_port} : {o.address} . {o.port}" for o in own]
    peers = [f"{by} . {o.node_port} : {o.address} . {o.port}" for o in own for by in o.led_by]
    return f"""    map {protocol}4 {{
        type inet_service . ipv4_addr : ipv4_addr . inet_service
        flags interval
        {_elements(led)}
    }}
    map local_{protocol}4 {{
        type inet_service : ipv4_addr . inet_service
        {_elements(here)}
    }}
    map peers_{protocol}4 {{
        type ipv4_addr . inet_service : ipv4_addr . inet_service
        {_elements(peers)}
    }}"""


def _nat(rules: Rules) -> str:
    bridge, outside = rules.bridge, f"iifname != {rules.bridge} fib daddr type local"
    led = _relay(rules)[0]
    peers = "\n        ".join(
        f"{outside} {from_peers(protocol, f'@peers_{protocol}4')}"
        for protocol in PROTOCOLS
        if any(one.led_by for one in rules.openings if one.protocol == protocol)
    )
    out = f"ip saddr {rules.subnet} oifname != {bridge}"
    return f"""    chain prerouting {{
        type nat hook prerouting priority dstnat; policy accept;
        {led}
        {outside} dnat ip to tcp dport map @ssh4
        {outside} dnat ip to tcp dport . ip saddr map @tcp4
        {outside} dnat ip to udp dport . ip saddr map @udp4
        {peers}
    }}
    chain output {{
        type nat hook output priority -100; policy accept;
        fib daddr type local dnat ip to tcp dport map @ssh4
        fib daddr type local dnat ip to tcp dport map @local_tcp4
        fib daddr type local dnat ip to udp dport map @local_udp4
    }}
    chain postrouting {{
        type nat hook postrouting priority srcnat; policy accept;
        ip saddr 127.0.0.0/8 oifname {bridge} masquerade
        {out} meta l4proto {{ tcp, udp }} masquerade to :{GUEST_PORTS}
        {out} masquerade
    }}"""


def _filters(rules: Rules) -> str:
    """Return what may pass. A port of the gateway that one guest ``reaches`` is the proxy's too:
    packets between two guests are never forwarded.

    A frame to an address of 802.1D (LLDP's, say) comes in at the guest's own interface, past
    the bridge and its rules: no packet of a guest's is taken there.
    """
    bridge = rules.bridge
    ports = ", ".join(str(port) for port in rules.open_ports)
    accept_ports = f"iifname {bridge} tcp dport {{ {ports} }} accept" if ports else ""
    _, passed, taken = _relay(rules)
    many = f"ct state new add @connections4 {{ ip saddr ct count over {rules.connections} }} drop"
    named = f"meta l4proto {{ tcp, udp }} th dport {NAME_PORT} ip daddr @nameservers4 accept"
    return f"""    chain early {{
        type filter hook prerouting priority raw; policy accept;
        iifname "{rules.interfaces}*" drop
        iifname {bridge} meta nfproto != ipv4 drop
        iifname {bridge} ip option lsrr exists drop
        iifname {bridge} ip option ssrr exists drop
    }}
    chain forward {{
        type filter hook forward priority filter; policy accept;
        iifname != {bridge} oifname != {bridge} accept
        ct state established,related accept
        iifname {bridge} oifname {bridge} drop
        iifname "{rules.proxies}*" oifname {bridge} accept
        iifname {bridge} {many}
        {passed}
        iifname {bridge} {named}
        iifname {bridge} oifname "{rules.proxies}*" ct status dnat accept
        iifname {bridge} ip daddr @reachable4 accept
        iifname {bridge} ip daddr @closed4 drop
        iifname {bridge} accept
        ct status dnat accept
        drop
    }}
    chain input {{
        type filter hook input priority filter; policy accept;
        iifname != {bridge} accept
        ct state established,related accept
        {many}
        icmp type echo-request accept
        {accept_ports}
        {named}
        ip daddr {rules.gateway} ip saddr . tcp dport @reached4 accept
        {taken}
        drop
    }}"""


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
    """Return the table that drops frames whose sender is not the guest of that interface.

    IPv4 and ARP alone pass. In ARP the sender is named twice, in the frame and in the message.
    """
    known = [f'"{g.interface}" . {g.mac} . {g.address}' for g in rules.guests]
    said = "iifname . arp saddr ether . arp saddr ip @senders"
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
        ether type arp iifname . ether saddr . arp saddr ip @senders {said} accept
        drop
    }}
}}
"""
