"""The front moves between the node and environments of role proxy."""

from __future__ import annotations

from corpus.model.errors import Conflict, InvalidInput
from corpus.node.context import Node
from corpus.node.network import firewall
from corpus.node.proxy import place, service
from corpus.node.records import Record, Role, Stage

NODE = "node"


def front(node: Node) -> str:
    """Return where the front is: ``node``, or an environment's id."""
    return next((record.id for record in node.records.all() if record.front), NODE)


def move(node: Node, to: str, *, test: bool = False) -> list[str]:
    """Lead the node's HTTP and HTTPS ports to an environment of role proxy, or to the ``node``.

    New connections go there from one moment to the next, and none is refused: the front is ready
    there before, and goes on where it was for the connections that it has. Returns what changes.
    Raises InvalidInput, Conflict, NotFound.
    """
    target = None if to == NODE else _proxy(node, to)
    now = front(node)
    if (target.id if target else NODE) == now:
        if not test:
            with node.lock():
                firewall.apply(node)  # a former call may have died between records and rules
        return []
    changes = [f"the front moves from {_named(node, now)} to {target.name if target else NODE}"]
    if test:
        return changes
    with node.lock():
        if target:
            service.start_in(node, target)
        records = node.records.all()
        # The old one first: killed in between, the front is on the node, where it always runs.
        for record in sorted(records, key=lambda one: one.front, reverse=True):
            wanted = target is not None and record.id == target.id
            if record.front != wanted:
                node.records.save(record.changed(front=wanted))
        firewall.apply(node)
    return changes


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
