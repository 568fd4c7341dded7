"""Parts of a deployment run by hand, on what is checked out and live: no way back.

For developers in editable mode, and for tasks such as creating an administrator. Each takes
the project's lock, so that no deployment is under way meanwhile.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from corpus.model.deployment import DeploymentId
from corpus.model.errors import InvalidInput, NotFound
from corpus.model.mode import Mode
from corpus.project import (
    binding,
    configuration,
    deployment,
    editable,
    lock,
    phases,
    preparing,
    repository,
    window,
)
from corpus.project.log import Log
from corpus.project.phases import Tally
from corpus.project.place import Project
from corpus.project.work import Work

STEPS: Mapping[str, Callable[[Work], None]] = {
    "preflight": preparing.preflight,
    "bind": editable.bind_and_build,
    "start": window.start,
    "health": window.check_health,
}
"""The steps of a deployment that make sense alone; ``bind`` in editable mode."""
Value = TypeVar("Value")
_TASK = re.compile(r"[A-Za-z0-9_]{1,60}", re.ASCII)


def run_phases(
    project: Project, names: Sequence[str], make_runner: deployment.MakeRunner, log: Log
) -> list[str]:
    """Run the phases ``names`` in the order given; return those that the project has.

    Raises InvalidInput, PhaseFailed.
    """
    unknown = [name for name in names if name not in (*phases.PHASES, *phases.EXTRA)]
    if unknown:
        raise InvalidInput(f"no phase is called {', '.join(unknown)}", mend="see docs/reference")

    def run(work: Work) -> list[str]:
        refused = [
            name
            for name in names
            if name in phases.NOT_CALLED[work.mode]
            or (work.mode is not Mode.EDITABLE and name in (*phases.BUILD, "bundle"))
        ]
        if refused:
            raise InvalidInput(
                f"not by hand in {work.mode} mode: {', '.join(refused)}",
                mend="run/ is made by deployments: push, or work in editable mode",
            )
        for name in names:
            work.phase(name)
        return [name for name in names if work.runner.has(name)]

    return _with_project(project, make_runner, log, f"phases {' '.join(names)}", run)


def run_steps(
    project: Project, names: Sequence[str], make_runner: deployment.MakeRunner, log: Log
) -> list[str]:
    """Run steps of a deployment in the order given. Raises InvalidInput, CorpusError."""
    unknown = [name for name in names if name not in STEPS]
    if unknown:
        raise InvalidInput(
            f"not a step to run by hand: {', '.join(unknown)}", mend=f"use {', '.join(STEPS)}"
        )

    def run(work: Work) -> list[str]:
        if "bind" in names and work.mode is not Mode.EDITABLE:
            raise InvalidInput(f"there is no step bind in {work.mode} mode", mend="push instead")
        if "bind" in names and not binding.rebind(project):
            raise InvalidInput(
                "run/ holds another version, which the step bind alone would overwrite",
                mend="push: a deployment puts it aside first",
            )
        for name in names:
            log.title(name)
            STEPS[name](work)
        return list(names)

    return _with_project(project, make_runner, log, f"steps {' '.join(names)}", run)


def run_task(
    project: Project,
    name: str,
    arguments: Mapping[str, Any],
    make_runner: deployment.MakeRunner,
    log: Log,
) -> Tally:
    """Run ``.salt/task_<name>.sls``; it finds ``arguments`` as ``common.arguments``.

    Raises InvalidInput, NotFound with the tasks that there are, PhaseFailed.
    """
    if not isinstance(name, str) or not _TASK.fullmatch(name):
        raise InvalidInput(f"not the name of a task: {ascii(name)[:60]}")
    there = tasks(project)
    if name not in there:
        raise NotFound(
            f"no task {name}",
            where=str(project.paths.salt / f"task_{name}.sls"),
            mend=f"tasks: {', '.join(there) or 'none'}",
        )

    def run(work: Work) -> Tally:
        work.common["arguments"] = dict(arguments)
        log.secrets += configuration.secrets_of(arguments)
        log.title(f"task {name}")
        with phases.limited(f"task_{name}", phases.seconds(work.common, "default")):
            return work.runner.task(name, work.common, log.line)

    return _with_project(project, make_runner, log, f"task {name}", run)


def tasks(project: Project) -> list[str]:
    """Return the names of the project's tasks."""
    found = project.paths.salt.glob("task_*.sls")
    return sorted(path.name.removeprefix("task_").removesuffix(".sls") for path in found)


def _with_project(
    project: Project,
    make_runner: deployment.MakeRunner,
    log: Log,
    what: str,
    run: Callable[[Work], Value],
) -> Value:
    """Call ``run`` with the project configured, under its lock, after any recovery."""
    identity = deployment.new_id()
    with lock.held(
        project.paths.lock,
        f"{what} {identity}",
        lambda ahead: log.title(f"queued behind {ahead}"),
    ):
        deployment.recover(project, make_runner, log)
        work = _work(project, identity, make_runner, log)
        with phases.limited("configuration", preparing.CONFIGURE):
            work.configure()
        work.phase("gather_variables")
        return run(work)


def _work(
    project: Project, identity: DeploymentId, make_runner: deployment.MakeRunner, log: Log
) -> Work:
    commit = repository.checked_out(project)
    if not commit:
        raise NotFound(f"nothing was deployed in {project.name} yet", mend="push first")
    return Work(
        project=project,
        id=identity,
        commit=commit,
        pillar_commit=repository.pillar_tip(project) or "",
        branch="",
        by="mc_project",
        log=log,
        make_runner=make_runner,
    )
