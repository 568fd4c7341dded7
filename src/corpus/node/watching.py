"""A front in an environment is watched: the node's own takes over while it does not answer.

What is watched runs as somebody else's: it may have powered itself off, hang, or have lost its
proxy. It is started again where it is wanted, given what it lacks, and is the front again then.
"""

from __future__ import annotations

import socket
import time
from contextlib import ExitStack, suppress

from corpus.model.errors import Conflict, CorpusError
from corpus.node.context import Node
from corpus.node.environments import lifecycle
from corpus.node.proxy import replica
from corpus.node.records import Record, Stage

_EVERY, _AGAIN = 1.0, 0.2  # seconds between two looks, and until the next one after a miss
_SECONDS = 2.0  # for an answer
_MISSES = 2  # looks without an answer after which the node's own takes over
_SOON, _LATE = 5.0, 300.0  # seconds until it is tried again: longer each time, up to that
_STEADY = 300.0  # seconds after which what was before counts no more


def answers(address: str, port: int) -> bool:
    """Tell whether a proxy answers there, whatever it says."""
    with suppress(OSError), socket.create_connection((address, port), _SECONDS) as line:
        line.settimeout(_SECONDS)
        line.sendall(b"HEAD / HTTP/1.0\r\n\r\n")
        return line.recv(5) == b"HTTP/"
    return False


class Watch:
    """What is known of the front between two looks."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._id = ""
        self._misses = 0
        self._pause = _SOON
        self._next = 0.0  # when it is tried again
        self._since = 0.0  # when it was, last

    def look(self) -> float | None:
        """Look once, do what is needed, and return the seconds until the next look.

        None where no environment is the front.
        """
        record = self._record()
        if record is None:
            return None
        if record.away:
            self._mend(record)
        elif self._alive(record):
            self._misses = 0
            if time.monotonic() - self._since > _STEADY:
                self._pause = _SOON
        else:
            self._misses += 1
            if self._misses >= _MISSES:
                self._misses = 0
                replica.pass_over(self._node, record.id, "it does not answer")
        return _AGAIN if self._misses else _EVERY

    def _record(self) -> Record | None:
        """Return the record of the front; all are read only where it may be another one."""
        with suppress(CorpusError):
            known = self._node.records.find(self._id) if self._id else None
            if known and known.front:
                return known
        record = replica.active(self._node)
        self._id = record.id if record else ""
        return record

    def _alive(self, record: Record) -> bool:
        return answers(record.address, self._node.settings.http_port)

    def _mend(self, record: Record) -> None:
        """Have the environment run and be the front again, unless somebody works on it."""
        if time.monotonic() < self._next or not record.wanted or record.stage is not Stage.READY:
            return
        try:
            if not self._have_back(record.id):
                return
        except Exception as error:  # who ended here would watch no more
            replica.say(f"the front in {record.name} is not back: {replica.reason(error)}")
        else:
            replica.say(f"the front is in {record.name} again")
        self._since = time.monotonic()
        self._next = self._since + self._pause
        self._pause = min(self._pause * 2, _LATE)

    def _have_back(self, id: str) -> bool:
        with ExitStack() as held:
            try:
                held.enter_context(self._node.lock(id, wait=False))
            except Conflict:
                return False  # somebody works on it
            return lifecycle.have_back(self._node, id)


def watch(node: Node) -> None:
    """Watch until no environment is the front."""
    one = Watch(node)
    while (pause := one.look()) is not None:
        time.sleep(pause)
