"""The environments' bridge, their addresses and SSH ports, and the firewall before them."""

from __future__ import annotations

from ipaddress import IPv4Address
from pathlib import PurePath

from corpus.commands import ip, nft
from corpus.commands.network import parse_links, set_mtu
from corpus.hosts.files import write_atomic
from corpus.model.errors import CommandFailed, Conflict, InvalidInput, Unsupported
from corpus.node.context import Node
from corpus.node.doors import doors
from corpus.node.records import INTERFACES, Record

_RESOLV = PurePath("/etc/resolv.conf")
_RESOLVE = 3  # seconds to look up the name of the mail relay
_FIRST_GUEST = 10  # the addresses below are kept for the node's own services

# LXC calls it with: container, "net", "up", type, bridge, interface.
_ISOLATE = b"""#!/bin/sh
exec bridge link set dev "$6" isolated on
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


def mtu(node: Node) -> int:
    """Return the largest packet (bytes) that every way out takes: larger ones vanish there."""
    links = {link.name: link.mtu for link in parse_links(node.host.run(ip.addresses()).out)}
    return min([1500, *(links[name] for name in _external(node) if name in links)])


def _external(node: Node) -> list[str]:
    if node.settings.external:
        return [node.settings.external]
    devices = ip.parse_default_devices(node.host.run(ip.default_routes()).out)
    return [device for device in devices if device != node.settings.bridge]


def apply(node: Node) -> None:
    """Replace the firewall by what the records say, in one transaction. Hold the node's lock."""
    settings, records = node.settings, node.records.all()
    open_doors = doors(records)
    guests = [
        nft.Guest(
            record.interface,
            record.mac,
            record.address,
            record.ssh_port,
            [door.port for door in open_doors if record.address in door.readers],
        )
        for record in records
    ]
    rules = nft.Rules(
        table=settings.bridge,
        bridge=settings.bridge,
        interfaces=INTERFACES,
        subnet=settings.subnet,
        guests=guests,
        open_ports=(settings.http_port,),
        gateway=str(settings.gateway),
        relay=_relay(node),
    )
    try:
        node.host.run(nft.load(), stdin=nft.ruleset(rules))
    except CommandFailed as error:
        raise Unsupported(
            f"the firewall's rules do not load: {error}",
            mend="the kernel needs nf_tables with NAT, fib and bridge support; there is no "
            "fallback: without it environments would see each other",
        ) from None


def _relay(node: Node) -> tuple[str, int] | None:
    """Return the mail relay's address; None where there is none, or its name is not known now.

    Mail is not worth an environment that does not start.
    """
    if node.settings.relay_address is None:
        return None
    name, port = node.settings.relay_address
    try:
        return str(IPv4Address(name)), port
    except ValueError:
        pass
    try:
        found = node.host.run(ip.resolve(name), check=False, timeout=_RESOLVE)
    except CommandFailed:
        return None
    address = ip.parse_resolved(found.out)
    return (address, port) if address else None


def free_port(node: Node, records: list[Record], asked: int | None) -> int:
    """Return an SSH port that nobody has: ``asked``, or the lowest. Raises Conflict."""
    settings = node.settings
    taken = {record.ssh_port: f"environment {record.id}" for record in records}
    for port, name in ip.parse_listeners(node.host.run(ip.listeners()).out).items():
        taken.setdefault(port, f"{name}, which listens on this node")
    if asked is not None:
        if not 0 < asked < 65536:
            raise InvalidInput(f"not a port: {asked}", mend="use 1 to 65535")
        if asked in taken:
            raise Conflict(
                f"the SSH port {asked} is taken by {taken[asked]}",
                mend="choose another, or leave ssh_port out",
            )
        return asked
    for port in range(settings.ssh_base + 1, settings.ssh_base + settings.ssh_ports):
        if port not in taken:
            return port
    raise Conflict(
        f"all {settings.ssh_ports - 1} SSH ports from {settings.ssh_base + 1} are taken",
        mend="destroy an environment, or raise ssh_ports in /etc/corpus/node.toml",
    )


def free_address(node: Node, records: list[Record], asked: str | None) -> str:
    """Return an address that nobody has: ``asked``, or the lowest. Raises Conflict."""
    network = node.settings.network
    taken = {record.address: f"environment {record.id}" for record in records}
    mine = ip.parse_addresses(node.host.run(ip.addresses()).out)
    taken |= {address: f"this node ({device})" for address, device in mine.items()}
    taken[str(node.settings.gateway)] = "this node (gateway)"
    if asked is not None:
        try:
            address = IPv4Address(asked)
        except ValueError:
            address = IPv4Address(0)
        if address not in network or address in (network[0], network[-1]):
            raise InvalidInput(
                f"not an address of the environments' network: {ascii(asked)[:40]}",
                mend=f"use one of {network}",
            )
        if str(address) in taken:
            raise Conflict(
                f"the address {address} is taken by {taken[str(address)]}",
                mend="choose another, or leave address out",
            )
        return str(address)
    for number in range(_FIRST_GUEST, network.num_addresses - 1):
        if str(network[number]) not in taken:
            return str(network[number])
    raise Conflict(f"all addresses of {network} are taken", mend="set a larger subnet")


def nameservers(node: Node) -> list[str]:
    """Return the name servers of new environments: the setting, or the node's own.

    Empty when the node's are on its own loopback: the image's are left then.
    """
    if node.settings.nameservers:
        return list(node.settings.nameservers)
    lines = node.host.get(_RESOLV).decode(errors="replace").splitlines()
    found = [line.split()[1] for line in lines if line.startswith("nameserver ")]
    return [server for server in found if not server.startswith(("127.", "::1"))]
