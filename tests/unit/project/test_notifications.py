"""Every ending is told, once, after the lock is free; what a death cut off is told again."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import sinks
from corpus.model.deployment import Kind, Outcome
from corpus.project import lock, notifications
from corpus.project.ledger import Ledger
from corpus.project.log import Log
from corpus.project.notifications import sending
from corpus.project.notifications.outbox import MOST_ATTEMPTS
from corpus.project.notifications.status import Status
from patience import wait_until
from projects import Phases, Scratch, copy_to_run, fail, ids, kill
from serving import child_of, push, serving
from sinks import SECRET, Relay, Web
from sinks import web as web

ROOT = {".salt/top.sls": ""}


def telling(url: str, /, *to: str, **phases: Callable[[dict[str, Any]], object]) -> Phases:
    """Return an engine whose settings tell the web hook at ``url``, and ``to`` by mail."""
    notify = {"hooks": [{"url": url, "secret": SECRET}], "mail": list(to)}
    return Phases({"notify": notify}, **{"build": copy_to_run, **phases})


def status_of(identity: object, outcome: Outcome = Outcome.LIVE) -> Status:
    return Status("demo", str(identity), outcome, Kind.DEPLOY, "cooking", "c" * 40,
                  "refs/heads/master", "ann", "", 2.0, 1.0, 0.0, "")  # fmt: skip


def live_commit(scratch: Scratch) -> str:
    entry = Ledger(scratch.paths.ledger).live()
    assert entry
    return entry.commit


def log_of(scratch: Scratch) -> str:
    return scratch.paths.log(scratch.ledger[-1].deployment).read_text()


# -- how deployments end


def test_live(live: Scratch, web: Web) -> None:
    before = live_commit(live)
    facts = '{"id": "a1b2", "name": "web-1", "platform": "staging", "relay": "%s"}'
    with Relay().running() as relay:
        live.place.identity.parent.mkdir(exist_ok=True)
        live.place.identity.write_text(facts % relay.address)
        commit = live.commit({"app": "version 2\n"})
        done = live.deploy(commit, telling(f"{web.url}/x", "ann@example.org"))
        live.place.identity.unlink()
    entry = live.ledger[-1]
    assert done.outcome == "live"
    (told,) = [one["data"] for one in web.told]
    assert told == {
        "project": "demo", "deployment": entry.id, "kind": "deploy", "outcome": "live",
        "mode": "cooking", "commit": commit, "subject": "a change",
        "branch": "refs/heads/master", "by": "ann", "error": "", "platform": "staging",
        "environment": "a1b2", "environment_name": "web-1", "ended": entry.ended,
        "seconds": round(entry.ended - entry.started, 3), "held": entry.held,
        "previous": before, "live": commit,
    }  # fmt: skip
    assert live.events[-1] == ("corpus/deployment/demo/live", told)
    assert [letter["To"] for letter in relay.letters] == ["ann@example.org"]
    assert log_of(live).endswith(f"       told ann@example.org\n       told {web.url}\n")
    assert "told" not in done.text, "who pushed does not wait for that"
    assert not list(live.paths.outbox.iterdir())


@pytest.mark.parametrize(("phase", "outcome"), [("build", "refused"), ("deploy", "rolled_back")])
def test_one_that_fails(live: Scratch, web: Web, phase: str, outcome: str) -> None:
    before = live_commit(live)

    def fails(common: dict[str, Any]) -> None:
        raise OSError(f"no {SECRET} here")

    commit = live.commit({"app": "version 2\n"})
    assert live.deploy(commit, telling(web.url, **{phase: fails})).outcome == outcome
    (told,) = web.told
    assert told["type"] == f"deployment.{outcome}"
    data = told["data"]
    assert (data["outcome"], data["live"], data["previous"]) == (outcome, before, before)
    assert data["error"] == "no ******** here"
    assert live.events[-1][0] == f"corpus/deployment/demo/{outcome}"


def test_a_rollback(live: Scratch, web: Web) -> None:
    before = live_commit(live)
    live.deploy(live.commit({"app": "version 2\n"}), telling(web.url))
    assert live.rollback(telling(web.url)).outcome == "live"
    first, second = [told["data"] for told in web.told]
    assert (second["kind"], second["live"]) == ("rollback", before)
    assert second["previous"] == first["live"]


def test_when_a_person_is_needed_and_when_he_came(live: Scratch, web: Web) -> None:
    runner = telling(web.url, deploy=fail, restore=fail)
    commit = live.commit({"app": "version 2\n"})
    runner.phases["start"] = fail  # so that restore is called, and by the previous version's too
    assert live.deploy(commit, runner).outcome == "rollback_failed"
    for _ in range(2):  # further attempts that fail are no news
        with pytest.raises(Exception, match="could not be finished"):
            live.recover(runner)
        notifications.deliver(live.project, live.fire)
    del runner.phases["restore"], runner.phases["start"]
    live.recover(runner)
    notifications.deliver(live.project, live.fire)
    assert [told["type"] for told in web.told] == [
        "deployment.rollback_failed",
        "deployment.rolled_back",
    ]
    assert web.told[0]["data"]["live"] == ""


def test_one_whose_deployer_died(live: Scratch, web: Web) -> None:
    seen = live.folder / "seen"

    def wait(_common: dict[str, Any]) -> None:
        seen.touch()
        time.sleep(60)

    pid = live.start(live.commit({"app": "version 2\n"}), telling(web.url, deploy=wait))
    wait_until(seen.exists)
    kill(pid)
    seen.unlink()
    live.recover(telling(web.url))
    notifications.deliver(live.project, live.fire)
    assert [told["data"]["error"] for told in web.told] == ["the deployment was cut off"]


def test_a_configuration_that_is_wrong_is_told_to_those_of_before(live: Scratch, web: Web) -> None:
    live.deploy(live.commit({"app": "version 2\n"}), telling(web.url))
    wrong = Phases({"notify": {"mail": ["ann@example.org\nBcc: eve@example.org"]}})
    assert live.deploy(live.commit({"app": "version 3\n"}), wrong).outcome == "refused"
    assert [told["data"]["outcome"] for told in web.told] == ["live", "refused"]
    assert "notify.mail must be mail addresses" in web.told[1]["data"]["error"]


def test_what_no_deployment_began_of_is_told_to_who_pushed_alone(live: Scratch, web: Web) -> None:
    assert live.deploy("1" * 40, telling(web.url)).outcome == "refused"
    assert not web.posts


def test_a_project_that_tells_nobody(live: Scratch, web: Web) -> None:
    live.deploy(live.commit({"app": "version 2\n"}), telling(web.url))
    live.deploy(live.commit({"app": "version 3\n"}), Phases(build=copy_to_run))
    assert len(web.posts) == 1
    assert not live.paths.notify.exists()


def test_an_ill_receiver_is_a_line_in_the_log(live: Scratch) -> None:
    with sinks.listening(sinks.hang_up) as port:
        url = f"http://127.0.0.1:{port}"
        done = live.deploy(live.commit({"app": "version 2\n"}), telling(url, "ann@example.org"))
    assert done.outcome == "live"
    said = log_of(live).splitlines()[-2:]
    assert said[0].startswith(" !     mail to ann@example.org was not accepted: this environment")
    assert said[1].startswith(f" !     the web hook {url} did not take it: ")


def test_an_outbox_that_cannot_be_changes_nothing(live: Scratch, web: Web) -> None:
    if live.paths.outbox.exists():
        live.paths.outbox.rmdir()
    live.paths.outbox.touch()
    done = live.deploy(live.commit({"app": "version 2\n"}), telling(web.url))
    live.paths.outbox.unlink()
    assert done.outcome == "live"
    assert " !     nobody will be notified: " in done.text


# -- the outbox


def test_once_and_oldest_first(scratch: Scratch) -> None:
    log = Log(Path(os.devnull))
    told = list(ids(3))
    for identity in reversed(told):
        for _ in range(2):
            notifications.put(scratch.project, status_of(identity), log)
    for _ in range(2):
        notifications.deliver(scratch.project, scratch.fire)
    assert [data["deployment"] for _tag, data in scratch.events] == [str(one) for one in told]


def test_the_disk_is_full(scratch: Scratch, monkeypatch: pytest.MonkeyPatch) -> None:
    """The ledger comes to the same: the reserve is freed, and it is tried again."""

    def full(*_args: object, **_kwargs: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("corpus.project.notifications.outbox.write_atomic", full)
    (identity,) = ids(1)
    with pytest.raises(OSError, match="No space left"):
        notifications.put(scratch.project, status_of(identity), Log(Path(os.devnull)))


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b"\xff", b'{"outcome": "live"}'])
def test_one_that_was_damaged(
    scratch: Scratch, capsys: pytest.CaptureFixture[str], content: bytes
) -> None:
    scratch.paths.outbox.mkdir()
    (scratch.paths.outbox / "20260101T000000-x-live.0").write_bytes(content)
    (identity,) = ids(1)
    notifications.put(scratch.project, status_of(identity), Log(Path(os.devnull)))
    notifications.deliver(scratch.project, scratch.fire)
    assert len(scratch.events) == 1
    assert "was damaged" in capsys.readouterr().out


def test_a_sender_that_dies_every_time(
    scratch: Scratch, capsys: pytest.CaptureFixture[str]
) -> None:
    (identity,) = ids(1)
    notifications.put(scratch.project, status_of(identity), Log(Path(os.devnull)))
    attempts = scratch.folder / "attempts"

    def die(*_event: object) -> None:
        with attempts.open("a") as file:
            file.write("x")
        os._exit(70)

    for _ in range(MOST_ATTEMPTS + 2):
        pid = os.fork()
        if pid == 0:
            notifications.deliver(scratch.project, die)
            os._exit(0)
        os.waitpid(pid, 0)
    assert attempts.read_text() == "x" * MOST_ATTEMPTS
    assert not notifications.waiting(scratch.project)


# -- the service


def test_who_pushed_does_not_wait(scratch: Scratch, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sending, "LIMIT", 60.0)  # of the service, which is forked from here
    with hanging(scratch):
        wait_until(lambda: not lock.is_held(scratch.paths.lock))
        (sent,) = notifications.waiting(scratch.project)
        # Nor does the next one, who finds the lock free.
        caller = push(scratch, scratch.commit({"app": "version 2\n"}))
        assert caller.verdict()["outcome"] == "live"
        assert "queued" not in caller.text
        assert sent.stem in {path.stem for path in notifications.waiting(scratch.project)}


@contextmanager
def hanging(scratch: Scratch) -> Iterator[int]:
    """Serve one deployment whose web hook hangs; give the service's process id."""
    with (
        sinks.listening(sinks.hang) as port,
        serving(scratch, telling(f"http://127.0.0.1:{port}")) as service,
    ):
        assert push(scratch, scratch.commit(ROOT)).verdict()["outcome"] == "live"
        yield service


def test_a_sender_that_was_killed_is_followed_by_another(scratch: Scratch, web: Web) -> None:
    with hanging(scratch) as service:
        wait_until(lambda: [p.suffix for p in notifications.waiting(scratch.project)] == [".1"])
        notifications.keep(scratch.project, {"hooks": [{"url": web.url, "secret": SECRET}]})
        os.kill(child_of(service), 9)
        wait_until(lambda: web.posts)
        wait_until(lambda: not notifications.waiting(scratch.project))
    assert [told["type"] for told in web.told] == ["deployment.live"]


def test_a_service_that_was_stopped_sends_when_it_is_back(scratch: Scratch, web: Web) -> None:
    with hanging(scratch):
        pass
    notifications.keep(scratch.project, {"hooks": [{"url": web.url, "secret": SECRET}]})
    with serving(scratch, Phases()):
        wait_until(lambda: web.posts)
        wait_until(lambda: not notifications.waiting(scratch.project))
