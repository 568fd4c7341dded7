"""Execution functions of a compute node: where host names lead, and their certificates."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from corpus.node.certificates import acme, changes
from corpus.node.proxy import front, routes
from corpus.saltext.edge import Days, Port, edge
from corpus.saltext.node_calls import node_of

__virtualname__ = "corpus_node"
__context__: dict[str, Any]
__opts__: dict[str, Any]


def __virtual__() -> str:
    """Load under the name ``corpus_node``, beside the module of that name."""
    return __virtualname__


@edge
def route(
    id: str,
    host: str,
    port: Port = 80,
    hold: int = 60,
    https: str | bool = "both",
    hsts: int = 0,
    proxy_protocol: bool = False,
    test: bool = False,
) -> dict[str, Any]:
    """Lead a host name to an environment; requests are held up to ``hold`` seconds.

    ``https``: ``both``, ``redirect`` or ``off``. ``hsts``: seconds. A name may be
    ``*.example.org``.

    CLI Example: ``salt-call --local corpus_node.route ID guestbook.localhost port=8000``
    """
    new = routes.parse_route(host, port, hold, https, hsts, proxy_protocol)
    changed = routes.route(node_of(__opts__), id, new, test=test)
    return {"test": True, "changes": changed} if test else asdict(new)


@edge
def unroute(host: str, test: bool = False) -> bool | dict[str, Any]:
    """Lead a host name nowhere; False when it led nowhere already.

    CLI Example: ``salt-call --local corpus_node.unroute guestbook.localhost``
    """
    changed = routes.unroute(node_of(__opts__), host, test=test)
    return {"test": True, "changes": changed} if test else bool(changed)


@edge
def maintenance(id: str, on: bool, test: bool = False) -> bool | dict[str, Any]:
    """Answer all names of an environment with the maintenance page; False when it is so already.

    CLI Example: ``salt-call --local corpus_node.maintenance ID on=True``
    """
    changed = routes.maintenance(node_of(__opts__), id, on, test=test)
    return {"test": True, "changes": changed} if test else bool(changed)


@edge
def front_move(to: str, test: bool = False) -> bool | dict[str, Any]:
    """Lead the node's HTTP and HTTPS to an environment of role proxy, or back to the ``node``.

    CLI Example: ``salt-call --local corpus_node.front_move ID``
    """
    changed = front.move(node_of(__opts__), to, test=test)
    return {"test": True, "changes": changed} if test else bool(changed)


@edge
def certificate_add(host: str, certificate: str, key: str, test: bool = False) -> dict[str, Any]:
    """Serve a host name with the certificate (a chain) and the key in these files of the node.

    CLI Example: ``salt-call --local corpus_node.certificate_add a.example /srv/a.crt /srv/a.key``
    """
    return changes.add(node_of(__opts__), host, certificate, key, test=test)


@edge
def certificate_obtain(host: str, challenge: str = "http", test: bool = False) -> dict[str, Any]:
    """Obtain a certificate by ACME and renew it from now on; ``challenge``: ``http`` or ``dns``.

    CLI Example: ``salt-call --local corpus_node.certificate_obtain a.example.org``
    """
    return acme.obtain(node_of(__opts__), host, challenge, test=test)


@edge
def certificate_renew(days: Days = acme.DAYS, test: bool = False) -> dict[str, Any]:
    """Renew what has less than ``days`` days left; what a timer calls each day.

    CLI Example: ``salt-call --local corpus_node.certificate_renew``
    """
    outcome = acme.renew(node_of(__opts__), days, test=test)
    if any(str(what).startswith("failed") for what in outcome.values()):
        __context__["retcode"] = 1
    return outcome


@edge
def certificate_list() -> list[dict[str, Any]]:
    """Return the node's certificates: names, who brought them, days left.

    CLI Example: ``salt-call --local corpus_node.certificate_list``
    """
    return changes.listed(node_of(__opts__))


@edge
def certificate_remove(host: str, test: bool = False) -> bool | dict[str, Any]:
    """Serve a host name without its certificate, and renew it no more; False when it has none.

    CLI Example: ``salt-call --local corpus_node.certificate_remove a.example.org``
    """
    return changes.remove(node_of(__opts__), host, test=test)
