"""Processes that are talked with, and two that talk with each other."""

from __future__ import annotations

import os
import sys

import pytest

from corpus.commands import prlimit
from corpus.hosts import relay, session
from corpus.hosts.session import Session
from corpus.model.errors import CommandFailed

SLOW = """
import os, time
found = 0
while found < 1 << 18:
    time.sleep(0.05)
    found += len(os.read(0, 1 << 15))
print(found)
"""
LOUD = "import sys; print(sys.stdin.readline().upper(), end='', flush=True); sys.exit('enough')"


def test_a_session_answers_line_by_line_until_it_ends() -> None:
    session = Session([sys.executable, "-c", LOUD])
    session.write(b"hel")
    session.write(b"lo\n")
    assert session.line(20) == b"HELLO"
    with pytest.raises(CommandFailed, match="enough"):
        session.line(20)
    session.close()


def test_a_session_that_says_nothing_is_not_waited_for() -> None:
    session = Session(["sleep", "60"])
    with pytest.raises(CommandFailed) as caught:
        session.line(0.05)
    assert caught.value.code is None
    session.close()
    with pytest.raises(CommandFailed):
        session.write(b"x" * (1 << 20))


def test_one_that_takes_nothing_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "STALL", 0.2)
    stuck = Session(["sleep", "60"])
    with pytest.raises(CommandFailed, match="took nothing"):
        stuck.write(b"x" * (1 << 20))
    with pytest.raises(CommandFailed):
        stuck.line(20)
    stuck.close()
    slow = Session([sys.executable, "-c", SLOW])
    slow.write(b"x" * (1 << 18))  # for longer than that, but some of it each time
    assert slow.line(20) == b"262144"
    slow.close()


def test_what_it_says_as_an_error_fills_no_disk() -> None:
    loud = Session(prlimit.files(1 << 20, ["sh", "-c", "yes >&2"]))
    with pytest.raises(CommandFailed):
        loud.line(60)
    assert loud._errors.seek(0, os.SEEK_END) == 1 << 20
    loud.close()


def test_what_is_closed_while_another_thread_writes_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    one = Session([sys.executable, "-c", "input()"])
    ended = one._ended

    def closed_just_now() -> CommandFailed:
        one.close()
        return ended()

    monkeypatch.setattr(one, "_ended", closed_just_now)
    one._process.kill()
    one._process.wait()
    with pytest.raises(CommandFailed, match="it was closed"):
        one.write(b"x")


def test_what_is_not_there_is_told() -> None:
    with pytest.raises(CommandFailed, match="127"):
        Session(["/nonexistent/program"])


def test_two_commands_talk_with_each_other() -> None:
    asks = "import sys; print('hello', flush=True); sys.exit(sys.stdin.readline() != 'HELLO\\n')"
    first, second, said = relay.connect(
        [sys.executable, "-c", asks], [sys.executable, "-c", LOUD], timeout=30
    )
    assert (first, second, said.strip()) == (0, 1, "enough")
    with pytest.raises(CommandFailed):
        relay.connect(["sleep", "60"], ["sleep", "60"], timeout=0.05)


def test_one_that_goes_on_when_the_other_has_ended_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(relay, "_AFTER", 0.05)
    with pytest.raises(CommandFailed, match="too long"):
        relay.connect(["true"], ["sleep", "60"], timeout=60)


def test_what_two_said_last_is_told() -> None:
    said = relay.connect(["sh", "-c", "seq 20000 >&2"], ["true"], timeout=60)[2]
    assert said.endswith("\n20000\n")


def test_a_helper_talks_through_what_its_command_was_given() -> None:
    inner = f"""
import subprocess, sys
with subprocess.Popen({relay.helper()!r}, stdin=-1, stdout=-1, close_fds=False) as line:
    line.stdin.write(b"hello\\n")
    line.stdin.close()
    sys.exit(line.stdout.read() != b"HELLO\\n")
"""
    outer = f"""
import sys
from corpus.hosts import relay
sys.exit(relay.through([sys.executable, "-c", {inner!r}], timeout=30))
"""
    loud = "import sys; print(sys.stdin.readline().upper(), end='')"
    first, second, said = relay.connect(
        [sys.executable, "-c", outer], [sys.executable, "-c", loud], timeout=60
    )
    assert (first, second) == (0, 0), said
