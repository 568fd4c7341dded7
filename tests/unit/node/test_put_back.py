"""A migration that fails late: one of the nodes cannot write, or cannot undo what it did."""

from __future__ import annotations

import errno
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NoReturn

import pytest

from corpus.hosts import kernel
from corpus.model.errors import CorpusError, Lost
from corpus.node.context import Node
from corpus.node.environments import guest, removal
from corpus.node.migration import channel, decisions, health, leaving, peers, recovery
from corpus.node.migration.arriving import Arrival
from corpus.node.recorded import Records
from corpus.node.records import Record, Stage
from linked import BARRIER
from unit.node import between
from unit.node.between import ID, Bench, both, state
from unit.node.between import bench as bench
from unit.node.killing import put_back


@pytest.fixture
def folder(bench: Bench) -> Path:
    """Return the folder of two nodes, of which the first has an environment."""
    put_back(bench.start, bench.folder)
    return bench.folder


def unwell(*_: object) -> NoReturn:
    raise CorpusError("what ran before does not")


def is_target(node: Node) -> bool:
    return node.settings.prefix.parent.name == "node2"


@pytest.mark.parametrize("begun", [False, True], ids=["not written down", "half-way"])
def test_what_the_target_cannot_remove_is_frozen_there_and_runs_here(
    folder: Path, monkeypatch: pytest.MonkeyPatch, begun: bool
) -> None:
    one, two = both(folder)
    monkeypatch.setattr(health, "wait", unwell)
    remove, slept = removal.remove, []

    def failing(node: Node, record: Record) -> None:
        if is_target(node) and record.stage is not Stage.CREATING:
            if begun:
                node.records.save(record.changed(stage=Stage.DESTROYING))
            raise OSError(errno.ENOSPC, "No space left on device")
        remove(node, record)

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        deadline = time.monotonic() + 20
        while state(two) != "FROZEN" and time.monotonic() < deadline:
            time.sleep(0.01)

    monkeypatch.setattr(removal, "remove", failing)
    monkeypatch.setattr(recovery, "time", SimpleNamespace(sleep=sleep))
    with BARRIER, pytest.raises(CorpusError, match="what ran before does not"):
        leaving.migrate(one, ID, "node2")
    assert len(slept) == 1
    assert one.records.get(ID).stage is Stage.READY
    assert (state(one), state(two)) == ("RUNNING", "FROZEN")


def test_a_target_that_does_not_come_to_an_end_is_not_waited_for_while_requests_wait(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = both(folder)

    def wait(_: Node, __: Record, ___: health.Survey, lost: Callable[[], bool]) -> None:
        while not lost():
            time.sleep(0.01)
        unwell()

    monkeypatch.setattr(health, "wait", wait)
    monkeypatch.setattr(channel, "HELD", 2.0)
    with BARRIER, pytest.raises(Lost):
        leaving.migrate(one, ID, "node2")
    assert state(one) == "RUNNING"
    assert two.records.find(ID) is None


def test_what_failed_once_it_was_written_down_to_have_moved_runs_here(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = both(folder)
    save, said = Records.save, []

    def failing(self: Records, record: Record) -> None:
        save(self, record)
        if record.stage is Stage.MOVED:
            between.Link.cut = True
            raise OSError(errno.EIO, "Input/output error")

    def sleep(_: float) -> None:
        said.append(decisions.whose(one, peers.find(one, "node2"), {"id": ID})["lives"])

    monkeypatch.setattr(Records, "save", failing)
    monkeypatch.setattr(channel.Line, "ask", until_cut(channel.Line.ask))
    monkeypatch.setattr(recovery, "time", SimpleNamespace(sleep=sleep))
    monkeypatch.setattr(between.Link, "cut", False)
    with BARRIER, pytest.raises(OSError, match="Input/output"):
        leaving.migrate(one, ID, "node2")
    assert said == [decisions.OPEN]
    assert one.records.get(ID).stage is Stage.READY
    assert (state(one), state(two)) == ("RUNNING", "FROZEN")


def until_cut(ask: Callable[..., Any]) -> Callable[..., Any]:
    """Return what asks until the link is cut."""

    def asked(line: channel.Line, do: str, **values: Any) -> Any:
        if between.Link.cut:
            line.close()
            raise Lost("it is cut")
        return ask(line, do, **values)

    return asked


def test_what_arrives_is_on_the_disk_before_it_is_written_down_that_it_has(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = both(folder)
    sync, synced = kernel.sync, folder / "synced"

    def noted(place: Path) -> None:
        if place == guest.home(two.settings, ID):
            with synced.open("a") as file:
                file.write(f"{two.records.get(ID).stage}\n")
        sync(place)

    monkeypatch.setattr(kernel, "sync", noted)
    with BARRIER:
        done = leaving.migrate(one, ID, "node2")
    # After each pass while it runs, and when all of it is there.
    assert synced.read_text().split() == ["creating"] * len(done["passes"])


@pytest.mark.parametrize("port", [0, 65536, "1 : 10.0.0.1", None, True])
def test_a_target_whose_ports_are_none_is_sent_nothing(
    folder: Path, monkeypatch: pytest.MonkeyPatch, port: object
) -> None:
    one, two = both(folder)
    begin = Arrival._begin

    def lying(self: Arrival, asked: dict[str, Any]) -> dict[str, Any]:
        return {**begin(self, asked), "ssh_port": port}

    monkeypatch.setattr(Arrival, "_begin", lying)
    with BARRIER, pytest.raises(CorpusError, match="nonsense: ssh_port"):
        leaving.migrate(one, ID, "node2")
    assert one.records.get(ID).stage is Stage.READY
    assert two.records.find(ID) is None
