"""Room for a deployment, with a node that is honest, away, slow, a liar or mad."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from corpus.model.errors import DeploymentRefused
from corpus.project import layout, room, trees
from corpus.project.place import Project
from projects import place_at

GIB = 1 << 30
Reply = Callable[[bytes, socket.socket], None]


class Node:
    """A Unix socket that answers as it is told."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.asked: list[Any] = []
        self.reply: Reply = lambda question, line: None
        self._over = threading.Event()
        self._lines: list[socket.socket] = []
        self._server = socket.socket(socket.AF_UNIX)
        self._server.bind(str(path))
        self._server.listen(8)
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while not self._over.is_set():
            try:
                line, _ = self._server.accept()
            except OSError:
                return
            self._lines.append(line)
            question = line.makefile("rb").readline()
            self.asked.append(json.loads(question) if question else None)
            try:
                self.reply(question, line)
            except OSError:
                continue

    def close(self) -> None:
        self._over.set()
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        for line in self._lines:
            line.close()


@pytest.fixture
def project(tmp_path: Path) -> Project:
    found = Project.at(place_at(tmp_path), "demo")
    found.paths.root.mkdir(parents=True)
    return found


@pytest.fixture
def node(project: Project) -> Iterator[Node]:
    project.place.node_socket.parent.mkdir()
    made = Node(project.place.node_socket)
    yield made
    made.close()


@pytest.fixture(autouse=True)
def disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk of which 100 GiB are free."""
    monkeypatch.setattr(trees, "free_bytes", lambda path: 100 * GIB)


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Less patience."""
    monkeypatch.setattr(room, "SECONDS", 0.6)


def say(value: object) -> Reply:
    def reply(_question: bytes, line: socket.socket) -> None:
        line.sendall(value if isinstance(value, bytes) else json.dumps(value).encode() + b"\n")
        line.close()

    return reply


def account(size: int, used: int, limit: int) -> Reply:
    """Be a node that keeps its word."""
    has = {"size": size}

    def reply(question: bytes, line: socket.socket) -> None:
        given = json.loads(question)
        if given["ask"] == "enlarge":
            while has["size"] - used < given["bytes"]:
                has["size"] += 5 * GIB
            say({"size": has["size"]} if has["size"] <= limit else {"error": "enough is enough"})(
                question, line
            )
        else:
            say({"size": has["size"], "used": used, "limit": limit})(question, line)

    return reply


def test_without_a_node_the_disk_alone_counts(project: Project) -> None:
    assert room.free(project) == 100 * GIB
    room.ensure(project, 100 * GIB, pytest.fail)
    with pytest.raises(DeploymentRefused, match="100G are free and this deployment needs 101G"):
        room.ensure(project, 101 * GIB, pytest.fail)


