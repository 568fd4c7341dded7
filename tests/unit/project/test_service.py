"""The deploy service with real forks and a real socket, on a scratch place without Salt."""

from __future__ import annotations

import os
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from corpus.model.deployment import Outcome
from corpus.project import lock, repository, trees
from corpus.project.ledger import Ledger
from corpus.project.service import LONGEST_REQUEST, MOST_OF_ONE, follow
from patience import wait_until
from projects import BRANCH, Phases, Scratch, copy_to_run, ended, entry, fail, fork, ids, kill
from serving import Caller, child_of, push, serving

ROOT = {".salt/top.sls": ""}


def holding(scratch: Scratch, phase: str) -> tuple[Phases, Path, Path]:
    """Return an engine whose ``phase`` waits for a file, with that file and a sign of life."""
    go, seen = scratch.folder / "go", scratch.folder / "seen"

    def wait(common: dict[str, Any]) -> None:
        if phase == "build":
            copy_to_run(common)
        seen.touch()
        wait_until(go.exists, 60)

    phases: dict[str, Callable[[dict[str, Any]], object]] = {"build": copy_to_run}
    return Phases(None, **(phases | {phase: wait})), go, seen


def test_a_deployment_from_end_to_end(scratch: Scratch) -> None:
    commit = scratch.commit(ROOT)
    with serving(scratch, Phases(build=copy_to_run)):
        caller = push(scratch, commit)
        assert caller.verdict() == {"outcome": "live", "error": ""}
    assert "id" in caller.messages[0]
    assert "-----> build" in caller.text
    assert scratch.ledger[-1].id == caller.messages[0]["id"]
    assert scratch.ledger[-1].by == "root"
    assert repository.deploy_branch(scratch.project) == (BRANCH, commit)


def test_one_that_fails(scratch: Scratch) -> None:
    commit = scratch.commit(ROOT)
    with serving(scratch, Phases(build=fail)):
        verdict = push(scratch, commit).verdict()
    assert verdict["outcome"] == "refused"
    assert "told to fail" in verdict["error"]


@pytest.mark.parametrize(
    ("request_", "said"),
    [
        ({"project": "../x"}, "not a project name"),
        ({"project": None}, "a project's name is a text"),
        ({"project": "other"}, "no project 'other'"),
        ({"ref": "refs/heads/feature"}, "does not deploy"),
        ({"ref": "--upload-pack=x"}, "not a ref"),
        ({"ref": ["refs/heads/master"]}, "not a ref"),
        ({"new": "HEAD"}, "not a commit"),
        ({"new": "--help"}, "not a commit"),
        ({"new": None}, "not a commit"),
        ({"attach": "../../etc"}, "not a deployment id"),
    ],
)
def test_a_request_that_is_none(serve: Scratch, request_: dict[str, Any], said: str) -> None:
    asked = {"project": "demo", "ref": BRANCH, "new": "1" * 40, **request_}
    caller = Caller(serve).ask(**asked)
    verdict = caller.verdict()
    assert verdict["outcome"] == "refused"
    assert said in verdict["error"]
    assert said in caller.text


@pytest.mark.parametrize("data", [b"{}\n", b"[]\n", b"nonsense\n", b"x" * (LONGEST_REQUEST + 2)])
def test_a_line_that_is_no_request(serve: Scratch, data: bytes) -> None:
    caller = Caller(serve)
    caller.line.sendall(data)
    assert caller.verdict()["outcome"] == "refused"


@pytest.fixture(scope="module")
def serve(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scratch]:
    scratch = Scratch(tmp_path_factory.mktemp("serve"))
    with serving(scratch, Phases()):
        yield scratch


def let_pass(folder: Path) -> None:
    """Let every account reach what lies in a scratch directory."""
    top = Path(tempfile.gettempdir())
    for one in (folder, *folder.parents):
        if top in one.parents:
            one.chmod(0o755)


@pytest.mark.skipif(os.geteuid() != 0, reason="becomes another account")
def test_the_kernel_tells_who_asks(serve: Scratch) -> None:
    said = serve.folder / "said"
    let_pass(serve.folder)
    said.touch()
    said.chmod(0o666)

    def stranger() -> None:
        os.setgid(65534)
        os.setuid(65534)
        said.write_text(push(serve, "1" * 40).verdict()["error"])

    _, status = os.waitpid(fork(stranger), 0)
    assert status == 0
    assert "the account nobody may not deploy demo" in said.read_text()


