"""A child with mounts of its own: what passes back, and that nothing stays."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from corpus.hosts import isolated
from corpus.hosts.local import Local
from corpus.model.errors import CorpusError, InvalidInput
from patience import wait_until

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="makes namespaces: needs root")


def test_values_and_errors_pass() -> None:
    assert isolated.run(lambda: (os.getpid(), "x")) == (1, "x")

    def fail() -> None:
        raise InvalidInput("what", "where", "mend")

    with pytest.raises(InvalidInput, match="to mend: mend"):
        isolated.run(fail)
    with pytest.raises(CorpusError, match="ZeroDivisionError"):
        isolated.run(lambda: 1 / 0)


def test_mounts_are_its_own(tmp_path: Path) -> None:
    def work() -> bool:
        Local().run(["mount", "-t", "tmpfs", "corpus-test", str(tmp_path)])
        (tmp_path / "file").touch()
        return str(tmp_path) in Path("/proc/self/mountinfo").read_text()

    assert isolated.run(work)
    assert str(tmp_path) not in Path("/proc/self/mountinfo").read_text()
    assert list(tmp_path.iterdir()) == []


def test_a_killed_child_is_an_error() -> None:
    with pytest.raises(CorpusError, match="killed"):
        isolated.run(lambda: os._exit(9))


def test_whoever_dies_takes_all_along(tmp_path: Path) -> None:
    marker = tmp_path / "marker"

    def work() -> None:
        while True:
            Local().run(["touch", str(marker)])

    caller = os.fork()
    if caller == 0:
        isolated.run(work)
        os._exit(0)
    wait_until(marker.exists)
    os.kill(caller, signal.SIGKILL)
    os.waitpid(caller, 0)

    def is_quiet() -> bool:
        marker.unlink(missing_ok=True)
        time.sleep(0.3)
        return not marker.exists()

    wait_until(is_quiet)
