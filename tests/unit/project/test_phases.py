"""Phases within their time: the late one ends, with all that it started."""

from __future__ import annotations

import contextlib
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from corpus.model.errors import PhaseTimeout
from corpus.project import phases
from corpus.project.log import Log
from projects import Phases, in_child

COMMON: dict[str, Any] = {"timeouts": {"default": 9, "build": 3}}


def test_seconds() -> None:
    assert phases.seconds(COMMON, "build") == 3
    assert phases.seconds(COMMON, "deploy") == 9
    assert phases.seconds({"timeouts": {}}, "deploy") == 600


def running(text: str) -> bool:
    done = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True)
    return text in done.stdout


@pytest.mark.parametrize(
    "script", ["sleep 61.7", "sleep 61.8 & sleep 61.8", "(setsid sleep 61.9 &) ; sleep 61.9"]
)
def test_a_phase_that_hangs_is_ended_with_what_it_started(script: str) -> None:
    def work() -> float:
        started = time.monotonic()
        with (
            pytest.raises(PhaseTimeout, match=r"the phase build ran for more than 0\.2 s"),
            phases.limited("build", 0.2),
        ):
            subprocess.run(["sh", "-c", script], check=False)
        return time.monotonic() - started

    assert in_child(work) < 30
    assert not running(f"sleep {script.split()[-1]}")


def stubborn() -> None:
    """Do as Salt does around a state."""
    while True:
        with contextlib.suppress(Exception):
            time.sleep(5)


def test_it_cannot_be_eaten_by_what_catches_every_exception() -> None:
    def work() -> bool:
        with pytest.raises(PhaseTimeout), phases.limited("build", 0.1):
            stubborn()
        return True

    assert in_child(work)


def test_a_phase_in_time_leaves_no_alarm() -> None:
    def work() -> bool:
        with phases.limited("build", 0.1):
            pass
        time.sleep(0.2)
        return True

    assert in_child(work)


def test_an_absent_phase_is_passed_over(tmp_path: Path) -> None:
    heard: list[str] = []
    log = Log(tmp_path / "x.log", heard.append)
    phases.run(Phases(), "build", COMMON, log)
    assert heard == []
    phases.run(Phases(build=lambda common: None), "build", COMMON, log)
    assert heard[0] == "-----> build"
    assert heard[1].startswith("       1 states, 1 changed")
    log.close()
