"""The text of the proxy's configuration (HAProxy 2.6, configuration manual)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from corpus.node.network.doors import Door
from corpus.node.records import Record, Route
from corpus.node.settings import Settings

_TRY_EVERY = 0.05  # seconds; also the longest a request waits once its service is back
_AT_ONCE = 512  # connections to one backend, and so tries at a time while it is down
_AT_A_DOOR = 32  # connections that one environment may have to the SSH server of another


@dataclass(frozen=True)
class Backend:
    """One port of one environment. Where its host names differ, the longest hold counts."""

    name: str
    address: str
    port: int
    hold: int


def backend_name(id: str, port: int) -> str:
    """Return the name of the backend of an environment's port."""
    return f"{id}-{port}"


def backends(routes: Sequence[tuple[Record, Route]]) -> list[Backend]:
    """Return the backends that the routes need, each once."""
    found: dict[str, Backend] = {}
    for record, route in routes:
        name = backend_name(record.id, route.port)
        hold = max(route.hold, found[name].hold if name in found else 0)
        found[name] = Backend(name, record.address, route.port, hold)
    return list(found.values())


def config(
    settings: Settings, routes: Sequence[tuple[Record, Route]], doors: Sequence[Door] = ()
) -> str:
    """Return the configuration. ``http-server-close``: no connection to a guest outlives its
    request, so that draining is exact and nothing is sent into a connection that closes."""
    needed = backends(routes)
    longest = max([60, *(backend.hold for backend in needed)])
    head = f"""# Made from the environments' records; changes are lost.
global
    log stderr format raw local0 notice
    user haproxy
    group haproxy
    hard-stop-after {longest + 300}s
    stats socket /run/corpus-proxy/admin.sock mode 600 level admin expose-fd listeners

defaults
    mode http
    log global
    option dontlognull
    option http-server-close
    option forwardfor
    no option redispatch
    http-reuse never
    retry-on conn-failure
    timeout connect {int(_TRY_EVERY * 1000)}ms
    timeout client {longest + 60}s
    timeout server {longest + 60}s
    timeout http-request 30s
    timeout http-keep-alive 15s
    timeout tunnel 1h
    errorfile 503 {settings.proxy}/503.http

frontend http
    bind :{settings.http_port}
    http-request del-header X-Forwarded-For
    http-request set-header X-Forwarded-Proto http
    http-request set-header X-Forwarded-Host %[req.hdr(host)]
    http-request set-var(txn.to) req.hdr(host),field(1,:),rtrim(.),lower,map_str({_map(settings)})
    http-request return status 404 content-type "text/html; charset=utf-8" \
file {settings.proxy}/404.html unless {{ var(txn.to) -m found }}
    use_backend %[var(txn.to)]
"""
    return head + "".join(_backend(backend) for backend in needed) + _doors(settings, doors)


def _map(settings: Settings) -> str:
    return f"{settings.proxy}/hosts.map"


def _backend(backend: Backend) -> str:
    return f"""
backend {backend.name}
    retries {int(backend.hold / _TRY_EVERY)}
    timeout queue {max(backend.hold, 1)}s
    server guest {backend.address}:{backend.port} maxconn {_AT_ONCE}
"""


def _doors(settings: Settings, doors: Sequence[Door]) -> str:
    """Return the SSH ports of staging environments, for those alone that are paired with them.

    By the proxy and not by the firewall: where the kernel has br_netfilter, a packet that is
    led from one port of the bridge to another one never leaves the bridge, whose ports are
    isolated. Who has many connections open keeps nobody else out: they are counted by reader.
    """
    if not doors:
        return ""
    return """
defaults
    mode tcp
    log global
    option dontlognull
    timeout connect 5s
    timeout client 120s
    timeout server 120s
""" + "".join(
        f"""
listen {door.id}-ssh
    bind {settings.gateway}:{door.port}
    maxconn {_AT_A_DOOR * len(door.readers)}
    stick-table type ip size 1k expire 10m store conn_cur
    tcp-request connection reject unless {{ src {" ".join(door.readers)} }}
    tcp-request connection track-sc0 src
    tcp-request connection reject if {{ sc0_conn_cur gt {_AT_A_DOOR} }}
    server guest {door.address}:22
"""
        for door in doors
    )
