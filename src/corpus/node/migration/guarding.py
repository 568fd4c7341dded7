"""What is left behind a receiver that was killed: removed, or frozen, at once.

The receiver is a child of who does that, and of nobody else: what is killed is seen.
"""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable, Sequence

from corpus.node.context import Node
from corpus.node.environments import lifecycle, removal
from corpus.node.migration.peers import Peer
from corpus.node.records import Stage


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
    """Remove what arrives from a peer; what was started already does nothing until it is asked."""
    for found in node.records.all():
        if found.origin != peer.name:
            continue
        with removal.alone(node, found.id):
            record = node.records.find(found.id)
            if record is None or record.origin != peer.name:
                continue
            if record.stage is Stage.CREATING:
                removal.remove(node, record)
            elif lifecycle.state(node, record)[0] == "RUNNING":
                lifecycle.hold_still(node, record)
