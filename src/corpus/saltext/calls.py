"""What the functions of ``mc_project`` stand on: place, engines of Salt, how each kind is run."""

from __future__ import annotations

import logging
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from salt.config import minion_config

from corpus.hosts import isolated, kernel
from corpus.model.deployment import DeploymentId, Outcome
from corpus.model.errors import CorpusError
from corpus.model.paths import DEFAULT_PREFIX
from corpus.project import asking, configuration, planning
from corpus.project.deployment import new_id
from corpus.project.log import Log
from corpus.project.place import Place, Project
from corpus.project.request import Request
from corpus.saltext.engine import Engine
from corpus.saltext.events import Events
from corpus.saltext.phases import SaltPhases


def say(line: str) -> None:
    """Tell the caller a line; what a function returns goes to standard output."""
    print(line, file=sys.stderr, flush=True)


@dataclass(frozen=True)
class Call:
    """One call of a function: the options and the pillar that Salt gave it."""

    opts: Mapping[str, Any]
    pillar: Mapping[str, Any]

    @property
    def place(self) -> Place:
        """The environment's place; ``corpus:`` in the minion's configuration moves it."""
        asked = dict(self.opts.get("corpus", {}))
        values = {
            key: (Path(value) if isinstance(value, str) else value)
            for key, value in asked.items()
            if key in {field.name for field in fields(Place)} - {"host"}
        }
        return Place(**({"prefix": DEFAULT_PREFIX} | values))

    def project(self, name: str) -> Project:
        """Return a project of this environment. Raises InvalidInput, NotFound."""
        return Project.existing(self.place, name)

    def configured(self, project: Project) -> dict[str, Any]:
        """Return the settings, compiled in a child: a macro may ask, and Salt's modules know one
        engine a process, the newest."""

        def compiled() -> dict[str, Any]:
            runner = self._runner(project, new_id())
            try:
                with _discreet(Path(os.devnull)) as log:
                    return configuration.compiled(project, runner, log.secrets)
            finally:
                runner.close()

        return isolated.run(compiled)

    def asked(self, project: Project, request: Request) -> dict[str, Any]:
        """Have done what is asked for, and return how it ended."""
        identity = new_id()
        fire = Events(minion_config(self.opts["conf_file"])).fire
        try:
            with _quiet():
                ending = asking.deploy(project, request, self._alone, say, fire, identity)
        finally:
            _forget(project, identity)
        return {
            "deployment": ending.id,
            "outcome": str(ending.outcome),
            "result": ending.outcome is Outcome.LIVE,
            "error": ending.error,
        }

    def planned(
        self, project: Project, request: Request, *, preview: bool = False
    ) -> dict[str, Any]:
        """Return what would be done. In a child: Salt's modules know one engine a process."""
        identity = new_id()

        def work() -> dict[str, Any]:
            with _discreet(Path(os.devnull)) as log:
                # Its engine's folder lies in the plan's scratch project, and goes with that.
                return planning.plan(project, request, self._runner, log, identity, preview=preview)

        return isolated.run(work)

    def by_hand(self, project: Project, work: Callable[..., Any]) -> dict[str, Any]:
        """Run a part of a deployment here, with its log kept as a deployment's is."""
        identity = new_id()
        kernel.become_subreaper()  # so that what a phase leaves running can be ended
        try:
            with _discreet(project.paths.log(identity)) as log:
                return {"done": work(lambda project, _id: self._alone(project, identity), log)}
        finally:
            _forget(project, identity)

    def _runner(self, project: Project, identity: DeploymentId) -> SaltPhases:
        """Return an engine for one deployment or question, with the pillar that this call has."""
        engine = Engine(self.opts, _scratch(project, identity), project.place.prefix)
        return SaltPhases(engine, project, overrides=dict(self.pillar))

    def _alone(self, project: Project, identity: DeploymentId) -> SaltPhases:
        """Return an engine for the holder of the lock, without what killed ones left."""
        for left in project.paths.state.glob("salt-*"):
            shutil.rmtree(left, ignore_errors=True)
        return self._runner(project, identity)


@contextmanager
def _discreet(path: Path) -> Iterator[Log]:
    """Yield a log; what it masks in its lines, no error that leaves the block shows either."""
    log = Log(path, say)
    try:
        with _quiet():
            yield log
    except CorpusError as error:
        error.mask(log.masked)
        raise
    finally:
        log.close()


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep Salt from logging what a failed command said: that belongs to our own log alone."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(before)


def _scratch(project: Project, identity: DeploymentId) -> Path:
    return project.paths.state / f"salt-{identity}"


def _forget(project: Project, identity: DeploymentId) -> None:
    """Remove an engine's folder: it holds rendered states, and so may hold secrets."""
    shutil.rmtree(_scratch(project, identity), ignore_errors=True)
