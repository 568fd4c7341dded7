"""nftables: what is meant for environments that live on other nodes, or nowhere at the moment.

Chains of their own in the node's table, before those of ``nft``, and loaded with them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from corpus.commands.nft import LED_PORTS, PROTOCOLS, Opening, from_peers


@dataclass(frozen=True)
class Led:
    """An environment that lives on another node: what is meant for its ``address`` goes there.

    ``ports`` are those that the proxy leads to; all of them go to ``http_port`` of that node's
    own proxy, but for the ``proxied`` ones, which begin with the client's address and go to
    ``proxied_port``. The SSH port here leads to the one there, and each of the ``openings`` to
    the same port there.
    """

    address: str
    ports: Sequence[int]
    ssh_port: int
    to: str
    http_port: int
    to_ssh_port: int
    proxied: Sequence[int] = ()
    proxied_port: int = 0
    openings: Sequence[Opening] = ()

    @property
    def web(self) -> dict[int, int]:
        """Each port that the proxy leads to, and the port there."""
        return {
            **dict.fromkeys(self.ports, self.http_port),
            **dict.fromkeys(self.proxied, self.proxied_port),
        }

    def opened(self, protocol: str) -> list[Opening]:
        """Return the openings of a protocol."""
        return [one for one in self.openings if one.protocol == protocol]


@dataclass(frozen=True)
class Rules:
    """New connections to the addresses ``held`` wait; ``led`` live elsewhere.

    The node itself reaches the SSH server of one that is held: it looks whether it runs there.

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
    new = f"ip daddr {{ {', '.join(rules.held)} }} ct state new"
    return f"""
    chain hold_own {{
        type filter hook output priority filter - 1; policy accept;
        {new} tcp dport != 22 drop
        {new} meta l4proto != tcp drop
    }}
    chain hold_others {{
        type filter hook forward priority filter - 1; policy accept;
        {new} drop
    }}
"""


def _lead(rules: Rules) -> str:
    if not rules.led:
        return ""
    web = _map(
        (f"{led.address} . {port}", f"{led.to} . {there}")
        for led in rules.led
        for port, there in led.web.items()
    )
    requests = f"dnat ip to ip daddr . tcp dport map {web}" if web else ""
    proxied = f'iifname "{rules.proxies}*" {requests}' if web else ""
    outside = f"iifname != {rules.bridge} fib daddr type local dnat ip to"
    opened = [f"{outside} {protocol} dport . ip saddr map @led_{protocol}4"
              for protocol in PROTOCOLS if _opened(rules, protocol)]  # fmt: skip
    known = {protocol: there for protocol in PROTOCOLS if (there := _doors(rules, protocol))}
    doors = [f"fib daddr type local dnat ip to {protocol} dport map {there}"
             for protocol, there in known.items()]  # fmt: skip
    opened += [f"iifname != {rules.bridge} fib daddr type local {from_peers(protocol, on)}"
               for protocol in PROTOCOLS if (on := _led_on(rules, protocol))]  # fmt: skip
    ssh = _map((f"{led.ssh_port}", f"{led.to} . {led.to_ssh_port}") for led in rules.led)
    return f"""{"".join(_opened(rules, protocol) for protocol in PROTOCOLS)}
    chain lead_own {{
        type nat hook output priority -101; policy accept;
        {requests}
        {_lines(doors)}
    }}
    chain lead_others {{
        type nat hook prerouting priority dstnat - 1; policy accept;
        {proxied}
        {outside} tcp dport map {ssh}
        {_lines(opened)}
    }}
    chain lead_back {{
        type nat hook postrouting priority srcnat - 1; policy accept;
        {_lines(_back(rules))}
    }}
"""


def _map(pairs: Iterable[tuple[str, str]]) -> str:
    """Return a map of nft; empty where it has nothing in it."""
    found = [f"{key} : {value}" for key, value in dict(pairs).items()]
    return f"{{ {', '.join(found)} }}" if found else ""


def _lines(rules: Sequence[str]) -> str:
    return "\n        ".join(rules)


def _opened(rules: Rules, protocol: str) -> str:
    """Return where opened ports are led, for whom; nothing where none of the protocol is."""
    found = [
        f"{one.node_port} . {source} : {led.to} . {one.node_port}"
        for led in rules.led
        for one in led.opened(protocol)
        for source in one.sources
    ]
    if not found:
        return ""
    return f"""
    map led_{protocol}4 {{
        type inet_service . ipv4_addr : ipv4_addr . inet_service
        flags interval
        elements = {{ {", ".join(found)} }}
    }}"""


def _doors(rules: Rules, protocol: str) -> str:
    """Return where the node's own connections to its ports are led."""
    found = {
        f"{one.node_port}": f"{led.to} . {one.node_port}"
        for led in rules.led
        for one in led.opened(protocol)
    }
    if protocol == "tcp":
        found |= {f"{led.ssh_port}": f"{led.to} . {led.to_ssh_port}" for led in rules.led}
    return _map(found.items())


def _led_on(rules: Rules, protocol: str) -> str:
    """Return where that is led on which other nodes lead here."""
    return _map(
        (f"{by} . {one.node_port}", f"{led.to} . {one.node_port}")
        for led in rules.led
        for one in led.opened(protocol)
        for by in one.led_by
    )


def _back(rules: Rules) -> list[str]:
    """Return the rules by which answers come back here.

    The node there tells what was led by its nodes from what their environments ask.
    """
    there = {
        "tcp": {f"{led.to} . {port}" for led in rules.led
                for port in (*led.web.values(), led.http_port, led.to_ssh_port)},
        "udp": set(),
    }  # fmt: skip
    for led in rules.led:
        for one in led.openings:
            there[one.protocol].add(f"{led.to} . {one.node_port}")
    return [
        f"ct status dnat ip daddr . {protocol} dport {{ {', '.join(sorted(places))} }} "
        f"masquerade to :{LED_PORTS}"
        for protocol, places in there.items()
        if places
    ]
