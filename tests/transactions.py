"""A project on the machine of ``machine.py``, deployed, broken and looked at, fast.

What is real: all of ``corpus.project`` from the lock to the ledger, the directories, labels,
mounts and processes. What is played: the commands, and the project's phases.
"""

from __future__ import annotations

import os
import select
import signal
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from corpus.hosts import kernel, mounts, pipeline
from corpus.model.deployment import DeploymentId, Kind
from corpus.model.errors import DeploymentRefused
from corpus.model.mode import Mode
from corpus.project import (
    __main__ as boot,
)
from corpus.project import (
    binding,
    deployment,
    journal,
    layout,
    lock,
    releases,
    steps,
    targets,
)
from corpus.project.ledger import Entry, Ledger
from corpus.project.log import Log
from corpus.project.place import Project
from corpus.project.request import Request
from instants import Fault, Instants
from machine import Machine, Version, entries_of
from patience import wait_until
from played import Macros, archive, play
from projects import BRANCH, fork, place_at

UUID = "0000-4000-8000-000000000000"
POINTS = ("", *steps.EVERY, "live", journal.ROLLBACK, journal.RESUME)


def unheard(line: str) -> None:
    """Be a listener that hears nothing."""


class World:
    """One project and all that happens to it."""

    def __init__(self, folder: Path) -> None:
        self.machine = Machine(folder / "machine")
        place = place_at(folder, self.machine)
        self.place = replace(place, units=self.machine.folder / "units", firewall=True)
        self.project = Project.at(self.place, "demo")
        self.paths = self.project.paths
        self.machine.write("data", str(self.paths.data))
        layout.initialise(self.project)
        self.number = 0
        self.count = 0

    # What can be done

    def version(self, *, migrates: bool = False, **more: Any) -> str:
        """Commit a new version and return its commit."""
        live = self.live
        former = self.version_of(live) if live else Version(0)
        self.number += 1
        migrates = migrates and more.get("mode") != Mode.EDITABLE  # which puts no data aside
        version = Version(self.number, former.schema + migrates, **more)
        commit = self.machine.git.commit(version.files(), live.commit if live else None)
        if version.mode == Mode.FINAL:
            self._drop_in(commit)
        return commit

    def _drop_in(self, commit: str) -> None:
        """Put a release of ``commit`` into releases/, as a person who brings it does."""
        source = self.machine.folder / "staging"
        source.mkdir(exist_ok=True)
        identity = DeploymentId(f"20250101T{self.number:06}", f"{self.number:08}-{UUID}")
        facts = {"commit": commit, "time": 1, "made_at": 1}
        real, pipeline.output_of = pipeline.output_of, archive
        try:
            releases.make(self.project, identity, source, facts, {})
        finally:
            pipeline.output_of = real

    def push(
        self, commit: str, faults: Sequence[Fault] = (), sink: Callable[[str], None] = unheard
    ) -> int:
        """Begin a deployment of a commit in a child."""
        return self._ask(Request(BRANCH, commit, "ann"), faults, sink)

    def roll_back(self, target: Entry, with_data: bool, faults: Sequence[Fault] = ()) -> int:
        """Begin to go back to a former deployment, in a child; nothing may be unfinished."""
        if with_data and self.has_data_of(target):
            kept = self.paths.archive(targets.data_of(self.project, target.id)).data
            self.machine.write("reverted", entries_of(kept / "entries")[0])
        asked = Request(BRANCH, "", "ann", Kind.ROLLBACK, target.id, with_data)
        return self._ask(asked, faults, unheard)

    def has_data_of(self, target: Entry) -> bool:
        """Tell whether the data that ``target`` left is kept."""
        try:
            return bool(targets.data_of(self.project, target.id))
        except DeploymentRefused:
            return False

    def _ask(self, asked: Request, faults: Sequence[Fault], sink: Callable[[str], None]) -> int:
        self.count += 1
        identity = DeploymentId(f"20260101T{self.count:06}", f"{self.count:08}-{UUID}")

        def work() -> None:
            ear, macros = self._ear(sink), Macros(self.machine)
            ending = deployment.deploy(self.project, asked, macros, ear, identity)
            self.machine.tell("ended", identity, ending.outcome)

        return self._child(work, faults)

    def push_both(self, one: str, two: str, faults: Sequence[Fault]) -> tuple[int, int]:
        """Begin two deployments of which the second finds the first under way, or dead."""
        queued = self.machine.folder / "queued"
        queued.unlink(missing_ok=True)
        self.machine.waits_for = queued
        first = self.push(one, faults)
        self.machine.waits_for = None
        wait_until(lambda: lock.is_held(self.paths.lock) or is_dead(first))

        def said(line: str) -> None:
            if "queued behind" in line:
                queued.touch()

        second = self.push(two, sink=said)
        return first, second

    def recover(self, faults: Sequence[Fault] = ()) -> int:
        """Begin what the service does when it starts, in a child."""

        def work() -> None:
            log = Log(self.paths.state / "logs" / "recovery.log", self._ear())
            with lock.held(self.paths.lock, "recovery", lambda _ahead: None):
                try:
                    deployment.recover(self.project, Macros(self.machine), log)
                except deployment.RollbackFailed as error:
                    log.alarm(str(error))

        return self._child(work, faults)

    def _ear(self, sink: Callable[[str], None] = unheard) -> Callable[[str], None]:
        """Return a listener that records what is said, and of which deployment."""
        subject = ""

        def said(line: str) -> None:
            nonlocal subject
            words = line.split()
            if line.startswith("-----> ") and words[1] in ("recovering", self.project.name):
                subject = words[2].rstrip(":")
            self.machine.tell("said", subject, line[7:])
            sink(line)

        return said

    def reboot(self) -> None:
        """Stop and start the container: what is unfinished is held before anything starts."""
        self.machine.boot()
        self.unmount()
        if any((self.place.units / binding.WANTS).glob("*")):
            kernel.bind_mount(self.paths.run, self.paths.project)
        boot.hold_unfinished(self.place)
        self.machine.come_up()
        self.machine.visit(now=True)

    def unmount(self) -> None:
        """Take off what editable mode has mounted."""
        for point in reversed(mounts.below(self.paths.root)):
            kernel.unmount(point)

    def _child(self, work: Callable[[], None], faults: Sequence[Fault]) -> int:
        def armed() -> None:
            play(self.machine)
            large = self.paths.state / "reserve"
            each = self.machine.visit
            instants = Instants(self.place.prefix, faults, each=each, large=large)
            if self.machine.is_broken("disk"):
                instants.full = "overfull"
            instants.on_full = self._remember
            self.machine.instants = instants
            instants.arm()
            work()

        return fork(armed)

    def _remember(self, fault: Fault) -> None:
        if fault.kind == "overfull":
            self.machine.break_("disk")

    # What there is

    @property
    def live(self) -> Entry | None:
        return Ledger(self.paths.ledger).live()

    @property
    def targets(self) -> list[Entry]:
        """What a rollback may go back to."""
        return [
            entry
            for entry in Ledger(self.paths.ledger).targets()
            if self.paths.deployment(entry.deployment).is_dir()
        ]

    def version_of(self, entry: Entry) -> Version:
        version = Version.parse(self.machine.git.files(entry.commit)["app"])
        assert version
        return version

    @property
    def unfinished(self) -> bool:
        return self.paths.journal.exists()

    @property
    def sound(self) -> bool:
        """Whether nothing is unfinished or broken, so that the next push ends as it should."""
        return not self.unfinished and not self.machine.broken

    @property
    def last(self) -> str:
        """How the last deployment ended, as it was told."""
        return next(e[3] for e in reversed(self.machine.events()) if e[1] == "ended")


def wait(*pids: int, patience: float = 30) -> int:
    """Wait for children and return how the last one ended; one that hangs is killed, and fails."""
    status = 0
    for pid in pids:
        handle = os.pidfd_open(pid)
        hangs = not select.select([handle], [], [], patience)[0]
        os.close(handle)
        if hangs:
            os.kill(pid, signal.SIGKILL)
        status = os.waitpid(pid, 0)[1]
        assert not hangs, "a deployment hangs"
        assert status in (0, signal.SIGKILL), f"a deployment ended with {status}"
    return status


def is_dead(pid: int) -> bool:
    """Tell whether a child of ours has ended, without burying it."""
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
