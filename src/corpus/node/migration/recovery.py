"""What ends a migration that was left half-way, on either side. Never do two nodes run it.

The source decides. Where it cannot tell the target, it waits until that has frozen what it may
have started, or killed it (it begins ``frames.LEASE`` seconds after it last heard of the source).
"""

from __future__ import annotations

import shutil
import time
from contextlib import suppress
from dataclasses import replace

from corpus.hosts import connections
from corpus.model.errors import Conflict, CorpusError
from corpus.node.context import Node
from corpus.node.environments import guest, leftovers, lifecycle, removal, sockets
from corpus.node.migration import channel, decisions, frames, peers
from corpus.node.migration.channel import Line
from corpus.node.migration.sending import clear, folder
from corpus.node.network import firewall
from corpus.node.records import Record, Stage
from corpus.node.storage import pool

# Seconds beyond the lease, until it is frozen there: that may fail, and be taken back, before it is
# killed instead.
_GRACE = 2 * lifecycle.REST + 5.0
_URGENT = 30.0  # seconds for an answer of the target without which its lease is waited for


def recover(node: Node, id: str, *, take: bool = False) -> str:
    """End the migration of an environment, which nobody is at, and tell what became of it.

    ``take``: one that arrived lives here, though the node that it comes from cannot be asked;
    that is right only where that one never comes back. Raises Conflict, NotFound, CorpusError.
    """
    record = node.records.get(id)
    with decisions.alone(node, record.id):
        record = node.records.get(record.id)
        if record.stage is Stage.MOVING:
            with node.lock(record.id):
                _abort(node, record)
            clear(node, record.id)
            return "it lives here"
        if record.stage is Stage.MOVED and record.move:
            if not record.move.settled:
                with channel.opened(node, peers.find(node, record.move.node)) as line:
                    line.ask("settle", id=record.id, lives=decisions.HERE)
            settled(node, record)  # the mover may have died between record and rules
            if not record.move.kept:
                clear_away(node, record)
            return f"it lives on {record.move.node}"
        if record.stage is Stage.ARRIVED:
            return _ask(node, record, take=take)
        if record.stage is Stage.READY:
            clear(node, record.id)
            with removal.alone(node, record.id):
                record = node.records.get(record.id)
                decisions.tidy(node, decisions.keep(node, record) if record.origin else record)
        return "nothing was left half-way"


def left(node: Node, id: str) -> bool:
    """Tell whether copies lie about that were made to send an environment, or were received; or
    whether it has not been done all that is when one is to live here."""
    record = node.records.find(id)
    if record is not None and record.stage is Stage.READY and record.origin:
        return True
    return folder(node, id).exists() or guest.staged(node.settings, id).exists()


def _abort(node: Node, record: Record) -> None:
    """Put an environment back that was moving when its mover died. Hold its lock."""
    told = record.move is not None and withdraw(node, record.move.node, record.id)
    put_back(node, record, told=told)


def withdraw(node: Node, to: str, id: str) -> bool:
    """Have the target remove what it has of an environment that lives here; False: not reached."""
    try:
        with channel.opened(node, peers.find(node, to), _URGENT) as line:
            line.ask("settle", id=id, lives=decisions.THERE)
    except CorpusError:
        return False
    return True


def put_back(node: Node, record: Record, *, told: bool) -> None:
    """Have an environment run here again. Hold its lock.

    Unless the target was ``told`` to remove it, its lease is waited for.
    """
    if not told and record.move and record.move.asked:
        # All of it from now on, and by no clock that may be set: the target may still start it.
        time.sleep(frames.LEASE + _GRACE)
    record = node.change(record.id, lambda now: now.changed(stage=Stage.READY, move=None))
    try:
        if record.wanted:
            lifecycle.bring_up(node, record)
    finally:
        with node.lock():
            firewall.apply(node)


def settle(node: Node, record: Record, line: Line) -> None:
    """Tell the target that it lives there, then lead its requests there. Raises CorpusError."""
    try:
        line.ask("commit")
    except CorpusError as error:
        raise CorpusError(
            f"{record.name} has moved, and the other node does not answer any more: {error.what}",
            error.where,
            f"corpus_node.migration_recover {record.id} here as soon as it is reached",
        ) from None
    settled(node, record)


def settled(node: Node, record: Record) -> None:
    """Note that the target knows, and lead requests there."""
    node.change(
        record.id,
        lambda now: now.changed(move=replace(now.move, settled=True) if now.move else None),
    )
    with node.lock():
        firewall.apply(node)
    cut(record.address)


def cut(address: str) -> None:
    """Have the kernel ask the rules anew for what was led to a guest that does not run here."""
    with suppress(OSError):
        connections.forget(address)


def clear_away(node: Node, record: Record) -> None:
    """Remove what an environment that lives elsewhere has here, but for what leads there."""
    if record.stage is not Stage.MOVED:
        raise Conflict(f"environment {record.id} lives here")
    with removal.alone(node, record.id):
        leftovers.clear(record.id)
        sockets.withdraw(node, record.id)
        pool.volumes(node).remove(guest.home(node.settings, record.id), record.group)
        shutil.rmtree(node.settings.lxcpath / record.id, ignore_errors=True)


def _ask(node: Node, record: Record, *, take: bool) -> str:
    lives = decisions.THERE if take else decisions.OPEN
    if not take:
        with channel.opened(node, peers.find(node, record.origin)) as line:
            lives = str(line.ask("whose", id=record.id).get("lives"))
    with removal.alone(node, record.id):
        record = node.records.get(record.id)
        if record.stage is not Stage.ARRIVED:
            return "it is settled"
        if lives == decisions.THERE:
            decisions.tidy(node, decisions.keep(node, record))
            return "it lives here"
        if lives == decisions.HERE:
            removal.remove(node, record)
            return f"it lives on {record.origin}"
    raise Conflict(
        f"{record.origin} does not say where {record.name} lives",
        mend=f"corpus_node.migration_recover {record.id} there; if that node never comes back: "
        "take=True here",
    )


def changes(node: Node, id: str, *, take: bool = False) -> list[str]:
    """Tell what ``recover`` would do, as far as that is known without asking. Raises NotFound."""
    record = node.records.get(id)
    if record.stage is Stage.MOVING:
        return [f"remove {record.name} from the other node", f"have {record.name} run here"]
    if record.stage is Stage.MOVED and record.move and not record.move.settled:
        return [f"have {record.name} live on {record.move.node}"]
    if record.stage is Stage.MOVED and record.move and not record.move.kept:
        remains = guest.home(node.settings, record.id).exists()
        return ["remove its data here"] if remains else []
    if record.stage is Stage.READY and record.origin:
        return [f"have {record.name} live here"]
    if record.stage is Stage.ARRIVED:
        return [
            f"have {record.name} live here"
            if take
            else f"ask {record.origin} where {record.name} lives"
        ]
    return []
