"""What a change of an environment's life would do, asked beforehand: nothing is touched.

Each function checks what the change itself checks, and returns short sentences; none where
nothing would change. Raises what the change would raise.
"""

from __future__ import annotations

from corpus.node.context import Node
from corpus.node.environments import lifecycle
from corpus.node.environments.lifecycle import state
from corpus.node.records import Record, Stage


def start(node: Node, id: str) -> list[str]:
    """Tell what ``start`` would change."""
    record = node.records.get(id)
    if record.stage is Stage.RESTORING:
        return awake(node, record)
    lifecycle.ready(node, record.id)
    return awake(node, record) + _wish(record, True)


def awake(node: Node, record: Record) -> list[str]:
    """Tell what is to be done for an environment that is made to run."""
    if record.stage is Stage.RESTORING:
        return [f"end the restore of {record.name} that was left half-way", f"start {record.name}"]
    found = state(node, record)[0]
    doing = {"STOPPED": [f"start {record.name}"], "FROZEN": [f"thaw {record.name}"]}
    return doing.get(found, [])


def stop(node: Node, id: str) -> list[str]:
    """Tell what ``stop`` would change."""
    record = lifecycle.ready(node, node.records.resolve(id))
    halted = [] if state(node, record)[0] == "STOPPED" else [f"stop {record.name}"]
    return halted + _wish(record, False)


def restart(node: Node, id: str) -> list[str]:
    """Tell what ``restart`` would change."""
    record = lifecycle.ready(node, node.records.resolve(id))
    halted = [] if state(node, record)[0] == "STOPPED" else [f"stop {record.name}"]
    return [*halted, f"start {record.name}", *_wish(record, True)]


def freeze(node: Node, id: str) -> list[str]:
    """Tell what ``freeze`` would change."""
    record = lifecycle.runs(node, node.records.resolve(id))
    return [] if state(node, record)[0] == "FROZEN" else [f"freeze {record.name}"]


def thaw(node: Node, id: str) -> list[str]:
    """Tell what ``thaw`` would change."""
    record = lifecycle.runs(node, node.records.resolve(id))
    return [f"thaw {record.name}"] if state(node, record)[0] == "FROZEN" else []


def autostart(node: Node, id: str, on: bool | None, order: int | None) -> list[str]:
    """Tell what ``autostart`` would change."""
    record, given = node.records.get(id), lifecycle.check_autostart(on, order)
    said = {"autostart": {True: "on", False: "off"}}
    return [
        f"{name} of {record.name}: {said.get(name, {}).get(bool(new), new)}"
        for name, new in given.items()
        if new != getattr(record, name)
    ]


def _wish(record: Record, wanted: bool) -> list[str]:
    if record.wanted == wanted:
        return []
    return [f"{record.name} is {'started' if wanted else 'not started'} at boot"]
