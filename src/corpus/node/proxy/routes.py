"""Which host names lead to which environments, and how."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress

from corpus.model.errors import Conflict, CorpusError, InvalidInput, NotFound
from corpus.model.names import host_pattern
from corpus.node.context import Node
from corpus.node.network import firewall
from corpus.node.proxy import replica, service
from corpus.node.records import HTTPS, Record, Role, Route, Stage, check_here

_LONGEST_HOLD = 600
_LONGEST_HSTS = 2 * 365 * 86400


def parse_route(
    host: str,
    port: int | str = 80,
    hold: int | str = 60,
    https: str | bool = "both",
    hsts: int | str = 0,
    proxy_protocol: bool = False,
) -> Route:
    """Return a checked route; ``hold`` (0 to 600) and ``hsts`` are in seconds.

    Raises InvalidInput.
    """
    try:
        number, seconds, strict = int(port), int(hold), int(hsts)
    except (TypeError, ValueError):
        given = f"{port!r:.20}, {hold!r:.20}, {hsts!r:.20}"
        raise InvalidInput(f"port, hold and hsts are numbers: {given}") from None
    if not 0 < number < 65536:
        raise InvalidInput(f"not a port: {number}", mend="use 1 to 65535")
    if not 0 <= seconds <= _LONGEST_HOLD:
        raise InvalidInput(f"cannot hold for {seconds} s", mend=f"use 0 to {_LONGEST_HOLD}")
    # YAML, and so Salt's command line, reads a bare «off» as false.
    way = "off" if https is False else str(https)
    if way not in HTTPS:
        raise InvalidInput(f"not a way to serve HTTPS: {https!r:.20}", mend=", ".join(HTTPS))
    if not 0 <= strict <= _LONGEST_HSTS:
        raise InvalidInput(f"not seconds for HSTS: {strict}", mend=f"use 0 to {_LONGEST_HSTS}")
    if strict and way != "redirect":
        raise InvalidInput("browsers are told to come by HTTPS alone where HTTP redirects there",
                           mend="https=redirect, or leave hsts out")  # fmt: skip
    if not isinstance(proxy_protocol, bool):
        raise InvalidInput(f"proxy_protocol is True or False, not {proxy_protocol!r:.20}")
    return Route(host_pattern(host), number, seconds, way, strict, proxy_protocol)


def parse_routes(hosts: Sequence[str]) -> tuple[Route, ...]:
    """Return routes to port 80 for host names, each once."""
    if isinstance(hosts, str):
        raise InvalidInput("hosts is a list of names", mend=f"write [{hosts!r}]")
    return tuple(dict.fromkeys(parse_route(host) for host in hosts))


def check_free(records: Iterable[Record], routes: Iterable[Route], id: str) -> None:
    """Raise Conflict when one of the names leads to another environment."""
    taken = {route.host: record.id for record in records for route in record.routes}
    for route in routes:
        if taken.get(route.host, id) != id:
            raise Conflict(
                f"{route.host} leads to environment {taken[route.host]}",
                mend="unroute it there first, or choose another name",
            )


def route(node: Node, id: str, new: Route, *, test: bool = False) -> list[str]:
    """Lead a host name to an environment's port, replacing what it was there.

    Returns what changes, in words; with ``test`` nothing does. Raises Conflict, NotFound.
    """
    with replica.following(node, test=test):
        record = node.records.get(id)
        if record.stage is Stage.DESTROYING:
            raise NotFound(f"environment {id} is being destroyed")
        check_here(record)
        if record.role is Role.PROXY:
            raise InvalidInput(f"no host name leads to {record.name}, which is a proxy")
        check_free(node.records.all(), [new], record.id)
        others = tuple(old for old in record.routes if old.host != new.host)
        same = new in record.routes
        if not test:
            _commit(node, record, record if same else record.changed(routes=(*others, new)))
    return [] if same else [f"{new.host} leads to port {new.port} of {record.name}"]


def unroute(node: Node, host: str, *, test: bool = False) -> list[str]:
    """Lead ``host`` nowhere; return what changes, in words: nothing when it led nowhere."""
    name = host_pattern(host)
    with replica.following(node, test=test):
        for record in node.records.all():
            kept = tuple(old for old in record.routes if old.host != name)
            if kept != record.routes:
                check_here(record, ending=True)
                if not test:
                    _commit(node, record, record.changed(routes=kept))
                return [f"{name} leads no more to {record.name}"]
        if not test and node.records.all():
            _follow(node)  # a former call may have died between record and front
    return []


def maintenance(node: Node, id: str, on: bool, *, test: bool = False) -> list[str]:
    """Answer all requests for an environment with the maintenance page, or no more.

    At once and without a reload; requests under way are not touched. Returns what changes.
    """
    if not isinstance(on, bool):
        raise InvalidInput(f"maintenance is on or off: {on!r:.20}", mend="write True or False")
    with replica.following(node, test=test):
        record = node.records.get(id)
        check_here(record)
        if not test:
            _commit(node, record, record.changed(maintenance=on))
    if record.maintenance == on:
        return []
    return [f"{record.name} {'shows the maintenance page' if on else 'answers again'}"]


def _commit(node: Node, old: Record, new: Record) -> None:
    """Save a record, where it differs, and have the front follow it, or leave both as before."""
    if new != old:
        node.records.save(new)
    try:
        _follow(node)
    except CorpusError:
        node.records.save(old)
        with suppress(CorpusError):
            _follow(node)
        raise


def _follow(node: Node) -> None:
    """Have the front follow the records, and the firewall where environments are proxies."""
    if any(record.role is Role.PROXY for record in node.records.all()):
        firewall.apply(node)
    service.apply(node)
