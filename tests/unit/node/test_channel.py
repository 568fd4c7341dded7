"""The source's end of the line: what it waits for, and what it does not."""

from __future__ import annotations

import sys

import pytest

from corpus.hosts.session import Session
from corpus.model.errors import CorpusError, Lost
from corpus.node.context import Node
from corpus.node.migration import channel, peers
from corpus.node.migration.channel import Line
from unit.node.peered import PEER
from unit.node.peered import node as node

LATE = "import time; print('{}', flush=True); time.sleep(0.6); print('{\"late\": 1}', flush=True)"


def talks(said: str, patience: float = 20) -> Line:
    return Line(PEER, Session([sys.executable, "-c", said]), patience)


def test_what_is_answered_late_is_no_answer_to_what_is_asked_next() -> None:
    line = talks(LATE)
    assert line.ask("hello") == {}
    line.patience = 0.1
    with pytest.raises(Lost):
        line.ask("start")
    line.patience = 20
    with pytest.raises(Lost):
        line.ask("abort")
    line.close()


@pytest.mark.parametrize("said", ["'nonsense'", "'[' * 50_000"])
def test_who_answers_nonsense_is_not_asked_again(said: str) -> None:
    line = talks(f"print({said}, flush=True); print('{{}}', flush=True); input()")
    with pytest.raises(CorpusError, match="nonsense"):
        line.ask("hello")
    with pytest.raises(Lost):
        line.ask("abort")
    line.close()


def test_who_does_not_greet_is_not_waited_for(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peers, "ask", lambda *_: ["sleep", "60"])
    with pytest.raises(Lost), channel.opened(node, PEER, 0.05):
        pass


def test_what_a_peer_says_as_an_error_is_bounded(node: Node) -> None:
    assert peers.ask(node, PEER, "receive")[:2] == ["prlimit", f"--fsize={16 << 20}"]
