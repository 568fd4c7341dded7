"""The environments' bridge: made, addressed, passed over to the kernel's forwarding."""

from __future__ import annotations

from corpus.commands import ip, network
from corpus.hosts.files import write_atomic
from corpus.node.context import Node

# LXC calls it with: the guest's two addresses, container, "net", "up" or "down", type, bridge,
# interface. Who is down is known no more: else his address would swallow what is sent there.
# The bridge learns nothing from a guest: frames to the addresses of 802.1D pass it by its rules,
# and would teach it that a neighbour is here. For such frames the node's own end is deaf, too.
_ISOLATE = b"""#!/bin/sh
[ "$5" = up ] || exec ip neighbour delete "$2" dev "$7"
set -e
bridge link set dev "$8" isolated on learning off flood off mcast_flood off
bridge fdb replace "$1" dev "$8" master static
ip link set dev "$8" arp off
ip neighbour replace "$2" lladdr "$1" dev "$7" nud permanent
ipv6=/proc/sys/net/ipv6/conf/$8/disable_ipv6
[ ! -e "$ipv6" ] || echo 1 >"$ipv6"
"""
# A router that is asked no other way than by its address, and tells no other way.
_OFF = ("accept_source_route", "accept_redirects", "send_redirects")


# The cable of an environment of role proxy ends in the node itself, which passes packets on.
_ROUTED = b"""#!/bin/sh
set -e
ip neighbour replace "$2" lladdr "$1" dev "$8" nud permanent
echo 1 > "/proc/sys/net/ipv4/conf/$8/forwarding"
"""
# Called once the guest's network is there, with the gateway and the node's interface that it is
# reached at. The kernel has one table of neighbours for all guests, which one of them can fill:
# entries that are permanent are not counted and stay.
_KNOWN = b"""#!/bin/sh
exec nsenter --net="/proc/$LXC_PID/ns/net" ip neighbour replace "$1" \\
    lladdr "$(cat "/sys/class/net/$2/address")" dev eth0 nud permanent
"""


def prepare(node: Node) -> None:
    """Make the bridge and let packets pass it; everything here may be called again."""
    settings, host = node.settings, node.host
    bridge = settings.bridge
    shown = host.run(network.link(bridge), check=False)
    if shown.code != 0:
        host.run(ip.add_bridge(bridge))
    mac = ip.hardware_address(str(settings.gateway))
    # Setting it, even to what it is, makes the kernel forget the bridge's neighbours.
    if network.parse_hardware_address(shown.out) != mac:
        host.run(ip.set_hardware_address(bridge, mac))
    prefix = settings.network.prefixlen
    host.run(ip.set_address(bridge, f"{settings.gateway}/{prefix}"))
    host.run(network.set_mtu(bridge, mtu(node)))
    host.run(ip.up(bridge))
    off = {f"net/ipv4/conf/{bridge}/{name}": 0 for name in _OFF}
    host.run(ip.sysctl(dict.fromkeys(switches(node), 1) | off))
    # Without IPv6 in the kernel there is nothing to switch off.
    host.run(ip.sysctl({f"net/ipv6/conf/{bridge}/disable_ipv6": 1}), check=False)
    write_atomic(settings.lxcpath / "isolate", _ISOLATE, 0o755)
    write_atomic(settings.lxcpath / "routed", _ROUTED, 0o755)
    write_atomic(settings.lxcpath / "known", _KNOWN, 0o755)


def switches(node: Node) -> list[str]:
    """Return the settings of the kernel that must be 1 for the environments' packets to pass."""
    bridge = node.settings.bridge
    # route_localnet: connections to 127.0.0.1 of the node may be led to a guest.
    local = f"net/ipv4/conf/{bridge}/route_localnet"
    return [local, *(f"net/ipv4/conf/{one}/forwarding" for one in [bridge, *_external(node)])]


def mtu(node: Node) -> int:
    """Return the largest packet (bytes) that every way out takes: larger ones vanish there."""
    links = {link.name: link.mtu for link in network.parse_links(node.host.run(ip.addresses()).out)}
    return min([1500, *(links[name] for name in _external(node) if name in links)])


def _external(node: Node) -> list[str]:
    if node.settings.external:
        return [node.settings.external]
    devices = ip.parse_default_devices(node.host.run(ip.default_routes()).out)
    return [device for device in devices if device != node.settings.bridge]