def test_free_is_what_quota_and_disk_both_leave(
    project: Project, node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    node.reply = account(5 * GIB, 2 * GIB, 20 * GIB)
    assert room.free(project) == 3 * GIB
    node.reply = account(5 * GIB, 6 * GIB, 20 * GIB)
    assert room.free(project) == 0
    monkeypatch.setattr(trees, "free_bytes", lambda path: GIB)
    node.reply = account(5 * GIB, 2 * GIB, 20 * GIB)
    assert room.free(project) == GIB


def test_where_no_sizes_are_enforced_the_disk_counts(project: Project, node: Node) -> None:
    node.reply = say({"size": 5 * GIB, "used": None, "limit": 20 * GIB})
    assert room.free(project) == 100 * GIB
    room.ensure(project, 50 * GIB, pytest.fail)


def test_with_room_nothing_is_asked_for(project: Project, node: Node) -> None:
    node.reply = account(5 * GIB, 0, 20 * GIB)
    room.ensure(project, 5 * GIB, pytest.fail)
    assert node.asked == [{"ask": "usage", "project": "demo"}]


def test_a_small_environment_is_enlarged_and_people_are_told(project: Project, node: Node) -> None:
    node.reply = account(5 * GIB, GIB, 20 * GIB)
    told: list[str] = []
    room.ensure(project, 5 * GIB, told.append)
    assert told == ["5G asked of the node: the project may now use 10G"]
    assert {"ask": "enlarge", "bytes": 5 * GIB, "project": "demo"} in node.asked


def test_what_would_be_asked_for_is_told_and_not_asked(project: Project, node: Node) -> None:
    node.reply = account(5 * GIB, GIB, 20 * GIB)
    told: list[str] = []
    room.foresee(project, 4 * GIB, told.append)
    assert told == []
    room.foresee(project, 6 * GIB, told.append)
    assert told == ["2G more would be asked of the node"]
    with pytest.raises(DeploymentRefused, match="4G are free and this deployment needs 20G"):
        room.foresee(project, 20 * GIB, told.append)
    assert {question["ask"] for question in node.asked} == {"usage"}


def test_a_disk_that_no_node_can_enlarge_is_foreseen(project: Project, node: Node) -> None:
    node.reply = say({"size": 5 * GIB, "used": None, "limit": 20 * GIB})
    room.foresee(project, 100 * GIB, pytest.fail)
    with pytest.raises(DeploymentRefused, match="100G are free and this deployment needs 101G"):
        room.foresee(project, 101 * GIB, pytest.fail)


def test_what_the_node_refuses_is_refused_with_its_words(project: Project, node: Node) -> None:
    node.reply = account(5 * GIB, GIB, 8 * GIB)
    with pytest.raises(DeploymentRefused, match="the node refuses: enough is enough"):
        room.ensure(project, 5 * GIB, pytest.fail)


def test_a_full_disk_is_not_asked_about(
    project: Project, node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trees, "free_bytes", lambda path: GIB)
    node.reply = account(5 * GIB, 0, 20 * GIB)
    with pytest.raises(DeploymentRefused, match="1G are free"):
        room.ensure(project, 2 * GIB, pytest.fail)
    assert node.asked == [{"ask": "usage", "project": "demo"}]


def test_a_node_that_promises_and_does_not_keep_it(project: Project, node: Node) -> None:
    def reply(question: bytes, line: socket.socket) -> None:
        larger = json.loads(question)["ask"] == "enlarge"
        has = {"size": 5 * GIB, "used": 0, "limit": 20 * GIB}
        say({"size": 10 * GIB} if larger else has)(question, line)

    node.reply = reply
    with pytest.raises(DeploymentRefused, match="5G are free and this deployment needs 6G"):
        room.ensure(project, 6 * GIB, lambda line: None)


@pytest.mark.parametrize(
    "answer",
    [
        b"", b"\n", b"rubbish\n", b"{}\n", b"[]\n", b"null\n", b'{"size": 5}\n', b"\xff\xfe\n",
        b'{"size": "5G", "used": 0}\n', b'{"size": true, "used": 0}\n',
        b'{"size": -1, "used": 0}\n', b'{"size": 5, "used": -5}\n', b'{"size": 1e30, "used": 0}\n',
        b'{"size": NaN, "used": 0}\n', b'{"size": 5, "used": 1' + b"0" * 30 + b"}\n",
        b'{"size": 5, "used": 0}', b"[" * 4000 + b"\n", b"x" * 100_000 + b"\n",
        b'{"error": {"a": "\\u001b[2J"}}\n',
    ],
)  # fmt: skip
def test_a_mad_answer_is_a_clean_refusal(project: Project, node: Node, answer: bytes) -> None:
    node.reply = say(answer)
    for call in (lambda: room.free(project), lambda: room.ensure(project, 1, pytest.fail)):
        with pytest.raises(DeploymentRefused) as refused:
            call()
        assert str(refused.value).replace("\n", "").isprintable()
        assert len(str(refused.value)) < 1000


@pytest.mark.usefixtures("soon")
def test_a_silent_and_a_slow_node_are_bounded(project: Project, node: Node) -> None:
    def slowly(_question: bytes, line: socket.socket) -> None:
        for letter in b'{"size": 5, "used": 0, "limit": 5}':
            line.sendall(bytes([letter]))
            time.sleep(0.4)

    for reply in (lambda question, line: None, slowly):
        node.reply = reply
        begun = time.monotonic()
        with pytest.raises(DeploymentRefused, match="does not say how much room there is"):
            room.ensure(project, 1, pytest.fail)
        assert 0.5 < time.monotonic() - begun < 10


@pytest.mark.usefixtures("soon")
def test_a_node_that_is_away(project: Project) -> None:
    folder = project.place.node_socket.parent
    folder.mkdir()
    with pytest.raises(DeploymentRefused, match="No such file") as refused:
        room.ensure(project, 1, pytest.fail)
    assert "corpus_node.start" in str(refused.value)
    dead = socket.socket(socket.AF_UNIX)
    dead.bind(str(project.place.node_socket))
    with pytest.raises(DeploymentRefused, match="refused"):
        room.ensure(project, 1, pytest.fail)
    dead.listen(0)
    begun = time.monotonic()
    waiting = [socket.socket(socket.AF_UNIX) for _ in range(3)]
    for one in waiting:
        one.setblocking(False)
        one.connect_ex(str(project.place.node_socket))
    with pytest.raises(DeploymentRefused):
        room.ensure(project, 1, pytest.fail)
    assert time.monotonic() - begun < 10
    for one in (dead, *waiting):
        one.close()


# -- a volume of its own


def test_the_node_is_asked_for_a_volume_when_a_project_is_new(project: Project, node: Node) -> None:
    def made(_question: bytes, line: socket.socket) -> None:
        project.paths.root.mkdir()
        say({"made": True})(_question, line)

    project.paths.root.rmdir()
    node.reply = made
    assert f"volume {project.paths.root}" in layout.initialise(project)
    assert node.asked == [{"ask": "project", "project": "demo"}]
    assert layout.initialise(project) == []
    assert len(node.asked) == 1


@pytest.mark.parametrize(
    "answer", [b"", b"rubbish\n", b'{"made": false}\n', b'{"made": 1}\n', b'{"error": "no"}\n']
)
def test_without_one_it_has_a_plain_directory(project: Project, node: Node, answer: bytes) -> None:
    project.paths.root.rmdir()
    node.reply = say(answer)
    made = layout.initialise(project)
    assert not any(text.startswith("volume") for text in made)
    assert project.paths.data.is_dir()


def test_where_the_node_is_away_it_has_a_plain_directory(project: Project) -> None:
    assert room.own_volume(project) is False
    project.place.node_socket.parent.mkdir()
    assert room.own_volume(project) is False
