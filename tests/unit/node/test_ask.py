"""The socket on which an environment's root asks its node: who may, and what is answered."""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from queue import SimpleQueue
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from corpus.hosts.fake import Fake
from corpus.model.errors import CorpusError
from corpus.node import ask
from corpus.node.context import Node
from corpus.node.environments import guest, sockets
from corpus.node.records import Record
from unit.node import nodes
from unit.node.rooms import GIB, record
from unit.node.rooms import node as node
from unit.node.rooms import used as used


@pytest.fixture
def caller(node: Node, monkeypatch: pytest.MonkeyPatch) -> Iterator[Caller]:
    """A process of this machine in the place of the environment's root."""
    monkeypatch.setattr(guest, "root", lambda settings, record: os.getuid())
    with TemporaryDirectory() as short:  # the path of a socket may have 107 bytes
        made = Caller(Node(replace(node.settings, asks=Path(short)), node.host))
        yield made
        made.close()


class Caller:
    """Listens where systemd does, and answers each connection in a thread."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self.told: SimpleQueue[str] = SimpleQueue()  # what its journal would say
        self.path = guest.asks(node.settings, nodes.ID) / "sock"
        self.path.parent.mkdir()
        self._server = socket.socket(socket.AF_UNIX)
        self._server.bind(str(self.path))
        self._server.listen()
        self._over = False
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            line, _ = self._server.accept()
            if self._over:
                line.close()
                return
            with line:
                self.told.put(ask.answer(self.node, line))

    def say(self, said: bytes, *, end: bool = True) -> dict[str, Any]:
        with socket.socket(socket.AF_UNIX) as line:
            line.connect(str(self.path))
            line.sendall(said)
            if end:
                line.shutdown(socket.SHUT_WR)
            found: dict[str, Any] = json.loads(line.makefile().read())
            return found

    def close(self) -> None:
        self._over = True
        with socket.socket(socket.AF_UNIX) as line:
            line.connect(str(self.path))
        self._thread.join()
        self._server.close()


def test_usage_and_enlarge(caller: Caller) -> None:
    assert caller.say(b'{"ask": "usage"}\n') == {"size": 5 * GIB, "used": GIB, "limit": 20 * GIB}
    asked = json.dumps({"ask": "enlarge", "bytes": 5 * GIB}).encode() + b"\n"
    assert caller.say(asked) == {"size": 10 * GIB}
    caller.told.get(timeout=30)
    assert caller.told.get(timeout=30) == f'{nodes.ID} was told {{"size": {10 * GIB}}}'
    refused = caller.say(json.dumps({"ask": "enlarge", "bytes": 50 * GIB}).encode() + b"\n")
    assert "51G are needed" in refused["error"]
    assert "size_limit" in refused["mend"]


@pytest.mark.parametrize(
    "said",
    [
        b"", b"\n", b"usage\n", b'{"ask": "usage"}', b'{"ask": "usage", "id": "x"}\n', b"[]\n",
        b'{"ask": "enlarge"}\n', b'{"ask": "enlarge", "bytes": -1}\n', b"\xff\n", b"null\n",
        b'{"ask": "enlarge", "bytes": true}\n', b'{"ask": "enlarge", "bytes": 1e9}\n',
        b'{"ask": "enlarge", "bytes": NaN}\n', b'{"ask": "enlarge", "bytes": "5G"}\n',
        b'{"ask": "enlarge", "bytes": 1' + b"0" * 400 + b"}\n", b"[" * 1000 + b"\n",
        b'{"ask": "usage"}\n{"ask": "usage"}\n', b'{"ask": ["usage"]}\n', b"x" * 900 + b"\n",
        b'{"ask": "usage"' + b" " * 1100 + b"}\n", b'{"ask": "destroy"}\n',
        b'{"ask": "usage", "project": ""}\n', b'{"ask": "usage", "project": "../demo"}\n',
        b'{"ask": "project"}\n', b'{"ask": "project", "project": "a/../../b"}\n',
        b'{"ask": "project", "project": ["demo"]}\n', b'{"ask": "project", "project": null}\n',
        b'{"ask": "project", "project": "demo", "bytes": 5}\n', b'{"project": "demo"}\n',
        b'{"ask": "enlarge", "bytes": 5, "project": "root"}\n',
    ],
)  # fmt: skip
def test_hostile_questions_are_refused(caller: Caller, said: bytes) -> None:
    told = caller.say(said)
    assert set(told) == {"error", "mend"}
    assert record(caller.node).limits.size == 5 * GIB


def test_a_question_without_end_is_bounded(caller: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ask, "_SECONDS", 0.3)
    begun = time.monotonic()
    assert caller.say(b'{"ask":', end=False)["error"] == "the question took too long"
    assert time.monotonic() - begun < 20


def test_who_goes_away_does_no_harm(caller: Caller) -> None:
    for said in (b"", b'{"ask": "usage"}\n'):
        with socket.socket(socket.AF_UNIX) as line:
            line.connect(str(caller.path))
            line.sendall(said)
    assert caller.say(b'{"ask": "usage"}\n')["size"] == 5 * GIB


def test_another_user_is_refused(caller: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guest, "root", lambda settings, record: os.getuid() + 1)
    assert "only the environment's root" in caller.say(b'{"ask": "usage"}\n')["error"]


def test_what_breaks_on_the_node_is_for_its_journal(
    caller: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(node: Node, record: Record) -> None:
        raise CorpusError("of no concern to a tenant", "/secret/place")

    monkeypatch.setattr(ask, "room", broken)
    told = caller.say(b'{"ask": "usage"}\n')
    assert told["error"] == "the node could not do it"
    assert "secret" not in json.dumps(told)
    assert "/secret/place" in caller.told.get(timeout=30)


def test_the_socket_comes_with_each_start_and_goes_with_the_environment(node: Node) -> None:
    assert isinstance(node.host, Fake)
    unit = f"corpus-ask@{nodes.ID}.socket"
    place = guest.asks(node.settings, nodes.ID)
    assert (place.stat().st_uid, place.stat().st_gid) == (0, 1_000_000)
    assert place.stat().st_mode & 0o777 == 0o710
    inode = place.stat().st_ino
    started = [a for a in nodes.ran(node.host, "systemctl") if a[-1] == unit]
    assert started[-1][-3] == "start"
    sockets.offer(node, record(node))
    assert place.stat().st_ino == inode
    sockets.withdraw(node, record(node).id)
    assert not place.exists()
    assert next(reversed(nodes.ran(node.host, "systemctl")))[-3:] == ("stop", "--", unit)
