"""Which host names lead to which environments."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress

from corpus.model.errors import Conflict, CorpusError, InvalidInput, NotFound
from corpus.model.names import host_name
from corpus.node.context import Node
from corpus.node.proxy import service
from corpus.node.records import Record, Route, Stage

_LONGEST_HOLD = 600


def parse_route(host: str, port: int | str = 80, hold: int | str = 60) -> Route:
    """Return a checked route; ``hold`` is in seconds, 0 to 600. Raises InvalidInput."""
    try:
        number, seconds = int(port), int(hold)
    except (TypeError, ValueError):
        raise InvalidInput(f"port and hold are numbers: {port!r:.20}, {hold!r:.20}") from None
    if not 0 < number < 65536:
        raise InvalidInput(f"not a port: {number}", mend="use 1 to 65535")
    if not 0 <= seconds <= _LONGEST_HOLD:
        raise InvalidInput(f"cannot hold for {seconds} s", mend=f"use 0 to {_LONGEST_HOLD}")
    return Route(host_name(host), number, seconds)


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


def route(node: Node, id: str, host: str, port: int = 80, hold: int = 60) -> Route:
    """Lead ``host`` to an environment's port, replacing what it was there. Raises Conflict."""
    new = parse_route(host, port, hold)
    with node.lock():
        record = node.records.get(id)
        if record.stage is Stage.DESTROYING:
            raise NotFound(f"environment {id} is being destroyed")
        check_free(node.records.all(), [new], record.id)
        others = tuple(old for old in record.routes if old.host != new.host)
        _commit(node, record, record.changed(routes=(*others, new)))
    return new


def unroute(node: Node, host: str) -> bool:
    """Lead ``host`` nowhere; False when it led nowhere already."""
    name = host_name(host)
    with node.lock():
        for record in node.records.all():
            kept = tuple(old for old in record.routes if old.host != name)
            if kept != record.routes:
                _commit(node, record, record.changed(routes=kept))
                return True
    return False


def _commit(node: Node, old: Record, new: Record) -> None:
    node.records.save(new)
    try:
        service.apply(node)
    except CorpusError:
        node.records.save(old)
        with suppress(CorpusError):
            service.apply(node)
        raise
