"""A running environment is halted for the instant of a copy, and goes on, whoever dies meanwhile.

One that is frozen because somebody wishes so stays frozen: a file beside its configuration tells
the two apart.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from corpus.node.context import Node
from corpus.node.environments import guest, lifecycle
from corpus.node.proxy import replica
from corpus.node.records import Record


@contextmanager
def still(node: Node, record: Record, *, wanted: bool = True) -> Iterator[None]:
    """Have a running guest frozen within the block, where that is ``wanted``.

    One that was frozen before stays so, unless it was left so by a copy that was killed. Hold
    the environment's lock.
    """
    wake(node, record)
    if not wanted or lifecycle.state(node, record)[0] != "RUNNING":
        yield
        return
    guest.halted(node.settings, record.id).touch(mode=0o600)
    lifecycle.hold_still(node, record)
    try:
        yield
    finally:
        _go_on(node, record)


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
