"""What the steps of one deployment share."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from corpus.model.deployment import DeploymentId, Kind
from corpus.model.mode import Mode
from corpus.project import configuration, phases
from corpus.project.journal import Journal
from corpus.project.ledger import Entry, Ledger
from corpus.project.log import Log
from corpus.project.phases import PhaseRunner
from corpus.project.place import Project

if TYPE_CHECKING:
    from corpus.project.request import Request

RUNTIME_KEYS = ("services", "ports", "health", "drain", "timeouts", "retention")


@dataclass
class Work:
    """One deployment under way, or one that recovery takes up again.

    ``runtime`` is what stopping and starting it takes (units, ports, checks); ``common``
    is empty until the project is configured. ``target`` is the former deployment of a
    rollback, or the release that a promotion asks for; ``release`` is the id of the one that
    was made or taken, ``size`` the bytes of the new ``run/``, ``download`` those of the release
    that are not here yet.
    """

    project: Project
    id: DeploymentId
    commit: str
    pillar_commit: str
    branch: str
    by: str
    log: Log
    make_runner: Callable[[Project, DeploymentId], PhaseRunner]
    started: float = field(default_factory=time.time)
    common: dict[str, Any] = field(default_factory=dict)
    runtime: dict[str, Any] = field(default_factory=dict)
    kind: Kind = Kind.DEPLOY
    mode: Mode = Mode.COOKING  # known once it is configured
    target: str = ""
    with_data: bool = False
    release: str = ""
    size: int = 0
    download: int = 0
    steps: dict[str, float] = field(default_factory=dict)
    held_since: float = 0.0
    page: int | None = None
    around_phase: Callable[[], AbstractContextManager[None]] = nullcontext
    _runner: PhaseRunner | None = None

    def __post_init__(self) -> None:
        self.journal = Journal(self.project.paths.journal)
        self.ledger = Ledger(self.project.paths.ledger)
        self.previous: Entry | None = self.ledger.live(besides=str(self.id))

    @classmethod
    def of(
        cls,
        asked: Request,
        project: Project,
        id: DeploymentId,
        pillar_commit: str,
        log: Log,
        make_runner: Callable[[Project, DeploymentId], PhaseRunner],
    ) -> Work:
        """Return the work of a request whose commit, pillar and release are settled."""
        return cls(
            project=project,
            id=id,
            commit=asked.new,
            pillar_commit=pillar_commit,
            branch=asked.branch,
            by=asked.by,
            log=log,
            make_runner=make_runner,
            kind=asked.kind,
            target=asked.target,
            with_data=asked.with_data,
        )

    @property
    def runner(self) -> PhaseRunner:
        """The engine of the phases, made when the checkout is in place."""
        if self._runner is None:
            self._runner = self.make_runner(self.project, self.id)
        return self._runner

    def configure(self) -> None:
        """Fill ``common`` from the layers of configuration. Raises InvalidInput."""
        settings = configuration.compiled(self.project, self.runner, self.log.secrets)
        self.common = configuration.make_common(
            self.project,
            settings,
            deployment=str(self.id),
            commit=self.commit,
            pillar_commit=self.pillar_commit,
        )
        self.common["paths"]["dumps"] = str(self.project.paths.archive(self.id).dumps)
        self.mode = Mode(self.common["mode"])
        self.note(mode=self.mode)
        self.note_runtime()

    def note(self, **facts: Any) -> None:
        """Write into the journal what recovery needs to know."""
        self.journal.facts(**facts)

    def phase(self, name: str) -> None:
        """Run one phase of the project. Raises PhaseFailed."""
        with self.around_phase() if self.runner.has(name) else nullcontext():
            phases.run(self.runner, name, self.common, self.log)
        self.note_runtime()

    def note_runtime(self) -> None:
        """Write into the journal what undoing takes; macros may have changed it."""
        runtime = {key: self.common[key] for key in RUNTIME_KEYS}
        runtime["size"] = self.size
        runtime["starts_itself"] = self.runner.has("start")
        runtime["stops_itself"] = self.runner.has("stop")
        if runtime != self.runtime:
            self.runtime = runtime
            self.note(runtime=runtime)

    @property
    def former(self) -> dict[str, Any]:
        """What starting the previous live version takes; empty when there was none."""
        return self.previous.runtime if self.previous else {}

    @property
    def ports(self) -> list[int]:
        """The ports of this version and of the previous one."""
        both = [*self.runtime.get("ports", []), *self.former.get("ports", [])]
        return sorted({int(port) for port in both})

    def of_previous(self) -> Work:
        """Return work on the version that was live before, to run macros of its own."""
        assert self.previous is not None  # noqa: S101  the caller has seen that there is one
        return replace(
            self,
            commit=self.previous.commit,
            pillar_commit=self.previous.pillar_commit,
            common={},
            runtime=dict(self.runtime),
            _runner=None,
        )

    def header(self) -> dict[str, Any]:
        """Return what the journal says of this deployment at its top."""
        return {
            "id": str(self.id),
            "commit": self.commit,
            "pillar_commit": self.pillar_commit,
            "branch": self.branch,
            "by": self.by,
            "started": self.started,
            "kind": self.kind,
            "target": self.target,
            "with_data": self.with_data,
        }
