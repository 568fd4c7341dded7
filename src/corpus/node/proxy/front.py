"""The front moves between the node and environments of role proxy."""

from __future__ import annotations

from corpus.model.errors import Conflict, CorpusError, InvalidInput
from corpus.node.context import Node
from corpus.node.network import firewall
from corpus.node.proxy import place, replica
from corpus.node.records import Record, Role, Stage

NODE = "node"


def front(node: Node) -> str:
    """Return where the front is: ``node``, or an environment's id."""
    active = replica.active(node)
    return active.id if active else NODE


def move(node: Node, to: str, *, test: bool = False) -> list[str]:
    """Lead the node's HTTP and HTTPS ports to an environment of role proxy, or to the ``node``.

    New connections go there from one moment to the next, and none is refused: the front is ready
    there before, and goes on where it was for the connections that it has. An environment that
    was the front keeps nothing of it. Returns what changes. Raises InvalidInput, Conflict,
    NotFound.
    """
    target = None if to == NODE else _proxy(node, to)
    now = front(node)
    said = [] if (target.id if target else NODE) == now else [
        f"the front moves from {_named(node, now)} to {target.name if target else NODE}"
    ]  # fmt: skip
    if test:
        return said
    if target and (said or target.away):
        replica.bring(node, target.id)
    _lead(node, target)  # again, too: a former call may have died between records and rules
    if target:
        replica.follow(node)  # what has changed since it got ready
        replica.watch(node)
    _clear(node)
    return said


def _clear(node: Node) -> None:
    """Have none keep anything that is the front no more; one that fails keeps no other from it."""
    failed: list[CorpusError] = []
    for left in replica.keeping(node):
        try:
            replica.leave(node, left)
        except CorpusError as error:
            failed.append(error)
    if failed:
        mends = [error.mend for error in failed if error.mend]
        raise Conflict("\n".join(error.what for error in failed), mend="; ".join(mends) or None)


def _lead(node: Node, target: Record | None) -> None:
    with node.lock():
        if target:
            _proxy(node, target.id)
        records = node.records.all()
        # The old one first: killed in between, the front is on the node, where it always runs.
        for record in sorted(records, key=lambda one: one.front, reverse=True):
            wanted = target is not None and record.id == target.id
            if record.front != wanted:
                node.records.save(record.changed(front=wanted, away=""))
        firewall.apply(node)


def _proxy(node: Node, id: str) -> Record:
    record = node.records.get(id)
    if record.role is not Role.PROXY:
        raise InvalidInput(
            f"environment {record.name} is no proxy", mend="create one with role=proxy"
        )
    if record.stage is not Stage.READY or not place.runs(node, record):
        raise Conflict(f"environment {record.name} does not run", mend="start it first")
    return record


def _named(node: Node, id: str) -> str:
    return id if id == NODE else node.records.get(id).name
