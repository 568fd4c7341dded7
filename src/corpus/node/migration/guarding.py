"""What is left behind a receiver that was killed: removed, or frozen, at once.

The receiver is a child of who does that, and of nobody else: what is killed is seen.
"""

from __future__ import annotations

import os
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import ExitStack

from corpus.model.errors import Conflict, CorpusError
from corpus.node.context import Node
from corpus.node.environments import removal
from corpus.node.migration import decisions
from corpus.node.migration.peers import Peer
from corpus.node.records import Stage

_PATIENCE = 2.0  # seconds for who looks at one just now, and is no receiver
_OFTEN = 0.05


def guarded(node: Node, peer: Peer, receive: Callable[[], None], handles: Sequence[int]) -> int:
    """Have a child ``receive`` from a peer, and tidy up behind it where it fails; return its code.

    ``handles`` are those at which it does so: the child alone has them from here on. Where both are
    killed, the next that the peer asks, a boot, or the doctor ends it.
    """
    child = os.fork()
    if child == 0:
        code = 1
        try:
            receive()
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    nothing = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    for handle in handles:
        os.dup2(nothing, handle)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if code:
        _tidy(node, peer)
    return code


def _tidy(node: Node, peer: Peer) -> None:
    """Remove what arrives from a peer; what was started already does nothing until it is asked.

    What another receiver is at is left to that.
    """
    left = [record.id for record in node.records.all() if record.origin == peer.name]
    deadline = time.monotonic() + _PATIENCE
    while left := [id for id in left if not _tidied(node, peer, id)]:
        if time.monotonic() > deadline:
            return
        time.sleep(_OFTEN)


def _tidied(node: Node, peer: Peer, id: str) -> bool:
    """Tidy one up, or say why that fails; False: somebody is at it."""
    with ExitStack() as held:
        try:
            held.enter_context(removal.alone(node, id, wait=False))
        except Conflict:
            return False
        try:
            record = node.records.find(id)
            if record is None or record.origin != peer.name:
                return True
            if record.stage is Stage.CREATING:
                removal.remove(node, record)
            elif record.stage is Stage.READY:  # it was being told to live here
                decisions.tidy(node, decisions.keep(node, record))
            else:
                decisions.hold(node, record)
        except (CorpusError, OSError):  # the others must not run on because of it
            traceback.print_exc()
    return True
