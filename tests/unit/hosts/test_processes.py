"""Processes found by a mark in their environment."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from uuid import uuid4

import pytest

from corpus.hosts import processes

SOURCE = Path(processes.__file__).parents[2]
NAME = "CORPUS_TEST_MARK"


def test_only_what_bears_the_mark_is_killed() -> None:
    value = str(uuid4())
    with processes.marked(NAME, value):
        marked = subprocess.Popen(
            ["sh", "-c", "sleep 60 & echo; wait"], stdout=subprocess.PIPE, text=True
        )
    others = [
        subprocess.Popen(["sleep", "60"], env={**os.environ, NAME: value + other})
        for other in ("", "0")
    ]
    try:
        assert marked.stdout is not None
        marked.stdout.readline()  # both of them are there
        assert processes.kill_marked(NAME, value) == 3
        assert others[1].poll() is None
        assert processes.kill_marked(NAME, value) == 0
    finally:
        for each in (marked, *others):
            each.kill()
            each.communicate()


def test_who_asks_and_whoever_started_him_are_spared() -> None:
    value = str(uuid4())
    asks = f"from corpus.hosts.processes import kill_marked as k; print(k({NAME!r}, {value!r}))"
    with processes.marked(NAME, value):
        said = subprocess.run(
            ["sh", "-c", f'{sys.executable} -c "{asks}"; echo alive'],
            env={**os.environ, "PYTHONPATH": str(SOURCE)},
            capture_output=True,
            check=True,
        ).stdout
    assert said == b"0\nalive\n"
    assert NAME not in os.environ


def test_the_mark_of_before_comes_back() -> None:
    with processes.marked(NAME, "outer"):
        with processes.marked(NAME, "inner"):
            assert os.environ[NAME] == "inner"
        assert os.environ[NAME] == "outer"
    assert NAME not in os.environ


@pytest.mark.skipif(os.geteuid() != 0, reason="becomes another account")
def test_all_of_an_account() -> None:
    uid = 60_000 + os.getpid() % 5000  # nobody's
    of_it = [subprocess.Popen(["sleep", "60"], user=uid, group=uid) for _ in range(2)]
    other = subprocess.Popen(["sleep", "60"], user=uid + 5000)
    try:
        assert processes.kill_account(uid) == 2
        assert other.poll() is None
        assert processes.kill_account(uid) == 0
    finally:
        for each in (*of_it, other):
            each.kill()
            each.wait()
