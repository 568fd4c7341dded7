"""The deploy service as it is, with one thing added: at a named moment of a deployment
something happens to it.

``/run/corpus-faults/order.json`` holds a list of instructions ``{"step", "moment", "what"}``;
each acts once. A moment is ``begin`` (the step is in the journal and nothing of it is done) or
``end`` (it is done and the next is not in the journal). ``what`` is ``kill`` (SIGKILL to the
deployer), ``slay`` (to the whole service), ``raise`` (an I/O error) or ``pause`` (until
``/run/corpus-faults/go`` is there).
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import signal
import time
from pathlib import Path
from typing import Any

from corpus.project.journal import ROLLBACK, Journal
from corpus.saltext import service

FOLDER = Path("/run/corpus-faults")
ORDER, REACHED, GO = FOLDER / "order.json", FOLDER / "reached", FOLDER / "go"
PATIENCE = 120.0  # seconds


def pause() -> None:
    """Wait for leave to go on."""
    REACHED.touch()
    deadline = time.monotonic() + PATIENCE
    while not GO.exists() and time.monotonic() < deadline:
        time.sleep(0.002)
    GO.unlink(missing_ok=True)
    REACHED.unlink(missing_ok=True)


def slay() -> None:
    """Kill every process of the service at once, this one last."""
    lines = Path("/proc/self/cgroup").read_text().splitlines()
    group = next(line for line in lines if "name=systemd" in line or line.startswith("0::"))
    for base in ("/sys/fs/cgroup/systemd", "/sys/fs/cgroup/unified", "/sys/fs/cgroup"):
        listed = Path(base + group.rpartition(":")[2], "cgroup.procs")
        if listed.exists():
            pids = {int(pid) for pid in listed.read_text().split()}
            for pid in [*(pids - {os.getpid()}), os.getpid()]:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)


def fail() -> None:
    """Fail as a bad disk does."""
    raise OSError(errno.EIO, "an I/O error that was ordered")


ACTS = {
    "kill": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "slay": slay,
    "raise": fail,
    "pause": pause,
}


def at(step: str, moment: str) -> None:
    """Do what was ordered for this moment, one after the other."""
    while order := taken(step, moment):
        ACTS[order["what"]]()


def taken(step: str, moment: str) -> dict[str, str] | None:
    """Return the next order for this moment, which is none any more."""
    if not ORDER.exists():
        return None
    orders = json.loads(ORDER.read_text())
    wanted = [o for o in orders if (o["step"], o["moment"]) == (step, moment)]
    if not wanted:
        return None
    partial = ORDER.with_suffix(".partial")
    partial.write_text(json.dumps([order for order in orders if order is not wanted[0]]))
    partial.replace(ORDER)
    return dict(wanted[0])


class Moments:
    """The moments of the deployment of this process: the journal's records tell them."""

    def __init__(self) -> None:
        self.step = ""
        self.begin_plainly = Journal.begin
        self.close_plainly = Journal.close

    def begin(self, journal: Journal, step: str, **how: Any) -> None:
        """Tell the end of the step before and the beginning of this one."""
        before, self.step = self.step, step
        if before and step != ROLLBACK:
            at(before, "end")
        self.begin_plainly(journal, step, **how)
        at(step, "begin")

    def close(self, journal: Journal) -> None:
        """Tell the end of the last step."""
        before, self.step = self.step, ""
        if before:
            at(before, "end")
        self.close_plainly(journal)


def main() -> None:
    """Serve until stopped."""
    FOLDER.mkdir(exist_ok=True)
    moments = Moments()
    Journal.begin = lambda journal, step, **how: moments.begin(journal, step, **how)  # type: ignore
    Journal.close = lambda journal: moments.close(journal)  # type: ignore
    service.main()


if __name__ == "__main__":
    main()
