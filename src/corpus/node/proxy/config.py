"""The text of the proxy's configuration (HAProxy 2.6, configuration manual)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePath

from corpus.commands.haproxy import SOCKET
from corpus.commands.nft import LED_PORTS
from corpus.node.network.doors import Door
from corpus.node.records import Record, Route
from corpus.node.settings import ACME_PORT, PEERS_PORT, Settings

ACME = "acme"  # the backend of lego(1), which answers HTTP challenges while it runs
_TRY_EVERY = 0.05  # seconds; also the longest a request waits once its service is back
_AT_ONCE = 512  # connections to one backend, and so tries at a time while it is down
_AT_A_DOOR = 32  # connections that one environment may have to the SSH server of another
_TUNNEL = 3600  # seconds that a silent websocket, and any within an old worker, may last
_WORKERS = 20  # reloads that an old worker outlives at most
# What Mozilla's guideline calls intermediate: every browser of the last ten years.
_CIPHERS = (
    "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:"
    "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384:"
    "ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305"
)
_SUITES = "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256"
# Also as they would read in CGI and WSGI, which do not tell "-" from "_".
_FORGED = "^(x[-_]forwarded[-_].*|forwarded|x[-_]real[-_]ip|proxy)$"

# A wildcard would let it pass, into a redirect to elsewhere: evil.example/.example.org.
_NO_HOST = "[^a-z0-9._-]"


@dataclass(frozen=True)
class Backend:
    """One port of one environment. Where its host names differ, the longest hold counts."""

    name: str
    address: str
    port: int
    hold: int
    proxy_protocol: bool


def backend_name(id: str, route: Route) -> str:
    """Return the name of the backend of an environment's port; it begins with the id."""
    return f"{id}-{route.port}{'-proxied' if route.proxy_protocol else ''}"


def backends(routes: Sequence[tuple[Record, Route]]) -> list[Backend]:
    """Return the backends that the routes need, each once."""
    found: dict[str, Backend] = {}
    for record, route in routes:
        name = backend_name(record.id, route)
        hold = max(route.hold, found[name].hold if name in found else 0)
        found[name] = Backend(name, record.address, route.port, hold, route.proxy_protocol)
    return list(found.values())


def config(
    settings: Settings,
    folder: PurePath,
    routes: Sequence[tuple[Record, Route]],
    doors: Sequence[Door] = (),
    peers: Sequence[str] = (),
    *,
    description: str = "",
) -> str:
    """Return the configuration of a proxy whose files lie in ``folder``.

    ``http-server-close``: no connection to a guest outlives its request, so that draining is
    exact and nothing is sent into a connection that closes. ``description`` is how a worker
    says which configuration it has. What the nodes ``peers`` lead here has passed the front of
    another node, which said of the client what there is to say.
    """
    needed = backends(routes)
    longest = max([60, *(backend.hold for backend in needed)])
    return (
        _head(folder, longest, description)
        + _frontend(settings, folder, peers)
        + "".join(_backend(backend) for backend in needed)
        + _doors(settings, doors)
    )


def _head(folder: PurePath, longest: int, description: str) -> str:
    return f"""# Made from the environments' records; changes are lost.
global
    description {description or "none"}
    log stderr format raw local0 notice
    user haproxy
    group haproxy
    hard-stop-after {_TUNNEL}s
    mworker-max-reloads {_WORKERS}
    stats socket {SOCKET} mode 600 level admin expose-fd listeners
    ssl-default-bind-options ssl-min-ver TLSv1.2 no-tls-tickets
    ssl-default-bind-curves X25519:P-256:P-384
    ssl-default-bind-ciphers {_CIPHERS}
    ssl-default-bind-ciphersuites {_SUITES}

defaults
    mode http
    log global
    option dontlognull
    option http-server-close
    option forwardfor if-none
    no option redispatch
    http-reuse never
    retry-on conn-failure
    timeout connect {int(_TRY_EVERY * 1000)}ms
    timeout client {longest + 60}s
    timeout server {longest + 60}s
    timeout http-request 30s
    timeout http-keep-alive 15s
    timeout tunnel {_TUNNEL}s
    errorfile 503 {folder}/503.http
"""