@pytest.mark.skipif(os.geteuid() != 0, reason="becomes another account")
def test_one_account_cannot_keep_others_out(serve: Scratch) -> None:
    said, go = serve.folder / "refusal", serve.folder / "enough"
    let_pass(serve.folder)
    said.touch()
    said.chmod(0o666)

    def stranger() -> None:
        os.setgid(65534)
        os.setuid(65534)
        idle = [Caller(serve) for _ in range(MOST_OF_ONE)]
        said.write_text(push(serve, "1" * 40).verdict()["error"])
        wait_until(go.exists)
        assert len(idle) == MOST_OF_ONE

    with ended(fork(stranger)):
        wait_until(said.read_text)
        assert "requests of this account are under way" in said.read_text()
        assert "no commit 1111111111" in push(serve, "1" * 40).verdict()["error"]
        go.touch()


def test_a_connection_that_drops_ends_no_deployment(scratch: Scratch) -> None:
    commit = scratch.commit(ROOT)
    runner, go, seen = holding(scratch, "build")
    with serving(scratch, runner):
        first = push(scratch, commit)
        identity = first.until(lambda message: "id" in message)["id"]
        wait_until(seen.exists)
        first.drop()
        # Pushing the same commit again attaches; so does asking by the id.
        again = push(scratch, commit)
        again.until(lambda message: "attached to the deployment" in message.get("log", ""))
        by_id = push(scratch, commit, attach=identity)
        by_id.until(lambda message: "-----> build" in message.get("log", ""))
        go.touch()
        assert again.verdict()["outcome"] == "live"
        assert by_id.verdict()["outcome"] == "live"
    assert len(scratch.ledger) == 1
    assert repository.deploy_branch(scratch.project) == (BRANCH, commit)
    assert (
        by_id.text.splitlines()
        == scratch.paths.log(scratch.ledger[0].deployment).read_text().splitlines()
    )


def test_who_attached_hears_the_last_word_too(scratch: Scratch) -> None:
    """A deployment goes on telling after its entry in the ledger, as long as it has the lock."""
    (identity,) = ids(1)
    go, log = scratch.folder / "go", scratch.paths.log(identity)
    log.parent.mkdir(exist_ok=True)
    log.write_text("one\n")
    Ledger(scratch.paths.ledger).append(entry(identity, Outcome.LIVE))

    def work() -> None:
        with lock.held(scratch.paths.lock, f"deployment {identity} of x by y", lambda _ahead: None):
            wait_until(go.exists)
            with log.open("a") as file:
                file.write("two\n")

    class Stream:
        gone = False

        def __init__(self) -> None:
            self.heard: list[dict[str, str]] = []

        def send(self, **message: str) -> None:
            self.heard.append(message)
            go.touch()

    stream = Stream()
    with ended(fork(work)):
        wait_until(lambda: lock.holder(scratch.paths.lock))
        follow(scratch.project, str(identity), stream)  # type: ignore[arg-type]
    assert stream.heard == [{"log": "one"}, {"log": "two"}, {"outcome": "live", "error": ""}]


def test_the_second_push_queues(scratch: Scratch) -> None:
    first = scratch.commit(ROOT)
    second = scratch.commit({"app": "2"})
    runner, go, seen = holding(scratch, "build")
    with serving(scratch, runner):
        one = push(scratch, first)
        wait_until(seen.exists)
        two = push(scratch, second)
        said = two.until(lambda message: "queued behind" in message.get("log", ""))
        assert f"of {first[:10]} on master by root" in said["log"]
        go.touch()
        assert one.verdict()["outcome"] == "live"
        assert two.verdict()["outcome"] == "live"
    assert [entry.commit for entry in scratch.ledger] == [first, second]


@pytest.mark.parametrize(
    ("phase", "outcome"), [("build", "refused"), ("post_install", "rolled_back")]
)
def test_a_worker_killed_is_cleaned_up_behind(scratch: Scratch, phase: str, outcome: str) -> None:
    assert scratch.deploy(scratch.commit(ROOT), Phases(build=copy_to_run)).outcome == "live"
    before = scratch.digests()
    commit = scratch.commit({"app": "2"})
    runner, _go, seen = holding(scratch, phase)
    with serving(scratch, runner) as pid:
        caller = push(scratch, commit)
        identity = caller.until(lambda message: "id" in message)["id"]
        wait_until(seen.exists)
        os.kill(child_of(pid), signal.SIGKILL)
        # The hook asks again by the id, and hears how recovery ended it.
        with pytest.raises(AssertionError, match="hung up"):
            caller.verdict()
        verdict = push(scratch, commit, attach=identity).verdict()
    assert verdict["outcome"] == outcome
    assert "the deployment was cut off" in verdict["error"]
    assert scratch.digests() == before
    wait_until(lambda: not lock.is_held(scratch.paths.lock))
    scratch.assert_clean()


