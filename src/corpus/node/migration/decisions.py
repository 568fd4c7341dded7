"""Where an environment lives, when that is not known here: the source of a migration decides."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any

from corpus.commands import lxc
from corpus.hosts import connections
from corpus.model.errors import Conflict, CorpusError, InvalidInput
from corpus.model.names import environment_id
from corpus.node.context import Node
from corpus.node.environments import guest, lifecycle, removal
from corpus.node.migration.peers import Peer
from corpus.node.network import firewall
from corpus.node.proxy import replica, service
from corpus.node.records import Record, Stage
from corpus.node.storage import copies, pool

HERE, THERE, OPEN, UNKNOWN = "here", "there", "open", "unknown"


@contextmanager
def alone(node: Node, id: str) -> Iterator[None]:
    """Hold the lock that the source of a migration holds all the while. Raises Conflict."""
    name = f"migration-{id}"
    with node.lock(name, wait=False):
        try:
            yield
        finally:
            (node.settings.locks / name).unlink(missing_ok=True)


def whose(node: Node, peer: Peer, asked: dict[str, Any]) -> dict[str, Any]:
    """Tell a peer where an environment lives that came to it from here: ``there`` is the peer."""
    id = environment_id(asked.get("id"))
    if node.records.find(id) is None:
        return {"lives": UNKNOWN}
    try:
        with alone(node, id):  # whoever moves it may still put it back
            record = node.records.find(id)
    except Conflict:
        return {"lives": OPEN}
    if record is None:
        return {"lives": UNKNOWN}
    if record.stage is Stage.MOVED and record.move:
        return {"lives": THERE if record.move.node == peer.name else HERE}
    return {"lives": OPEN if record.stage is Stage.MOVING else HERE}


def settle(node: Node, peer: Peer, asked: dict[str, Any]) -> dict[str, Any]:
    """Do what the source decided of an environment that it sent: ``lives`` says where it does.

    Raises Conflict when it is said to live here, and is not here.
    """
    id = environment_id(asked.get("id"))
    lives = asked.get("lives")
    if lives not in (HERE, THERE):
        raise InvalidInput("not a decision")
    with removal.alone(node, id):
        record = node.records.find(id)
        mine = record is not None and record.origin == peer.name
        if record is not None and mine and lives == THERE:
            removal.remove(node, record)
        elif lives == HERE:
            arrived = record is not None and mine and record.stage is Stage.ARRIVED
            if record is None or not (arrived or record.stage is Stage.READY):
                raise Conflict(f"environment {id} is not here")
            # One that is settled may be so in its record alone, where the receiver died. Where it
            # did not, people have had their way with it since.
            tidy(node, keep(node, record) if mine else record)
    return {}


def keep(node: Node, record: Record) -> Record:
    """Have an environment that arrived live here. Hold its lock.

    Whence it came is forgotten at the end: as long as that is known, all this is done again.
    """
    led = record.elsewhere
    record = node.change(record.id, lambda now: _led(now).changed(stage=Stage.READY, move=None))
    with replica.following(node):
        firewall.apply(node)
        service.apply(node)
    if led:  # what waits there would be led back here
        with suppress(OSError):
            connections.forget(led.address, _ports(record))
    found = lifecycle.state(node, record)[0]
    if found == "FROZEN":
        lifecycle.let_go(node, record)
        replica.catch_up(node, record)
    elif found == "STOPPED" and record.wanted:
        lifecycle.bring_up(node, record)
    return node.change(record.id, lambda now: now.changed(origin=""))


def _led(record: Record) -> Record:
    """Return the record with its ports open to what the node leads here that it came from."""
    led_by = {record.origin} if record.origin else set()
    opened = tuple(
        replace(one, led_by=tuple(sorted({*one.led_by, *led_by}))) for one in record.openings
    )
    return record.changed(openings=opened)


def _ports(record: Record) -> set[connections.Port]:
    """Return the ports of the node that lead to an environment."""
    numbers = {"tcp": socket.IPPROTO_TCP, "udp": socket.IPPROTO_UDP}
    opened = {(numbers[one.protocol], one.node_port) for one in record.openings}
    return {(socket.IPPROTO_TCP, record.ssh_port), *opened}


def hold(node: Node, record: Record) -> None:
    """Have what was started here do nothing until it is known where it lives. Hold its lock.

    It is frozen. One that does not come to rest is killed: it would go on while the source starts
    its own; ``keep`` starts it again. Raises CorpusError when it cannot be killed.
    """
    found = lifecycle.state(node, record)[0]
    if found in ("STOPPED", "FROZEN"):
        return
    if found in ("RUNNING", "FREEZING", "THAWED"):
        with suppress(CorpusError):
            lifecycle.hold_still(node, record)
            return
    node.host.run(lxc.stop(node.settings.lxcpath, record.id, kill=True), timeout=60)


def tidy(node: Node, record: Record) -> None:
    """Remove what was received of an environment that lives here now."""
    staged = guest.staged(node.settings, record.id)
    if staged.exists():
        with suppress(CorpusError, OSError):
            copies.delete(node, staged)
            pool.volumes(node).limit(record.group, record.limits.size)
            copies.settle(node, record)
