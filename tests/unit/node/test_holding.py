"""What was started at a migration's target does nothing when the source is lost, whatever fails."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace

import pytest

from corpus.hosts.fake import Fake
from corpus.hosts.session import Session
from corpus.model.errors import CommandFailed
from corpus.node import boot
from corpus.node.context import Node
from corpus.node.environments import lifecycle, making, removal
from corpus.node.migration import channel, decisions, frames, guarding, health, leaving, recovery
from corpus.node.migration.arriving import Arrival
from corpus.node.records import Move, Record, Stage, dump
from unit.node import nodes
from unit.node.peered import PEER


@pytest.fixture
def node(tmp_path: Path, host: Fake) -> Node:
    return nodes.make(tmp_path, host)[0]


def restless(host: Fake) -> None:
    """Have no guest come to rest, as with a process that waits for a disk that is gone."""

    def freeze(argv: Sequence[str]) -> str:
        raise CommandFailed(argv, None, "it does not come to rest")

    host.answer("lxc-freeze", freeze)


def arrived(node: Node, id: str = nodes.ID, **values: object) -> Record:
    making.create(node, id=id, wait=0)
    given = {"stage": Stage.ARRIVED, "origin": PEER.name, **values}
    return node.change(id, lambda now: now.changed(**given))


def state(node: Node, id: str = nodes.ID) -> str:
    return lifecycle.state(node, node.records.get(id))[0]


def receive(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have an environment arrive from a peer that is gone as soon as it runs here."""
    boot.prepare(node)
    making.create(node, id=nodes.ID, wait=0)
    record = dump(node.records.get(nodes.ID)).decode()
    removal.destroy(node, nodes.ID)
    monkeypatch.setattr(health, "_answers", lambda node, record: True)
    (come, there), (back, go) = os.pipe(), os.pipe()
    arrival = Arrival(node, PEER, come, go)
    serving = threading.Thread(target=arrival.serve)
    serving.start()
    with os.fdopen(back, "rb") as answers:
        begin = {"record": record, "image": "ab" * 32, "kind": "plain", "bytes": 1}
        start = {"volumes": [], "run": True, "units": [], "ports": []}
        for do, values in (("begin", begin), ("start", start)):
            os.write(there, frames.request(do, values))
            assert b"error" not in answers.readline()
        assert state(node) == "RUNNING"
        os.close(there)
        serving.join(30)
    os.close(come)
    os.close(go)


