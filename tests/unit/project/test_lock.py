"""The lock: one at a time, a word about who is ahead, and no lock of the dead."""

from __future__ import annotations

import errno
import os
import time
from pathlib import Path

import pytest

from corpus.model.errors import Conflict
from corpus.project import lock
from patience import wait_until
from projects import ended, fork, kill


def hold_forever(path: Path, text: str = "deployment A") -> int:
    def work() -> None:
        with lock.held(path, text, lambda _ahead: None):
            time.sleep(60)

    pid = fork(work)
    wait_until(lambda: lock.holder(path) == text)
    return pid


def silent(ahead: str) -> None:
    raise AssertionError(f"waited behind {ahead}")


def test_free_held_and_free_again(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    assert not lock.is_held(path)
    assert lock.holder(path) == ""
    with lock.held(path, "deployment A", silent):
        assert lock.is_held(path)
        assert lock.holder(path) == "deployment A"
    assert not lock.is_held(path)
    assert lock.holder(path) == ""


def test_it_is_free_after_an_error(tmp_path: Path) -> None:
    with pytest.raises(KeyError), lock.held(tmp_path / "lock", "A", silent):
        raise KeyError
    assert not lock.is_held(tmp_path / "lock")


def test_a_full_disk_does_not_turn_an_ending_into_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_handle: int, _length: int) -> None:
        raise OSError(errno.EDQUOT, "Disk quota exceeded")

    with lock.held(tmp_path / "lock", "A", silent):
        monkeypatch.setattr(os, "ftruncate", full)
    assert not lock.is_held(tmp_path / "lock")


def test_a_holder_killed_is_none(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    kill(hold_forever(path))
    assert not lock.is_held(path)
    with lock.held(path, "deployment B", silent):
        assert lock.holder(path) == "deployment B"


def test_a_longer_text_of_a_dead_holder_is_gone(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    kill(hold_forever(path, "deployment A of a very long name"))
    with lock.held(path, "B", silent):
        assert lock.holder(path) == "B"


def test_the_second_says_once_behind_whom_it_waits(tmp_path: Path) -> None:
    path, said = tmp_path / "lock", tmp_path / "said"
    pid = hold_forever(path)

    def second() -> None:
        def tell(ahead: str) -> None:
            with said.open("a") as file:
                file.write(f"{ahead}\n")

        with lock.held(path, "deployment B", tell):
            said.with_name("got").touch()

    other = fork(second)
    with ended(other):
        wait_until(said.exists)
        time.sleep(0.2)
        assert said.read_text() == "deployment A\n"
        assert not said.with_name("got").exists()
        kill(pid)
        wait_until(said.with_name("got").exists)


def test_patience_ends(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    told: list[str] = []
    pid = hold_forever(path)
    with ended(pid):
        with (
            pytest.raises(Conflict, match="behind deployment A"),
            lock.held(path, "B", told.append, patience=0.1),
        ):
            pass
        os.kill(pid, 9)
    assert told == ["deployment A"]


def test_a_command_that_the_holder_started_does_not_hold_it(tmp_path: Path) -> None:
    """A daemon that a deployment leaves behind must not block the next one."""
    from corpus.hosts.local import Local

    with lock.held(tmp_path / "lock", "A", silent):
        Local().run(["sh", "-c", "sleep 30 >/dev/null 2>&1 & echo $! > pid"], cwd=tmp_path)
    try:
        assert not lock.is_held(tmp_path / "lock")
    finally:
        os.kill(int((tmp_path / "pid").read_text()), 9)


def test_the_running_deployment_is_known_by_commit_and_branch(tmp_path: Path) -> None:
    path, commit = tmp_path / "lock", "a" * 40
    text = lock.text("20261122T000000-x", commit, "refs/heads/master", "ann")
    with lock.held(path, text, lambda _ahead: None):
        assert lock.running(path, commit, "refs/heads/master") == "20261122T000000-x"
        assert lock.running(path, commit, "refs/heads/main") == ""
        assert lock.running(path, "b" * 40, "refs/heads/master") == ""
    assert lock.running(path, commit, "refs/heads/master") == ""
