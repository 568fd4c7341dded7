"""The front in an environment is watched: passed over when it is away, and had back."""

from __future__ import annotations

import socket
import threading
from itertools import pairwise
from pathlib import Path

import pytest

from corpus.hosts.fake import Fake
from corpus.model.errors import CommandFailed, Conflict
from corpus.node import watching
from corpus.node.__main__ import main
from corpus.node.context import Node
from corpus.node.environments import lifecycle
from corpus.node.proxy import front, replica
from unit.node import nodes


class Clock:
    """Seconds that pass when a test says so; and whether the front answers."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.answers = True

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(watching, "time", clock)
    monkeypatch.setattr(watching, "answers", lambda address, port: clock.answers)
    return clock


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return nodes.with_front(tmp_path)


def test_a_move_has_it_watched_and_a_move_back_ends_that(node: Node, clock: Clock) -> None:
    assert isinstance(node.host, Fake)
    units = [command[-1] for command in nodes.ran(node.host, "systemctl")]
    assert "corpus-front.service" in units
    assert watching.Watch(node).look() == 1.0
    front.move(node, "node")
    watching.watch(node)


def test_one_miss_is_none_and_two_are_enough(node: Node, clock: Clock) -> None:
    watch = watching.Watch(node)
    clock.answers = False
    watch.look()
    clock.answers = True
    watch.look()
    clock.answers = False
    assert watch.look() == 0.2
    assert nodes.led(node)
    assert watch.look() == 1.0
    assert not nodes.led(node)
    assert node.records.get(nodes.OTHER).away == "it does not answer"


def test_one_that_has_powered_itself_off_is_started_and_is_the_front_again(
    node: Node, clock: Clock
) -> None:
    assert isinstance(node.host, Fake)
    host = node.host
    since = len(host.calls)

    def info(argv: object) -> str:
        runs = any("lxc-start" in call.argv for call in host.calls[since:])
        return "State: RUNNING\nPID: 42\n" if runs else "State: STOPPED\n"

    host.answer("lxc-info", info)
    watch = watching.Watch(node)
    clock.answers = False
    for _ in range(2):
        watch.look()
    assert not nodes.led(node)
    watch.look()
    assert nodes.led(node)
    assert node.records.get(nodes.OTHER).away == ""


def test_what_fails_is_tried_again_later_each_time(node: Node, clock: Clock) -> None:
    assert isinstance(node.host, Fake)
    watch = watching.Watch(node)
    clock.answers = False
    for _ in range(2):
        watch.look()

    def broken(argv: object) -> str:
        raise CommandFailed(["lxc-attach"], None, "")

    node.host.answer("lxc-attach", broken)
    tries: list[float] = []
    for _ in range(100):
        before = len(node.host.calls)
        watch.look()
        if len(node.host.calls) > before:
            tries.append(clock.now)
        clock.now += 1
    assert [round(b - a) for a, b in pairwise(tries)] == [5, 10, 20, 40]
    host = node.host
    host.answer("lxc-attach", lambda argv: nodes.attached(host, argv))
    clock.now += 300
    watch.look()
    assert nodes.led(node)


@pytest.mark.parametrize("error", [OSError("no room \ud800"), Conflict("no room: it does not run")])
def test_whatever_goes_wrong_when_it_is_had_back_it_is_watched_on(
    node: Node,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    error: Exception,
) -> None:
    replica.pass_over(node, nodes.OTHER, "it does not answer")
    tries: list[float] = []

    def trip(node: Node, record: object) -> None:
        tries.append(clock.now)
        raise error

    monkeypatch.setattr(lifecycle, "bring_up", trip)
    watch = watching.Watch(node)
    for _ in range(20):
        assert watch.look() == 1.0
        clock.now += 1
    assert [round(b - a) for a, b in pairwise(tries)] == [5, 10]
    said = capfd.readouterr().err
    assert "is not back: " in said
    assert "no room" in said


def test_one_that_is_stopped_or_frozen_or_worked_on_is_left(node: Node, clock: Clock) -> None:
    assert isinstance(node.host, Fake)
    watch = watching.Watch(node)
    lifecycle.stop(node, nodes.OTHER)
    assert node.records.get(nodes.OTHER).away == "it is being stopped"
    before = len(node.host.calls)
    watch.look()
    assert len(node.host.calls) == before
    lifecycle.start(node, nodes.OTHER)
    lifecycle.freeze(node, nodes.OTHER)
    clock.answers = False
    for _ in range(4):
        watch.look()
    assert not nodes.led(node)
    with node.lock(nodes.OTHER):
        clock.now += 1000
        watch.look()
    lifecycle.thaw(node, nodes.OTHER)
    watch.look()
    assert nodes.led(node)


def test_who_answers_speaks_http(monkeypatch: pytest.MonkeyPatch) -> None:
    for said, alive in ((b"HTTP/1.0 404 Not Found\r\n\r\n", True), (b"SSH-2.0-x\r\n", False),
                        (b"", False), (None, False)):  # fmt: skip
        monkeypatch.setattr(watching, "_SECONDS", 0.2 if said is None else 20.0)
        with socket.create_server(("127.0.0.1", 0)) as server:

            def answer(server: socket.socket = server, said: bytes | None = said) -> None:
                line, _ = server.accept()
                with line:
                    line.recv(100)
                    if said is None:
                        line.recv(100)
                    else:
                        line.sendall(said)

            beside = threading.Thread(target=answer)
            beside.start()
            port = server.getsockname()[1]
            assert watching.answers("127.0.0.1", port) is alive
            beside.join()
    assert watching.answers("127.0.0.1", port) is False


def test_where_no_environment_is_the_front_there_is_nothing_to_watch(tmp_path: Path) -> None:
    file = tmp_path / "node.toml"
    file.write_text(f'prefix = "{tmp_path}"\n')
    assert main(["--settings", str(file), "watch"]) == 0
