"""A deployment is the service's where one runs, ours where none does."""

from __future__ import annotations

import contextlib
import socket
from typing import Any

import pytest

from corpus.model.errors import CorpusError
from corpus.project import asking, deployment, githook
from corpus.project.deployment import Ending, Request
from projects import BRANCH, Phases, Scratch, copy_to_run, fail, in_child
from serving import serving


def ask(scratch: Scratch, commit: str, **phases: Any) -> tuple[Ending, list[str]]:
    lines: list[str] = []

    def work() -> tuple[Ending, list[str]]:
        ending = asking.deploy(
            scratch.project,
            Request(BRANCH, commit, "us"),
            Phases(None, **phases),
            lines.append,
            scratch.fire,
            deployment.new_id(),
        )
        return ending, lines

    return in_child(work)


def test_by_the_service(scratch: Scratch) -> None:
    commit = scratch.commit({".salt/top.sls": ""})
    with serving(scratch, Phases(build=copy_to_run)):
        assert asking.answers(scratch.place)
        ending, lines = ask(scratch, commit, build=fail)
    assert ending.outcome == "live", ending.error
    assert (ending.id, lines) == (scratch.ledger[-1].id, [])
    assert scratch.ledger[-1].by == "root"


def test_here_where_no_service_is(scratch: Scratch) -> None:
    commit = scratch.commit({".salt/top.sls": ""})
    assert not asking.answers(scratch.place)
    ending, lines = ask(scratch, commit, build=copy_to_run)
    assert ending.outcome == "live", ending.error
    assert "-----> build" in lines
    assert scratch.ledger[-1].by == "us"
    assert [tag for tag, _data in scratch.events] == ["corpus/deployment/demo/live"]


def test_here_where_only_a_socket_is_left(scratch: Scratch) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as left:
        left.bind(str(scratch.place.socket))
    assert not asking.answers(scratch.place)


def test_a_service_that_does_not_come_back(
    scratch: Scratch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asking, "answers", lambda _place: True)
    monkeypatch.setattr(githook, "PATIENCE", 0.2)
    with pytest.raises(CorpusError, match="the deploy service does not answer"):
        asking.deploy(
            scratch.project,
            Request(BRANCH, "1" * 40),
            Phases(),
            print,
            scratch.fire,
            deployment.new_id(),
        )
    assert scratch.ledger == []


def test_a_service_that_is_busy_is_one(scratch: Scratch) -> None:
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
        listener.bind(str(scratch.place.socket))
        listener.listen(0)
        waiting = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
        waiting.connect(str(scratch.place.socket))
        assert asking.answers(scratch.place)
