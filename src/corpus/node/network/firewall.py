"""The firewall before the environments: what the records say, taken whole or not at all."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from ipaddress import IPv4Address

from corpus.commands import ip, nft, nft_front, nft_moved
from corpus.model.errors import CommandFailed, Unsupported
from corpus.model.networks import collapse
from corpus.node.context import Node
from corpus.node.migration import peers
from corpus.node.network.addresses import nameservers
from corpus.node.network.doors import doors
from corpus.node.proxy import place
from corpus.node.records import INTERFACES, PROXIES, Record, Role, Stage
from corpus.node.settings import ACME_PORT, PEERS_PORT

# Where clouds tell a machine its secrets (RFC 3927).
_LINK_LOCAL = "169.254.0.0/16"
_RESOLVE = 3  # seconds to look up the name of the mail relay


def apply(node: Node) -> None:
    """Replace the firewall by what the records say, in one transaction. Hold the node's lock."""
    try:
        node.host.run(nft.load(), stdin=ruleset(node))
    except CommandFailed as error:
        raise Unsupported(
            f"the firewall's rules do not load: {error}",
            mend="the kernel needs nf_tables with NAT, fib and bridge support; there is no "
            "fallback: without it environments would see each other",
        ) from None


def load(node: Node) -> None:
    """Replace it as ``apply`` does: somebody may have flushed it with his own rules."""
    with node.lock():
        apply(node)


def ruleset(node: Node) -> str:
    """Return the tables by the records, without those that are on their way out."""
    settings, records = node.settings, node.records.lasting()
    open_doors, known = doors(records), peers.addresses(node)
    guests = [
        nft.Guest(
            record.interface,
            record.mac,
            record.address,
            record.ssh_port,
            [door.port for door in open_doors if record.address in door.readers],
        )
        for record in records
        if record.stage is not Stage.MOVED or record.held
    ]
    rules = nft.Rules(
        table=settings.bridge,
        bridge=settings.bridge,
        interfaces=INTERFACES,
        proxies=PROXIES,
        subnet=settings.subnet,
        guests=guests,
        open_ports=(settings.http_port, settings.https_port),
        openings=[
            one
            for record in records
            if record.elsewhere is None
            for one in _openings(record, known)
        ],
        gateway=str(settings.gateway),
        relay=_relay(node),
        nameservers=_asked(node),
        closed=collapse([_LINK_LOCAL, *_routers(node), *settings.closed_networks]),
        reachable=collapse(settings.open_networks),
        connections=settings.connections,
    )
    return (
        nft.ruleset(rules)
        + nft_front.ruleset(_front(node, records))
        + nft_moved.ruleset(_moved(node, records, known))
    )


def _openings(record: Record, known: Mapping[str, str]) -> list[nft.Opening]:
    return [
        nft.Opening(
            one.protocol, one.node_port, record.address, one.port, one.sources,
            sorted({known[name] for name in one.led_by if name in known}),
        )
        for one in record.openings
    ]  # fmt: skip


def _front(node: Node, records: list[Record]) -> nft_front.FrontRules:
    settings = node.settings
    proxies = [record for record in records if record.role is Role.PROXY]
    return nft_front.FrontRules(
        table=settings.bridge,
        gateway=str(settings.gateway),
        proxies=[nft_front.Proxy(record.interface, record.address) for record in proxies],
        # One that does not run is no front: the node's own takes over. A frozen one comes back.
        active=next(
            (
                one.address
                for one in proxies
                if one.front and not one.away and place.state(node, one) != "STOPPED"
            ),
            None,
        ),
        ports=(settings.http_port, settings.https_port),
        routed=[(record.address, route.port) for record in records for route in record.routes],
        answers=ACME_PORT,
    )


def _routers(node: Node) -> list[str]:
    """Return the node's ways out: packets pass them, and have no business with them."""
    return ip.parse_default_gateways(node.host.run(ip.default_routes()).out)


def _asked(node: Node) -> list[str]:
    """Return the name servers that have an IPv4 address, each once."""
    found = []
    for server in nameservers(node):
        with suppress(ValueError):
            found.append(str(IPv4Address(server)))
    return list(dict.fromkeys(found))


def _moved(node: Node, records: list[Record], known: Mapping[str, str]) -> nft_moved.Rules:
    """Return what the rules know of environments that live elsewhere, or nowhere."""
    return nft_moved.Rules(
        table=node.settings.bridge,
        bridge=node.settings.bridge,
        proxies=PROXIES,
        held=[record.address for record in records if record.held],
        led=[
            nft_moved.Led(
                record.address,
                sorted({route.port for route in record.routes if not route.proxy_protocol}),
                record.ssh_port,
                there.address,
                there.http_port,
                there.ssh_port,
                sorted({route.port for route in record.routes if route.proxy_protocol}),
                PEERS_PORT,
                _openings(record, known),
            )
            for record in records
            if (there := record.elsewhere)
        ],
    )


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
