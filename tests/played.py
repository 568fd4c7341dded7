"""What a deployment on ``machine.py`` meets instead of Salt, tar, zstd and a web server."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import IO, Any

from corpus.hosts import kernel, pipeline, processes
from corpus.model.deployment import DeploymentId
from corpus.model.errors import PhaseFailed, ReleaseRefused
from corpus.model.manifest import Manifest
from corpus.project import binding, health, journal, maintenance, releases, trees
from corpus.project.phases import Tally
from corpus.project.place import Project
from instants import pass_through
from machine import PORT, UNIT, Machine, Version, entries_of
from patience import wait_until
from projects import copy_to_run

RETENTION = {"good": 2, "failed": 1}


class Macros:
    """The phases of the application: they do, then fail where its version says so."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine

    def __call__(self, project: Project, identity: DeploymentId) -> Macros:
        self.project, self.identity = project, identity
        return self

    @property
    def version(self) -> Version:
        return Version.of(self.project.paths.project) or Version(0)

    def pillar(self) -> Mapping[str, Any]:
        settings = {
            "services": [UNIT],
            "ports": [PORT],
            "health": [{"url": "http://127.0.0.1/", "timeout": 0.01}],
            "drain": 0,
            "retention": RETENTION,
            "stop_before": self.version.stop_before,
            "mode": self.version.mode,
        }
        return {f"makina-projects.{self.project.name}": settings}

    def sample(self) -> Mapping[str, Any]:
        return {}

    def overrides(self) -> Mapping[str, Any]:
        return {}

    def has(self, phase: str) -> bool:
        return phase != "start" or self.version.starts

    def check(self, phase: str, common: dict[str, Any]) -> None:
        pass

    def run(self, phase: str, common: dict[str, Any], progress: Callable[[str], None]) -> Tally:
        self.machine.tell("phase", self.identity, phase)
        pass_through(f"phase {phase}")
        if work := getattr(self, f"_{phase}", None):
            work(common)
        if self.version.fails == phase or self.machine.is_broken(phase):
            raise PhaseFailed(f"{phase} was told to fail")
        pass_through(f"end of {phase}")
        self.machine.tell("phase ended", self.identity, phase)
        return Tally(1, 1)

    def _build(self, common: dict[str, Any]) -> None:
        if self.machine.waits_for:
            wait_until(self.machine.waits_for.exists)
        if not binding.is_bound(self.project):
            copy_to_run(common)

    def _start(self, _common: dict[str, Any]) -> None:
        self.machine.run(["systemctl", "start", "--", UNIT])

    def _backup(self, common: dict[str, Any]) -> None:
        database = self.machine.stores[1]
        if database.exists():
            shutil.copyfile(database, Path(common["paths"]["dumps"], "database"))

    def _restore(self, common: dict[str, Any]) -> None:
        dump, database = Path(common["paths"]["dumps"], "database"), self.machine.stores[1]
        database.unlink(missing_ok=True)
        pass_through("the database is gone")
        if dump.exists():
            shutil.copyfile(dump, database)

    def _post_install(self, _common: dict[str, Any]) -> None:
        """Migrate, in place and bit by bit, as nobody should; never back."""
        for store in self.machine.stores:
            if entries_of(store)[1] >= self.version.schema:
                continue
            lines = store.read_text().splitlines() if store.exists() else ["schema 0"]
            half = len(lines) // 2
            for part in (range(half), range(half, len(lines))):
                for number in part:
                    lines[number] = f"{lines[number].split()[0]} {self.version.schema}"
                store.write_text("\n".join(lines) + "\n")
                pass_through(f"migrated a half of {store.name}")


def play(machine: Machine) -> None:
    """Replace in this process what needs a machine, or takes long and shows nothing here."""
    begin, exchange = journal.Journal.begin, kernel.exchange

    def begin_and_tell(self: journal.Journal, step: str, *, durable: bool = True) -> None:
        begin(self, step, durable=durable)
        pass_through(step)

    def exchange_and_tell(one: Path, other: Path) -> None:
        pass_through("exchange")
        exchange(one, other)
        pass_through("exchanged")

    journal.Journal.begin = begin_and_tell  # type: ignore[method-assign]
    kernel.exchange = exchange_and_tell
    kernel.sync = os.sync = os.fsync = lambda *_: None  # no power cuts here
    health.probe = machine.probe
    maintenance.answer_after = lambda *_: None
    pipeline.output_of = archive
    releases.unpack = partial(_unpack, machine)
    processes.descendants = lambda *_: []  # phases are functions of this process
    processes.kill_marked = lambda *_: 0


def _unpack(machine: Machine, _project: Project, manifest: Manifest, target: Path) -> None:
    """Be ``releases.unpack``: what is in the archives nobody wrote there."""
    trees.remove(target)
    trees.make(target)
    try:
        for name, text in machine.git.files(manifest.commit).items():
            if not name.startswith(".salt"):
                (target / name).parent.mkdir(exist_ok=True)
                (target / name).write_text(text)
    except OSError as error:
        trees.remove(target)
        raise ReleaseRefused(str(error)) from None


@contextmanager
def archive(_commands: object, _source: int, *, timeout: float) -> Iterator[IO[bytes]]:
    """Be ``pipeline.output_of``, for archives that nobody unpacks."""
    pass_through("archive")
    yield BytesIO(b"an archive")
    pass_through("archived")
