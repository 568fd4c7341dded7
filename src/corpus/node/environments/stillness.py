"""A running environment is halted for the instant of a copy, and goes on, whoever dies meanwhile.

One that is frozen because somebody wishes so stays frozen: a file beside its configuration tells
the two apart.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from corpus.model.errors import Conflict
from corpus.node.context import Node
from corpus.node.environments import guest, leftovers, lifecycle
from corpus.node.proxy import replica
from corpus.node.records import Record
from corpus.node.storage import pool


@contextmanager
def still(
    node: Node, record: Record, *, wanted: bool = True, apart: bool = False
) -> Iterator[None]:
    """Have a running guest frozen within the block, where that is ``wanted``.

    One that was frozen before stays so, unless it was left so by a copy that was killed. Hold
    the environment's lock. Raises Conflict as ``check``.
    """
    wake(node, record)
    if check(node, record, wanted=wanted, apart=apart) != "RUNNING" or not wanted:
        yield
        return
    guest.halted(node.settings, record.id).touch(mode=0o600)
    lifecycle.hold_still(node, record)
    try:
        yield
    finally:
        _go_on(node, record)


def check(node: Node, record: Record, *, wanted: bool = True, apart: bool = False) -> str:
    """Return the state of a guest that is to be copied, in LXC's words.

    Raises Conflict where its files are read one by one and it is not to be frozen (``wanted``):
    a directory that it replaces by a link would lead whoever copies to the node's own files.
    ``apart``: the copy is for another environment.
    """
    found = lifecycle.state(node, record)[0]
    if not pool.volumes(node).reads(apart=apart):
        return found
    if found == "STOPPED" and leftovers.alive(record.id):
        raise Conflict(
            f"processes of {record.name} run, and LXC calls it stopped",
            mend="corpus_node.doctor mend=True ends them",
        )
    halted = found == "FROZEN" and not is_left(node, record)
    if not (halted or found == "STOPPED" or (wanted and found in ("RUNNING", "FROZEN"))):
        raise Conflict(
            f"{record.name} is neither stopped nor frozen, and its files are copied one by one",
            mend=f"leave freeze=False out, or first: corpus_node.stop {record.id}",
        )
    return found


def wake(node: Node, record: Record) -> None:
    """Let go on what a copy left halted that was killed. Hold the environment's lock."""
    if is_left(node, record):
        _go_on(node, record)


def is_left(node: Node, record: Record) -> bool:
    """Tell whether a guest is frozen for a copy; nobody makes that who does not hold its lock."""
    halted = guest.halted(node.settings, record.id).exists()
    return halted and lifecycle.state(node, record)[0] == "FROZEN"


def _go_on(node: Node, record: Record) -> None:
    lifecycle.let_go(node, record)
    replica.catch_up(node, record)
