"""The node's front: host names led to environments by an HAProxy instance of our own.

A request for an environment whose service is down is held, not refused: HAProxy tries to
connect again every 50 ms until the route's seconds are over. Its pause between two tries is
the smaller of ``timeout connect`` and one second, so that refused connections and dropped SYNs
wait alike. Only a connection that was never made is tried again: no request runs twice.
"""

from __future__ import annotations

from corpus.commands import haproxy, systemctl
from corpus.hosts.files import write_atomic
from corpus.model.errors import CommandFailed
from corpus.node.context import Node
from corpus.node.network.doors import doors
from corpus.node.proxy import pages
from corpus.node.proxy.config import backend_name, config

SERVICE = "corpus-proxy.service"


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
