"""Scratch twins of a project, in which plans are made.

All plans of a project share one lock while they last, which the kernel frees when one is
killed: who can have it alone knows that every twin on the disk is nobody's.
"""

from __future__ import annotations

import fcntl
import os
import pwd
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from corpus.commands import git
from corpus.model.deployment import DeploymentId
from corpus.project import repository
from corpus.project.place import Project

_PREFIX = "plan-"


@contextmanager
def made(project: Project, identity: DeploymentId) -> Iterator[Project]:
    """Give a twin of the project whose checkouts and repository of code are its own.

    It has what the project's repository has; a commit fetched into it goes with it. All else
    is a link to the real thing.
    """
    with _lock(project, fcntl.LOCK_SH):
        root = project.paths.build / f"{_PREFIX}{identity}"
        twin = Project(replace(project.place, prefix=root), replace(project.paths, prefix=root))
        try:
            _fill(project, twin)
            yield twin
        finally:
            shutil.rmtree(root, ignore_errors=True)


def abandoned(project: Project) -> list[Path]:
    """Return the twins that killed plans left; none while somebody plans."""
    pattern = f"{_PREFIX}*"
    if not any(project.paths.build.glob(pattern)):
        return []
    try:
        with _lock(project, fcntl.LOCK_EX | fcntl.LOCK_NB):
            return sorted(project.paths.build.glob(pattern))
    except BlockingIOError:
        return []


def _fill(project: Project, twin: Project) -> None:
    real, paths = project.paths, twin.paths
    paths.state.mkdir(parents=True)
    own = (real.project, real.pillar, real.state, real.git)
    for entry in real.root.iterdir():
        if entry not in own:
            (paths.root / entry.name).symlink_to(entry)
    if real.ledger.exists():
        shutil.copyfile(real.ledger, paths.ledger)
    for folder in (paths.project, paths.pillar, paths.git):
        folder.mkdir(mode=0o700)
        if project.user is not None:
            account = pwd.getpwnam(project.user)
            os.chown(folder, account.pw_uid, account.pw_gid)
    paths.pillar_git.symlink_to(real.pillar_git)
    repository.run(twin, git.borrow(real.project_git, paths.project_git))


@contextmanager
def _lock(project: Project, how: int) -> Iterator[None]:
    path = project.paths.state / "plans.lock"
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, how)
        yield
    finally:
        os.close(handle)
