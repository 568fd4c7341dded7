"""The source's end of the line to another node."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from corpus.hosts import pipeline
from corpus.hosts.session import Session
from corpus.model import errors
from corpus.model.errors import CommandFailed, CorpusError, Lost
from corpus.node.context import Node
from corpus.node.migration import frames, peers
from corpus.node.migration.peers import Peer

_PATIENCE = 900.0  # seconds for one answer: the disk there may have much to write
HELD = 120.0  # those while requests wait here
_SECONDS = 6 * 3600.0  # the longest that one stream may take


class Line:
    """An open line to the node ``peer``. Everything raises Lost when that is gone."""

    def __init__(self, peer: Peer, session: Session, patience: float) -> None:
        self.peer, self.patience = peer, patience
        self._session = session
        self._writing = threading.Lock()
        self._over = threading.Event()
        threading.Thread(target=self._beat, daemon=True).start()

    def _beat(self) -> None:
        while not self._over.wait(frames.BEAT):
            with suppress(CommandFailed), self._writing:
                self._session.write(frames.frame(frames.ALIVE))

    def ask(self, do: str, **values: Any) -> dict[str, Any]:
        """Ask for something and return the answer. Raises Lost, and what is refused there."""
        self._write(frames.request(do, values))
        return self._answer()

    def send(self, do: str, commands: Sequence[Sequence[str]], **values: Any) -> int:
        """Ask, and send what commands print, one after the other; return the bytes of it."""
        self._write(frames.request(do, values))
        sent, failed = 0, None
        nothing = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        try:
            for argv in commands:
                with pipeline.output_of([argv], nothing, timeout=_SECONDS) as output:
                    while data := output.read(frames.CHUNK):
                        self._write(frames.frame(frames.DATA, data))
                        sent += len(data)
        except CommandFailed as error:
            failed = error
        finally:
            os.close(nothing)
        self._write(frames.frame(frames.END))
        self._answer()
        if failed:
            raise failed
        return sent

    def close(self) -> None:
        """Hang up."""
        self._over.set()
        self._session.close()

    def _write(self, data: bytes) -> None:
        try:
            with self._writing:
                self._session.write(data)
        except CommandFailed as error:
            raise self._lost(error) from None

    def _answer(self) -> dict[str, Any]:
        try:
            line = self._session.line(self.patience)
        except CommandFailed as error:
            raise self._lost(error) from None
        try:
            found = json.loads(line)
            if "error" not in found:
                return dict(found)
        except (ValueError, TypeError, RecursionError):
            self.close()
            raise CorpusError(f"the node {self.peer.name} answers nonsense") from None
        raise _refused(self.peer.name, found)

    def _lost(self, error: CommandFailed) -> Lost:
        self.close()  # what came late would be taken for the answer to what is asked next
        said = error.output.strip() or "the line is cut"
        return Lost(
            f"the node {self.peer.name} is not reached: {said[-500:]}",
            f"{self.peer.address}:{self.peer.port}",
            "see whether it runs, and whether it knows this node (corpus_node.peers there)",
        )


def _refused(name: str, found: dict[str, Any]) -> CorpusError:
    """Return the error of ours that the other node raised."""
    kind = getattr(errors, str(found["error"]), CorpusError)
    if not isinstance(kind, type) or not issubclass(kind, CorpusError) or kind is CommandFailed:
        kind = CorpusError
    return kind(f"{name}: {found.get('what')}", found.get("where"), found.get("mend"))


@contextmanager
def opened(node: Node, peer: Peer, patience: float = _PATIENCE) -> Iterator[Line]:
    """Give an open line to a peer, who has ``patience`` seconds for an answer. Raises Lost."""
    line = Line(peer, Session(peers.ask(node, peer, "receive")), patience)
    try:
        line.ask("hello")
        yield line
    finally:
        line.close()
