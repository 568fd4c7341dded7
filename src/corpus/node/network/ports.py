"""Ports of the node that lead to environments: opened, closed, listed.

Client addresses are kept. Connections that are established go on when rules change, also when
their port is closed.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

from corpus.commands.nft import PROTOCOLS
from corpus.model.errors import Conflict, CorpusError, InvalidInput, NotFound
from corpus.model.networks import ALL, collapse
from corpus.node.context import Node
from corpus.node.network import firewall
from corpus.node.network.addresses import taken_ports
from corpus.node.records import Opening, Record, Stage, check_here


def parse(
    port: int | str, protocol: str, to: Sequence[str], node_port: int | str | None
) -> Opening:
    """Return a checked opening, its ``node_port`` 0 when none is asked. Raises InvalidInput."""
    if protocol not in PROTOCOLS:
        raise InvalidInput(f"not a protocol: {str(protocol)!r:.20}", mend="use tcp or udp")
    if not to:
        raise InvalidInput("opened to nobody", mend="give networks, or all")
    sources = tuple(collapse(ALL if source == "all" else source for source in to))
    asked = 0 if node_port is None else _number(node_port)
    return Opening(protocol, _number(port), asked, sources)


def _number(port: int | str) -> int:
    try:
        number = 0 if isinstance(port, bool) else int(port)
    except (TypeError, ValueError):
        number = 0
    if not 0 < number < 65536:
        raise InvalidInput(f"not a port: {port!r:.20}", mend="use 1 to 65535")
    return number


def open_(
    node: Node,
    id: str,
    port: int | str,
    *,
    protocol: str = "tcp",
    to: Sequence[str] = ("all",),
    node_port: int | str | None = None,
    test: bool = False,
) -> dict[str, Any]:
    """Lead a port of the node to an environment's, for the networks ``to``; return which.

    Where that port is open already, the networks are replaced, and its port of the node stays
    unless another is asked. With ``test`` nothing is changed and the changes are returned.
    Raises NotFound, InvalidInput, Conflict.
    """
    asked = parse(port, protocol, to, node_port)
    with node.lock():
        record = node.records.get(id)
        if record.stage is Stage.DESTROYING:
            raise NotFound(f"environment {record.id} is being destroyed")
        check_here(record)
        old = _find(record, asked)
        new = replace(asked, node_port=_node_port(node, record, asked, old))
        if old and replace(old, led_by=()) == new:
            new = old
        if test:
            return _changes([] if new == old else [_said("open", record, new)])
        others = tuple(opening for opening in record.openings if opening != old)
        _commit(node, record, record.changed(openings=(*others, new)))
    return _shown(record, new)


def close(
    node: Node, id: str, port: int | str, *, protocol: str = "tcp", test: bool = False
) -> bool | dict[str, Any]:
    """Lead nothing to a port of an environment any more; False when nothing was led there."""
    asked = parse(port, protocol, ("all",), None)
    with node.lock():
        record = node.records.get(id)
        check_here(record, ending=True)
        old = _find(record, asked)
        if test:
            return _changes([_said("close", record, old)] if old else [])
        if old is None:
            firewall.apply(node)  # a former call may have died between record and rules
            return False
        kept = tuple(opening for opening in record.openings if opening != old)
        _commit(node, record, record.changed(openings=kept))
    return True


def ports(node: Node, id: str | None = None) -> list[dict[str, Any]]:
    """Return what is open, of one environment or of all, by the port of the node."""
    records = node.records.all() if id is None else [node.records.get(id)]
    found = [(record, opening) for record in records for opening in record.openings]
    found.sort(key=lambda pair: (pair[1].node_port, pair[1].protocol))
    return [_shown(record, opening) for record, opening in found]


def _find(record: Record, asked: Opening) -> Opening | None:
    same = (asked.protocol, asked.port)
    return next((one for one in record.openings if (one.protocol, one.port) == same), None)


def free(node: Node, records: Sequence[Record], openings: Sequence[Opening]) -> tuple[Opening, ...]:
    """Return those of an environment's to be whose port of the node nobody has."""
    found: list[Opening] = []
    taken = {
        protocol: _taken(node, records, protocol, named=False)
        for protocol in {opening.protocol for opening in openings}
    }
    for opening in openings:
        if opening.node_port not in taken[opening.protocol]:
            found.append(opening)
            taken[opening.protocol][opening.node_port] = "it"
    return tuple(found)


def check_free(node: Node, records: Sequence[Record], openings: Sequence[Opening]) -> None:
    """Raise Conflict when somebody has a port of the node that one of the openings wants."""
    for opening in openings:
        taken = _taken(node, records, opening.protocol, named=True)
        if opening.node_port in taken:
            raise Conflict(
                f"the {opening.protocol} port {opening.node_port} is taken by "
                f"{taken[opening.node_port]}",
                mend="free it there, or close it (corpus_node.close) and open another one",
            )


def _taken(node: Node, records: Sequence[Record], protocol: str, *, named: bool) -> dict[int, str]:
    """Return who has, or is to have, each port of the node."""
    settings = node.settings
    taken = taken_ports(node, records, protocol, named=named)
    if protocol == "tcp":
        own = range(settings.ssh_base, settings.ssh_base + settings.ssh_ports)
        taken |= dict.fromkeys((p for p in own if p not in taken), "SSH of environments to come")
    return taken


def _node_port(node: Node, record: Record, asked: Opening, old: Opening | None) -> int:
    if old and asked.node_port in (0, old.node_port):
        return old.node_port
    settings, protocol = node.settings, asked.protocol
    taken = _taken(node, node.records.all(), protocol, named=asked.node_port != 0)
    if asked.node_port:
        if asked.node_port in taken:
            raise Conflict(
                f"the {protocol} port {asked.node_port} is taken by {taken[asked.node_port]}",
                mend="choose another, or leave node_port out",
            )
        return asked.node_port
    first, count = settings.open_base, settings.open_ports
    for port in range(first, first + count):
        if port not in taken:
            return port
    raise Conflict(
        f"all {count} {protocol} ports from {first} are taken",
        mend="close one, ask for a node_port, or raise open_ports in /etc/corpus/node.toml",
    )


def _commit(node: Node, old: Record, new: Record) -> None:
    if new != old:
        node.records.save(new)
    try:
        firewall.apply(node)
    except CorpusError:
        node.records.save(old)
        with suppress(CorpusError):
            firewall.apply(node)
        raise


def _shown(record: Record, opening: Opening) -> dict[str, Any]:
    return {
        "id": record.id,
        "protocol": opening.protocol,
        "port": opening.port,
        "node_port": opening.node_port,
        "to": list(opening.sources),
    }


def _said(what: str, record: Record, opening: Opening) -> str:
    place = f"{opening.protocol} port {opening.node_port} of the node"
    whom = f" for {', '.join(opening.sources)}" if what == "open" else ""
    return f"{what} {place}, to port {opening.port} of {record.name}{whom}"


def _changes(changes: list[str]) -> dict[str, Any]:
    return {"test": True, "changes": changes}
