"""Which addresses and SSH ports are free, and which name servers environments ask."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Address
from pathlib import PurePath

from corpus.commands import ip
from corpus.model.errors import Conflict, InvalidInput
from corpus.node.context import Node
from corpus.node.records import Record
from corpus.node.settings import ACME_PORT, PEERS_PORT

_RESOLV = PurePath("/etc/resolv.conf")
_FIRST_GUEST = 10  # the addresses below are kept for the node's own services


def taken_ports(
    node: Node, records: Sequence[Record], protocol: str, *, named: bool
) -> dict[int, str]:
    """Return who has each port of the node: its proxy, SSH, opened ports, what listens.

    Processes by name only when ``named``, where it is told. The proxy's are taken also while it
    does not run: rules that lead a port elsewhere come before who listens there.
    """
    taken: dict[int, str] = {}
    if protocol == "tcp":
        taken = dict.fromkeys((node.settings.http_port, node.settings.https_port), "the proxy")
        taken[ACME_PORT] = "answers to certificate authorities"
        taken[PEERS_PORT] = "requests that other nodes lead here"
    for record in records:
        if protocol == "tcp":
            taken[record.ssh_port] = f"environment {record.id}"
        for opening in record.openings:
            if opening.protocol == protocol:
                taken[opening.node_port] = f"environment {record.id}"
    listing = node.host.run(ip.listeners(protocol, processes=named))
    for port, name in ip.parse_listeners(listing.out).items():
        taken.setdefault(port, f"{name}, which listens on this node")
    return taken


def free_port(node: Node, records: list[Record], asked: int | None) -> int:
    """Return an SSH port that nobody has: ``asked``, or the lowest. Raises Conflict."""
    settings = node.settings
    taken = taken_ports(node, records, "tcp", named=asked is not None)
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
