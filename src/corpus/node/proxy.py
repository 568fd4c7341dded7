"""The node's front: host names led to environments by an HAProxy instance of our own.

A request for an environment whose service is down is held, not refused: HAProxy tries to
connect again every 50 ms until the route's seconds are over. Its pause between two tries is
the smaller of ``timeout connect`` and one second, so that refused connections and dropped SYNs
wait alike. Only a connection that was never made is tried again: no request runs twice.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress

from corpus.commands import haproxy, systemctl
from corpus.hosts.files import write_atomic
from corpus.model.errors import CommandFailed, Conflict, CorpusError, InvalidInput, NotFound
from corpus.model.names import host_name
from corpus.node import pages
from corpus.node.context import Node
from corpus.node.doors import doors
from corpus.node.proxy_config import backend_name, config
from corpus.node.records import Record, Route, Stage

SERVICE = "corpus-proxy.service"
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
        apply(node)
    except CorpusError:
        node.records.save(old)
        with suppress(CorpusError):
            apply(node)
        raise


def apply(node: Node) -> None:
    """Make the proxy's files from the records and have it take them. Hold the node's lock.

    The old worker goes on with what it has, held requests included; listening sockets are
    handed over, so that no connection is refused meanwhile.
    """
    if write(node):
        node.host.run(systemctl.command("reload-or-restart", [SERVICE]), timeout=60)


def write(node: Node) -> bool:
    """Write the files; True when the proxy must take them. Raises CorpusError, nothing changed."""
    settings, records = node.settings, node.records.all()
    folder = settings.proxy
    routes = [(record, route) for record in records for route in record.routes]
    map_text = "".join(f"{r.host} {backend_name(e.id, r.port)}\n" for e, r in routes)
    texts = {
        "404.html": pages.UNKNOWN_HOST.encode(),
        "503.http": pages.maintenance().encode(),
        "hosts.map": map_text.encode(),
        "haproxy.cfg": config(settings, routes, doors(records)).encode(),
    }
    old = {name: _read(node, name) for name in texts}
    if old == texts:
        return False
    for name, text in texts.items():
        write_atomic(folder / name, text, durable=False)
    try:
        node.host.run(haproxy.check(folder / "haproxy.cfg"))
    except CommandFailed:
        for name, before in old.items():
            if before is None:
                (folder / name).unlink()
            else:
                write_atomic(folder / name, before, durable=False)
        raise
    return True


def _read(node: Node, name: str) -> bytes | None:
    try:
        return (node.settings.proxy / name).read_bytes()
    except FileNotFoundError:
        return None
