"""Pair a staging and a production environment of this node for one project.

Each tells what it is; this node, which both of them trust, checks that and tells the other.
What an environment says is hostile: its root may have replaced what answers there.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any

from corpus.model import peer
from corpus.model.errors import CorpusError, InvalidInput
from corpus.model.mode import Platform
from corpus.model.names import project_name
from corpus.model.peer import Peer
from corpus.node.context import Node
from corpus.node.environments import lifecycle
from corpus.node.network import firewall
from corpus.node.network.doors import doors
from corpus.node.proxy import replica, service
from corpus.node.records import Pair, Record


def pair(
    node: Node, staging: str, prod: str, project: str, *, test: bool = False
) -> dict[str, Any]:
    """Let ``prod`` fetch the releases and commits of ``project`` from ``staging``.

    Both run, and the project is initialised in both. May be called again. Returns what each
    was told of the other, or with ``test`` what changes. Raises InvalidInput, NotFound,
    Conflict, CorpusError.
    """
    name = project_name(project)
    source, target = _record(node, staging, Platform.STAGING), _record(node, prod, Platform.PROD)
    offer = replace(
        _identity(node, source, name),
        address=str(node.settings.gateway),
        port=source.ssh_port,
    )
    reader = replace(_identity(node, target, name), address=None, port=None)
    if test:
        new = Pair(name, source.id) not in target.pairs
        said = f"{target.name} fetches {name} from {source.name}"
        return {"test": True, "changes": [said] if new else []}
    lifecycle.salted(node, source, "mc_project.pair", name, f"peer={json.dumps(reader.as_dict())}")
    _change(node, target.id, lambda pairs: {*pairs, Pair(name, source.id)})
    lifecycle.salted(node, target, "mc_project.pair", name, f"peer={json.dumps(offer.as_dict())}")
    return {"staging": offer.as_dict(), "prod": reader.as_dict()}


def unpair(node: Node, staging: str, prod: str, project: str, *, test: bool = False) -> list[str]:
    """Take back what ``pair`` did; return what changes. Both run."""
    name = project_name(project)
    source, target = _record(node, staging, Platform.STAGING), _record(node, prod, Platform.PROD)
    said = [f"{target.name} fetches {name} from {source.name} no more"]
    if test:
        for record in (source, target):
            lifecycle.runs(node, record.id)
        return said if Pair(name, source.id) in target.pairs else []
    told = [
        lifecycle.salted(node, here, "mc_project.unpair", name, f"environment={there.id}")
        for here, there in ((source, target), (target, source))
    ]
    gone = _change(node, target.id, lambda pairs: pairs - {Pair(name, source.id)})
    return said if gone or any(answer is True for answer in told) else []


def forget(node: Node, gone: Record) -> None:
    """Let nothing lead to, or be open for, an environment that is on its way out.

    Hold the node's lock.
    """
    records = node.records.lasting()
    for record in records:
        rest = tuple(pair for pair in record.pairs if pair.staging != gone.id)
        if rest != record.pairs:
            node.records.save(record.changed(pairs=rest))
    firewall.apply(node)
    if doors([*records, gone]):  # there were some before: fewer are left, or for fewer
        service.apply(node)


def _record(node: Node, id: str, platform: Platform) -> Record:
    record = lifecycle.ready(node, node.records.resolve(id))
    if record.platform is not platform:
        raise InvalidInput(
            f"environment {record.name} is no {platform} environment",
            mend="name a staging environment first, then a prod one",
        )
    return record


def _change(node: Node, id: str, change: Callable[[set[Pair]], set[Pair]]) -> bool:
    """Change the pairs of a record, and the firewall with them; tell whether they did."""
    with replica.following(node):
        record = node.records.get(id)
        pairs = change(set(record.pairs))
        if pairs == set(record.pairs):
            _open(node)  # which a crash may have kept from following
            return False
        ordered = tuple(sorted(pairs, key=lambda pair: (pair.project, pair.staging)))
        node.records.save(record.changed(pairs=ordered))
        try:
            _open(node)
        except CorpusError:
            node.records.save(record)
            with suppress(CorpusError):
                _open(node)
            raise
    return True


def _open(node: Node) -> None:
    """Let firewall and proxy follow the records."""
    firewall.apply(node)
    service.apply(node)


def _identity(node: Node, record: Record, project: str) -> Peer:
    """Return what an environment says of itself. Raises InvalidInput when it says another."""
    found = peer.parse(lifecycle.salted(node, record, "mc_project.identity", project))
    said = (found.environment, found.platform, found.project)
    if said != (record.id, record.platform, project):
        raise InvalidInput(
            f"environment {record.name} says that it is another one",
            where=" ".join(str(part) for part in said),
            mend="compare its /etc/corpus/environment.json with the node's record",
        )
    return found