def test_it_is_frozen_when_the_source_is_lost(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    receive(node, monkeypatch)
    assert (state(node), node.records.get(nodes.ID).stage) == ("FROZEN", Stage.ARRIVED)


def test_what_does_not_come_to_rest_is_killed_and_starts_where_it_is_decided_to_live(
    node: Node, host: Fake, monkeypatch: pytest.MonkeyPatch
) -> None:
    restless(host)
    receive(node, monkeypatch)
    assert (state(node), node.records.get(nodes.ID).stage) == ("STOPPED", Stage.ARRIVED)
    decisions.settle(node, PEER, {"id": nodes.ID, "lives": decisions.HERE})
    assert (state(node), node.records.get(nodes.ID).stage) == ("RUNNING", Stage.READY)


def test_when_the_source_is_lost_while_it_starts_nothing_is_asked_of_it(
    node: Node, host: Fake, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is not there yet when the loss is seen: it is frozen as soon as it is."""
    asked: list[object] = []
    monkeypatch.setattr(health, "wait", lambda *given: asked.append(given))
    come, there = os.pipe()
    arrival = Arrival(node, PEER, come, os.open(os.devnull, os.O_WRONLY))

    def start(node: Node, record: Record) -> None:
        os.close(there)
        assert arrival._reader.lost.wait(30)
        bring_up(node, record)

    bring_up = lifecycle.bring_up
    arrival._record = arrived(node)
    lifecycle.halt(node, arrival._record)
    monkeypatch.setattr(lifecycle, "bring_up", start)
    os.write(there, frames.request("start", {"volumes": [], "run": True, "units": [], "ports": []}))
    arrival.serve()
    os.close(come)
    assert asked == []
    assert state(node) == "FROZEN"


# -- behind a receiver that was killed


def killed(node: Node) -> None:
    """Have a receiver be killed, and what guards it tidy up."""
    assert guarding.guarded(node, PEER, lambda: os.kill(os.getpid(), signal.SIGKILL), ()) != 0


def test_what_a_killed_receiver_left_is_frozen_or_killed(node: Node, host: Fake) -> None:
    arrived(node)
    killed(node)
    assert state(node) == "FROZEN"
    killed(node)
    assert state(node) == "FROZEN"
    lifecycle.let_go(node, node.records.get(nodes.ID))
    restless(host)
    killed(node)
    assert state(node) == "STOPPED"


def test_one_that_is_being_started_is_killed(node: Node, host: Fake) -> None:
    arrived(node)
    host.answer("lxc-info", lambda _: "State: STARTING\nPID: 42\n")
    killed(node)
    assert nodes.ran(host, "lxc-freeze") == []
    assert "--kill" in nodes.ran(host, "lxc-stop")[-1]


def test_one_that_cannot_be_tidied_up_does_not_keep_the_others(node: Node, host: Fake) -> None:
    arrived(node, stage=Stage.CREATING)
    arrived(node, nodes.OTHER)
    host.prepare_failure("lxc-stop", err="stuck")
    killed(node)
    assert node.records.get(nodes.ID).stage is Stage.DESTROYING
    assert state(node, nodes.OTHER) == "FROZEN"


def test_what_another_receiver_is_at_is_left_to_that(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guarding, "_PATIENCE", 0.1)
    arrived(node)
    arrived(node, nodes.OTHER)
    with node.lock(nodes.ID):
        work = threading.Thread(target=killed, args=(node,), daemon=True)
        work.start()
        work.join(30)
        assert not work.is_alive()
        assert (state(node), state(node, nodes.OTHER)) == ("RUNNING", "FROZEN")


def test_who_only_looks_at_one_is_waited_for(node: Node) -> None:
    arrived(node)
    with ExitStack() as held:
        held.enter_context(node.lock(nodes.ID))
        threading.Timer(0.3, held.pop_all().close).start()
        killed(node)
    assert state(node) == "FROZEN"


# -- the source, which waits for that


@pytest.fixture
def waited(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Return the seconds for which it was waited until the target has let go."""
    found: list[float] = []
    monkeypatch.setattr(recovery, "time", SimpleNamespace(sleep=found.append))
    return found


def test_the_whole_lease_is_waited_for_however_long_ago_the_target_was_asked(
    node: Node, waited: list[float]
) -> None:
    move = Move(PEER.name, PEER.address, 80, 22001, asked=True)
    arrived(node, stage=Stage.MOVING, origin="", move=move)
    recovery.recover(node, nodes.ID)  # the target is not reached
    (seconds,) = waited
    assert seconds > frames.LEASE + 2 * lifecycle.REST
    assert state(node) == "RUNNING"


@pytest.mark.parametrize(("asked", "told"), [(False, False), (True, True)])
def test_nothing_is_waited_for_where_nothing_runs_there(
    node: Node, waited: list[float], asked: bool, told: bool
) -> None:
    move = Move(PEER.name, PEER.address, 80, 22001, asked=asked)
    recovery.put_back(node, arrived(node, stage=Stage.MOVING, move=move), told=told)
    assert waited == []


def test_no_sign_of_life_is_sent_while_the_lease_is_waited_for(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The line may carry them one way, and no answer the other way: the lease would not end."""
    session = Session(["sleep", "60"])
    line = channel.Line(PEER, session, 0.1)
    running: list[bool] = []
    look = SimpleNamespace(sleep=lambda _: running.append(session._process.poll() is None))
    monkeypatch.setattr(recovery, "time", look)
    move = Move(PEER.name, PEER.address, 80, 22001, asked=True)
    try:
        leaving._put_back(node, arrived(node, stage=Stage.MOVING, move=move), line)
    finally:
        line.close()
    assert running == [False]
