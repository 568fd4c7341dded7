"""The hook's two protocols, driven by a real ``git push`` against a fake service."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from corpus.project import repository
from projects import BRANCH, GIT, Scratch, git

Script = Callable[[dict[str, Any], Callable[..., None]], None]


class FakeService:
    """A service that answers each connection by the next of its scripts, the last for ever."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.requests: list[dict[str, Any]] = []
        self.scripts: list[Script] = []
        self._open()

    def _open(self) -> None:
        self.path.unlink(missing_ok=True)
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.listener.bind(str(self.path))
        self.listener.listen()
        threading.Thread(target=self._serve, args=(self.listener,), daemon=True).start()

    def _serve(self, listener: socket.socket) -> None:
        while True:
            try:
                line, _ = listener.accept()
            except OSError:
                return
            with line, line.makefile("r") as file:
                asked = json.loads(file.readline())
                self.requests.append(asked)
                script = self.scripts.pop(0) if len(self.scripts) > 1 else self.scripts[0]

                def say(line: socket.socket = line, **message: str) -> None:
                    line.sendall(json.dumps(message).encode() + b"\n")

                script(asked, say)

    def close(self) -> None:
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.path.unlink(missing_ok=True)


@pytest.fixture
def service(scratch: Scratch) -> Iterator[FakeService]:
    service = FakeService(scratch.place.socket)
    yield service
    service.close()


def live(asked: dict[str, Any], say: Callable[..., None]) -> None:
    say(id="20260101T000000-x")
    say(log="-----> build")
    say(log="       café ☕")
    say(outcome="live", error="")


def failing(outcome: str) -> Script:
    def script(_asked: dict[str, Any], say: Callable[..., None]) -> None:
        say(log=" !     it failed")
        say(outcome=outcome, error="it failed")

    return script


def hang_up(_asked: dict[str, Any], say: Callable[..., None]) -> None:
    say(id="20260101T000000-x")
    say(log="-----> build")


def push(scratch: Scratch, *refs: str) -> subprocess.CompletedProcess[str]:
    return git("-C", scratch.work, "push", scratch.paths.project_git, *refs, check=False)


def tip(scratch: Scratch, branch: str = BRANCH) -> str | None:
    return repository.branch_tip(scratch.project, scratch.paths.project_git, branch)


def test_a_push_that_goes_live(scratch: Scratch, service: FakeService) -> None:
    new = scratch.commit({"a": "1"})

    def moving(asked: dict[str, Any], say: Callable[..., None]) -> None:
        repository.move_branch(scratch.project, asked["ref"], asked["new"])
        live(asked, say)

    service.scripts = [moving]
    done = push(scratch, "HEAD:master")
    assert done.returncode == 0, done.stderr
    assert "remote: -----> build" in done.stderr
    assert "café ☕" in done.stderr
    assert service.requests == [{"project": "demo", "ref": BRANCH, "old": "0" * 40, "new": new}]
    assert tip(scratch) == new
    assert "Everything up-to-date" in push(scratch, "HEAD:master").stderr


@pytest.mark.parametrize("outcome", ["refused", "rolled_back", "rollback_failed"])
def test_a_push_that_fails(scratch: Scratch, service: FakeService, outcome: str) -> None:
    scratch.commit({"a": "1"})
    service.scripts = [failing(outcome)]
    done = push(scratch, "HEAD:master")
    assert done.returncode == 1
    assert "remote:  !     it failed" in done.stderr
    assert f"[remote rejected] HEAD -> master ({outcome.replace('_', ' ')})" in done.stderr
    assert tip(scratch) is None


def test_other_branches_are_stored_and_do_not_deploy(
    scratch: Scratch, service: FakeService
) -> None:
    new = scratch.commit({"a": "1"})
    done = push(scratch, "HEAD:feature", "HEAD:refs/tags/v1", "HEAD:masters")
    assert done.returncode == 0, done.stderr
    assert service.requests == []
    assert tip(scratch, "refs/heads/feature") == new


def test_two_refs_at_once_have_an_answer_each(scratch: Scratch, service: FakeService) -> None:
    scratch.commit({"a": "1"})
    service.scripts = [failing("refused"), live]
    done = push(scratch, "HEAD:main", "HEAD:master", "HEAD:other")
    assert done.returncode == 1
    assert len(service.requests) == 2
    assert "[remote rejected] HEAD -> main (refused)" in done.stderr
    assert "HEAD -> master" in done.stderr
    assert "[new branch]      HEAD -> other" in done.stderr


def test_the_deploy_branch_is_not_deleted(scratch: Scratch, service: FakeService) -> None:
    new = scratch.commit({"a": "1"})
    repository.move_branch(scratch.project, BRANCH, new)
    done = push(scratch, ":master")
    assert done.returncode == 1
    assert "the deploy branch is not deleted" in done.stderr or "denied" in done.stderr
    assert service.requests == []
    assert tip(scratch) == new


def test_a_service_that_restarts_is_asked_again(scratch: Scratch, service: FakeService) -> None:
    scratch.commit({"a": "1"})
    service.scripts = [hang_up, live]
    done = push(scratch, "HEAD:master")
    assert done.returncode == 0, done.stderr
    assert "attach" not in service.requests[0]
    assert service.requests[1]["attach"] == "20260101T000000-x"
    assert done.stderr.count("waiting for it to come back") == 1


def test_a_service_that_comes_late(scratch: Scratch, service: FakeService) -> None:
    scratch.commit({"a": "1"})
    service.close()
    service.scripts = [live]
    argv = ["git", "-C", str(scratch.work), "push", str(scratch.paths.project_git), "HEAD:master"]
    said = ""
    with subprocess.Popen(
        argv, env={**os.environ, **GIT}, stderr=subprocess.PIPE, text=True
    ) as pushing:
        assert pushing.stderr is not None
        for line in pushing.stderr:
            said += line
            if "waiting for it to come back" in line:
                service._open()
    assert pushing.returncode == 0, said
    assert said.count("waiting for it to come back") == 1


def test_a_service_that_never_comes(scratch: Scratch, service: FakeService) -> None:
    scratch.commit({"a": "1"})
    service.close()
    hook = scratch.paths.project_git / "hooks" / "proc-receive"
    hook.write_text(hook.read_text().replace("PATIENCE = 60.0", "PATIENCE = 0.3"))
    done = push(scratch, "HEAD:master")
    assert done.returncode == 1
    assert "(unknown)" in done.stderr
    assert tip(scratch) is None
    service._open()


def test_a_forced_push_of_another_history_asks_all_the_same(
    scratch: Scratch, service: FakeService
) -> None:
    """The service refuses it, with a word on how to mend it; git has no say in these refs."""
    old = scratch.commit({"a": "1"})
    repository.move_branch(scratch.project, BRANCH, old)
    git("-C", scratch.work, "commit", "--quiet", "--amend", "--message=other")
    service.scripts = [failing("refused")]
    done = push(scratch, "+HEAD:master")
    assert done.returncode == 1
    assert len(service.requests) == 1
    assert service.requests[0]["old"] == old
    assert tip(scratch) == old
