"""The environments' bridge: made, addressed, passed over to the kernel's forwarding."""

from __future__ import annotations

from corpus.commands import ip
from corpus.commands.network import parse_links, set_mtu
from corpus.hosts.files import write_atomic
from corpus.node.context import Node

# LXC calls it with: container, "net", "up", type, bridge, interface.
_ISOLATE = b"""#!/bin/sh
exec bridge link set dev "$6" isolated on
"""


# The cable of an environment of role proxy ends in the node itself, which passes packets on.
_ROUTED = b"""#!/bin/sh
echo 1 > "/proc/sys/net/ipv4/conf/$6/forwarding"
"""


def prepare(node: Node) -> None:
    """Make the bridge and let packets pass it; everything here may be called again."""
    settings, host = node.settings, node.host
    bridge = settings.bridge
    if host.run(ip.show_link(bridge), check=False).code != 0:
        host.run(ip.add_bridge(bridge))
    host.run(ip.set_hardware_address(bridge, ip.hardware_address(str(settings.gateway))))
    prefix = settings.network.prefixlen
    host.run(ip.set_address(bridge, f"{settings.gateway}/{prefix}"))
    host.run(set_mtu(bridge, mtu(node)))
    host.run(ip.up(bridge))
    # route_localnet: connections to 127.0.0.1 of the node may be led to a guest.
    keys = [f"net/ipv4/conf/{bridge}/route_localnet"]
    keys += [f"net/ipv4/conf/{device}/forwarding" for device in [bridge, *_external(node)]]
    for key in keys:
        host.run(ip.sysctl(key, 1))
    write_atomic(settings.lxcpath / "isolate", _ISOLATE, 0o755)
    write_atomic(settings.lxcpath / "routed", _ROUTED, 0o755)


def mtu(node: Node) -> int:
    """Return the largest packet (bytes) that every way out takes: larger ones vanish there."""
    links = {link.name: link.mtu for link in parse_links(node.host.run(ip.addresses()).out)}
    return min([1500, *(links[name] for name in _external(node) if name in links)])


def _external(node: Node) -> list[str]:
    if node.settings.external:
        return [node.settings.external]
    devices = ip.parse_default_devices(node.host.run(ip.default_routes()).out)
    return [device for device in devices if device != node.settings.bridge]
