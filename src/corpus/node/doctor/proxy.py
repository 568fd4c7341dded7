"""Checks of the front: its files, its service, whether it answers."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from functools import partial

from corpus.commands import systemctl
from corpus.model.errors import CorpusError
from corpus.model.finding import Finding, State
from corpus.node.certificates import changes, store
from corpus.node.context import Node
from corpus.node.environments import lifecycle
from corpus.node.proxy import place, replica, service
from corpus.node.records import Record

_SECONDS = 3.0
_DAYS = 14  # by then it has been renewed, or tried to be, for two weeks


def files(node: Node) -> Iterator[Finding]:
    """The proxy's files are what the records say."""
    with node.lock():
        differing = service.differing(node)
    for path in differing:
        what = "it differs from the records, or the proxy has not taken it"
        yield Finding("proxy", State.BAD, what, path, "it is written anew", partial(_mend, node))


def serving(node: Node) -> Iterator[Finding]:
    """The proxy runs and answers."""
    active = node.host.run(systemctl.command("is-active", [service.SERVICE]), check=False)
    if active.code:
        what = "it does not run: no site is reached"
    elif not answers(node.settings.http_port):
        what = f"nobody answers at port {node.settings.http_port}"
    else:
        return
    yield Finding(
        "proxy_service", State.BAD, what, service.SERVICE, "it is started", partial(_start, node)
    )


def environment(node: Node) -> Iterator[Finding]:
    """An environment that is the front has its ports and is watched; no other has its files."""
    if record := replica.active(node):
        if not record.away:
            yield from _inside(node, record)
        elif record.wanted and place.state(node, record) != "FROZEN":
            what = f"the node's own proxy has its ports: {record.away}"
            yield Finding("front", State.BAD, what, record.id, "it is made the front again",
                          partial(_have_back, node, record.id))  # fmt: skip
        watched = node.host.run(systemctl.command("is-active", [replica.WATCH]), check=False)
        if watched.code:
            what = "nobody watches the front: the node's own would not take over"
            yield Finding("front", State.BAD, what, replica.WATCH, "it is started",
                          partial(replica.watch, node))  # fmt: skip
    for left in replica.keeping(node):
        yield Finding("front", State.BAD, "it is the front no more, and may have the sites' keys",
                      left.id, "they are removed", partial(replica.leave, node, left))  # fmt: skip


def _inside(node: Node, record: Record) -> Iterator[Finding]:
    """What runs as the front has its files, and has taken them; one that hangs is told of."""
    if not place.runs(node, record):
        return
    repair = partial(replica.bring, node, record.id)
    try:
        differing = replica.differing(node, record)
    except CorpusError as error:
        what = f"it could not be looked at: {replica.reason(error)}"
        yield Finding("front", State.BAD, what, record.id, "it is made ready anew", repair)
        return
    for path in differing:
        what = "it differs from the records, or the proxy there has not taken it"
        yield Finding("front", State.BAD, what, path, "it is written anew", repair)


def _have_back(node: Node, id: str) -> None:
    with node.lock(id):
        lifecycle.have_back(node, id)


def answers(port: int) -> bool:
    """Tell whether somebody listens at a port of this machine."""
    try:
        with socket.create_connection(("127.0.0.1", port), _SECONDS):
            return True
    except OSError:
        return False


def _mend(node: Node) -> None:
    with node.lock():
        service.mend(node)


def _start(node: Node) -> None:
    with replica.following(node):
        service.start(node)


def certificates(node: Node) -> Iterator[Finding]:
    """Each certificate lasts longer than until its renewal is due."""
    damaged = store.damaged(node.settings)
    for path, problem in damaged.items():
        if path.parent == node.settings.certificates:  # the node's own
            yield Finding("certificates", State.BAD, problem, str(path), "it is made anew",
                          partial(_start, node))  # fmt: skip
        else:
            host = path.parent.name.replace("_", "*", 1)
            yield Finding("certificates", State.BAD, problem, str(path),
                          f"corpus_node.certificate_add, or certificate_obtain {host}, again; or "
                          f"corpus_node.certificate_remove {host}")  # fmt: skip
    for source in store.everything(node.settings):
        if store.pem_path(node.settings, source) in damaged:
            continue
        left = changes.days_left(node, source)
        if left is not None and left >= _DAYS:
            continue
        told = "it is not obtained yet" if left is None else f"it has {left:.0f} days left"
        state = State.BAD if left is not None and left < 0 else State.WARN
        mend = f"corpus_node.certificate_{'renew' if source.challenge else 'add'}"
        yield Finding("certificates", state, told, source.host, mend)
