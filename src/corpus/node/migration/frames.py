"""How two nodes talk: frames of a kind, a length and content, over the line of one SSH session.

The source asks (``J``, one JSON object), may send a stream (``D``, ended by ``E``), and shows
that it lives (``A``) at any time. The target answers with one line of JSON to each request.
"""

from __future__ import annotations

import json
import os
import queue
import selectors
import threading
from collections.abc import Callable, Iterator
from typing import Any

from corpus.model.errors import CorpusError, Lost

JSON, DATA, END, ALIVE = b"J", b"D", b"E", b"A"
LEASE = 10.0  # seconds without a frame after which the target counts the source as lost
BEAT = 1.0  # seconds between two signs of life
CHUNK = 1 << 18
_HEAD = 5
_LARGEST = 1 << 22


def frame(kind: bytes, content: bytes = b"") -> bytes:
    """Return one frame."""
    return kind + len(content).to_bytes(4, "big") + content


def request(do: str, values: dict[str, Any]) -> bytes:
    """Return the frame that asks for something."""
    return frame(JSON, json.dumps({**values, "do": do}).encode())


class Reader:
    """The frames that come in at a descriptor, read by a thread of its own.

    So the loss of the other side is seen at once, whatever is being done: ``lost`` is set and
    ``on_loss`` is called.
    """

    def __init__(self, handle: int, on_loss: Callable[[], None], lease: float = LEASE) -> None:
        self.lost = threading.Event()
        self._handle, self._lease, self._on_loss = handle, lease, on_loss
        self._frames: queue.Queue[tuple[bytes, bytes]] = queue.Queue(maxsize=32)
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        try:
            while True:
                head = self._exactly(_HEAD)
                size = int.from_bytes(head[1:], "big")
                if size > _LARGEST:
                    break
                content = self._exactly(size)
                if head[:1] != ALIVE:
                    self._frames.put((head[:1], content))
        except (OSError, EOFError):
            pass
        self.lost.set()
        self._on_loss()
        self._frames.put((b"", b""))

    def _exactly(self, size: int) -> bytes:
        found = bytearray()
        with selectors.DefaultSelector() as selector:
            selector.register(self._handle, selectors.EVENT_READ)
            while len(found) < size:
                if not selector.select(self._lease):
                    raise EOFError
                data = os.read(self._handle, min(1 << 16, size - len(found)))
                if not data:
                    raise EOFError
                found += data
        return bytes(found)

    def next(self) -> tuple[bytes, bytes]:
        """Return the next frame's kind and content. Raises Lost."""
        kind, content = self._frames.get()
        if not kind:
            self._frames.put((b"", b""))
            raise Lost("the other node is gone")
        return kind, content

    def asked(self) -> dict[str, Any]:
        """Return the next request. Raises Lost, CorpusError for what is none."""
        kind, content = self.next()
        try:
            found = json.loads(content) if kind == JSON else None
        except (ValueError, RecursionError):
            found = None
        if not isinstance(found, dict) or not isinstance(found.get("do"), str):
            raise CorpusError("not a request of another node")
        return found

    def stream(self) -> Iterator[bytes]:
        """Give the pieces of a stream. Raises Lost."""
        while True:
            kind, content = self.next()
            if kind == END:
                return
            if kind != DATA:
                raise CorpusError("not a stream of another node")
            yield content