def test_the_service_killed_finishes_at_its_next_start(scratch: Scratch) -> None:
    assert scratch.deploy(scratch.commit(ROOT), Phases(build=copy_to_run)).outcome == "live"
    before = scratch.digests()
    commit = scratch.commit({"app": "2"})
    runner, _go, seen = holding(scratch, "post_install")
    with serving(scratch, runner):
        push(scratch, commit).until(lambda message: "id" in message)
        wait_until(seen.exists)
    wait_until(lambda: not lock.is_held(scratch.paths.lock))
    assert scratch.begun[-1] == "start"
    with serving(scratch, Phases()):
        wait_until(lambda: not scratch.paths.journal.exists())
        wait_until(lambda: not lock.is_held(scratch.paths.lock))
    assert scratch.ledger[-1].outcome == "rolled_back"
    assert scratch.digests() == before
    scratch.assert_clean()


@pytest.mark.parametrize("said", ["the doctor", "its removal", ""])
def test_a_recovery_waits_for_who_puts_nothing_back(scratch: Scratch, said: str) -> None:
    """A doctor that mends has the lock just when a deployer dies: traffic is held meanwhile."""
    assert scratch.deploy(scratch.commit(ROOT), Phases(build=copy_to_run)).outcome == "live"
    before = scratch.digests()
    runner, go, seen = holding(scratch, "post_install")
    pid = scratch.start(scratch.commit({"app": "2"}), runner)
    wait_until(seen.exists)
    kill(pid)

    def examine() -> None:
        with lock.held(scratch.paths.lock, said, lambda _ahead: None):
            seen.touch()
            wait_until(go.exists)

    seen.unlink()
    with ended(fork(examine)):
        wait_until(seen.exists)
        with serving(scratch, Phases()):
            log = scratch.paths.state / "logs" / "recovery.log"
            wait_until(log.exists)
            assert "recovering" not in log.read_text()
            go.touch()
            wait_until(lambda: not scratch.paths.journal.exists())
            wait_until(lambda: not lock.is_held(scratch.paths.lock))
    assert scratch.ledger[-1].outcome == "rolled_back"
    assert scratch.digests() == before
    scratch.assert_clean()


def test_a_recovery_behind_a_removal_brings_nothing_back(scratch: Scratch) -> None:
    commit = scratch.commit(ROOT)
    runner, go, seen = holding(scratch, "build")
    pid = scratch.start(commit, runner)
    wait_until(seen.exists)
    kill(pid)

    def remove() -> None:
        with lock.held(scratch.paths.lock, "its removal", lambda _ahead: None):
            seen.touch()
            wait_until(go.exists)
            trees.remove(scratch.paths.root)

    seen.unlink()
    with ended(fork(remove)):
        wait_until(seen.exists)
        with serving(scratch, Phases()) as service:
            wait_until((scratch.paths.state / "logs" / "recovery.log").exists)
            go.touch()
            children = Path(f"/proc/{service}/task/{service}/children")
            wait_until(lambda: not children.read_text())
    assert not scratch.paths.root.exists()


def test_a_recovery_that_fails_is_not_tried_for_ever(scratch: Scratch) -> None:
    assert scratch.deploy(scratch.commit(ROOT), Phases(build=copy_to_run)).outcome == "live"
    broken = Phases(build=copy_to_run, post_install=fail, restore=fail)
    assert scratch.deploy(scratch.commit({"app": "2"}), broken).outcome == "rollback_failed"
    log = scratch.paths.state / "logs" / "recovery.log"
    with serving(scratch, broken):
        wait_until(lambda: log.exists() and "could not be finished" in log.read_text())
        time.sleep(0.5)
        assert log.read_text().count("-----> recovering") == 1
        # A push is told what stands in its way.
        verdict = push(scratch, scratch.commit({"app": "3"})).verdict()
    assert verdict["outcome"] == "refused"
    assert "no deployment begins on top of it" in verdict["error"]


def test_a_worker_leaves_nothing_running(scratch: Scratch) -> None:
    mark = scratch.folder / "pid"

    def build(_common: dict[str, Any]) -> None:
        os.system(f"sleep 300 >/dev/null 2>&1 & echo $! > {mark}")
        os.kill(os.getpid(), signal.SIGKILL)

    commit = scratch.commit(ROOT)
    with serving(scratch, Phases(build=build)):
        push(scratch, commit)
        wait_until(lambda: scratch.ledger)
        left = int(mark.read_text())
        wait_until(lambda: not Path(f"/proc/{left}").exists())