def _frontend(settings: Settings, folder: PurePath, peers: Sequence[str]) -> str:
    """Return the frontend. Nothing that a client says of itself passes, but what we say of it.

    ``txn.to`` is ``backend|https|hsts``, from the maps. All is looked up anew for each request:
    an HTTP/2 connection may ask for every name that its certificate has.
    """
    missing = "unless { var(txn.to) -m found }"
    ours = " unless { var(sess.peer) -m bool }" if peers else ""
    ours_too = " !{ var(sess.peer) -m bool }" if peers else ""
    port = "" if settings.https_port == 443 else f":{settings.https_port}"
    hsts = "var(txn.to),field(3,|)"
    mode = "var(txn.to),field(2,|) -m str"
    unknown = (
        f'http-request return status 404 content-type "text/html; charset=utf-8" '
        f"file {folder}/404.html"
    )
    return f"""
frontend web
    bind :{settings.http_port}
    bind :{settings.https_port} ssl crt-list {folder}/certificates.list alpn h2,http/1.1
    {_peers(peers)}
    http-request del-header {_FORGED} -m reg{ours}
    http-request set-header X-Forwarded-Proto http{ours}
    http-request set-header X-Forwarded-Proto https if {{ ssl_fc }}
    http-request set-header X-Forwarded-Port %[dst_port]{ours}
    http-request set-header X-Forwarded-Host %[req.hdr(host)]{ours}
    http-request set-var(txn.host) req.hdr(host),field(1,:),rtrim(.),lower
    {unknown} if {{ var(txn.host) -m reg {_NO_HOST} }}
    http-request set-var(txn.to) var(txn.host),map_str({folder}/challenges.map) \
if !{{ ssl_fc }} {{ path_beg /.well-known/acme-challenge/ }}
    http-request set-var(txn.to) var(txn.host),map_str({folder}/hosts.map) {missing}
    http-request set-var(txn.to) var(txn.host),map_end({folder}/wildcards.map) {missing}
    {unknown} {missing}
    {unknown} if {{ ssl_fc }} {{ {mode} off }}
    http-request return status 503 default-errorfiles \
if {{ var(txn.to),map_beg({folder}/maintenance.map) -m found }}
    http-request redirect code 308 location https://%[var(txn.host)]{port}%[pathq] \
if !{{ ssl_fc }}{ours_too} {{ {mode} redirect }}
    http-after-response set-header Strict-Transport-Security max-age=%[{hsts}] \
if {{ ssl_fc }} {{ {hsts} -m int gt 0 }}
    use_backend %[var(txn.to),field(1,|)]

backend {ACME}
    server lego {settings.gateway}:{ACME_PORT}
"""


def _peers(peers: Sequence[str]) -> str:
    """Return the place where peers lead what begins with the client's address, and who they are.

    By their ports connections that a node leads are told from those of its environments, which
    have the same address. These rules see that of the connection, and not the client's.
    """
    if not peers:
        return ""
    led = f"{{ src {' '.join(peers)} }} {{ src_port {LED_PORTS.replace('-', ':')} }}"
    return f"""bind :{PEERS_PORT} accept-proxy
    tcp-request connection set-var(sess.peer) bool(true) if {led}
    tcp-request connection reject if {{ dst_port {PEERS_PORT} }} !{{ var(sess.peer) -m bool }}"""


def _backend(backend: Backend) -> str:
    proxied = " send-proxy-v2" if backend.proxy_protocol else ""
    return f"""
backend {backend.name}
    retries {int(backend.hold / _TRY_EVERY)}
    timeout queue {max(backend.hold, 1)}s
    server guest {backend.address}:{backend.port} maxconn {_AT_ONCE}{proxied}
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
