"""The two repositories of a project and their local clones.

git runs as the project's account: what a tenant can write there, he can also configure.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from corpus.commands import git
from corpus.hosts import mounts
from corpus.hosts.base import Result
from corpus.model.errors import CommandFailed, DeploymentRefused
from corpus.project import trees
from corpus.project.place import Project

ENVIRONMENT = {"GIT_CONFIG_NOSYSTEM": "1", "GIT_TERMINAL_PROMPT": "0"}
"""What git finds in its environment, besides the account's own."""


@dataclass(frozen=True)
class Commit:
    """A commit with its time (Unix seconds) and the first line of its message."""

    sha: str
    time: int
    subject: str


def run(
    project: Project, argv: list[str], *, check: bool = True, stdin: str | None = None
) -> Result:
    """Run git as the project's account, deaf to the configuration of others."""
    return project.host.run(
        argv,
        stdin=stdin,
        user=project.user,
        env=ENVIRONMENT,
        cwd=project.paths.root,
        check=check,
        timeout=300,
    )


def branch_tip(project: Project, repository: Path, branch: str) -> str | None:
    """Return the commit of a branch, or None when there is no such branch."""
    result = run(project, git.tip(repository, branch), check=False)
    return git.sha(result.out.strip()) if result.code == 0 else None


def checked_out(project: Project) -> str:
    """Return the commit of the local clone; empty when nothing was checked out yet."""
    if not (project.paths.project / ".git").exists():
        return ""
    return run(project, git.head(project.paths.project), check=False).out.strip()


def deploy_branch(project: Project) -> tuple[str, str]:
    """Return the ref and the commit of the branch that deploys. Raises DeploymentRefused."""
    found = _tip(project, project.paths.project_git)
    if found:
        return found
    raise DeploymentRefused(
        f"nothing was pushed to {project.name} yet",
        where=str(project.paths.project_git),
        mend="push a commit to the branch master or main",
    )


def deploy_ref(project: Project) -> str:
    """Return the ref of the branch that deploys; that of master when nothing was pushed yet."""
    found = _tip(project, project.paths.project_git)
    return found[0] if found else git.DEPLOY_REFS[0]


def pillar_tip(project: Project) -> str | None:
    """Return the commit of the pillar that was pushed last, or None."""
    found = _tip(project, project.paths.pillar_git)
    return found[1] if found else None


def _tip(project: Project, repository: Path) -> tuple[str, str] | None:
    """Return the branch that deploys and its commit: master, unless main went on from there."""
    found: tuple[str, str] | None = None
    for ref in git.DEPLOY_REFS:
        tip = branch_tip(project, repository, ref)
        if tip and (found is None or _is_ahead(project, repository, tip, found[1])):
            found = ref, tip
    return found


def _is_ahead(project: Project, repository: Path, new: str, old: str) -> bool:
    argv = git.is_ancestor(repository, old, new)
    return new != old and run(project, argv, check=False).code == 0


def check_forward(project: Project, branch: str, new: str) -> None:
    """Raise DeploymentRefused unless ``new`` descends from what ``branch`` holds now."""
    old = branch_tip(project, project.paths.project_git, branch)
    if old is None:
        return
    if run(project, git.is_ancestor(project.paths.project_git, old, new), check=False).code:
        raise DeploymentRefused(
            f"{branch.removeprefix('refs/heads/')} is at {old[:10]}, which {new[:10]} does not "
            "descend from (not a fast-forward)",
            mend="git pull --rebase, then push again",
        )


def move_branch(project: Project, branch: str, new: str) -> None:
    """Point ``branch`` of the pushed repository at ``new``."""
    repository = project.paths.project_git
    old = branch_tip(project, repository, branch)
    if old == new:
        return
    command = git.update_ref(repository, branch, new, old or git.ZERO)
    try:
        run(project, command)
    except CommandFailed:
        # Left by a killed git: this branch is moved by deployments alone, and we hold the lock.
        (repository / f"{branch}.lock").unlink(missing_ok=True)
        run(project, command)


def check_out(project: Project, repository: Path, target: Path, commit: str) -> None:
    """Make the clone ``target`` hold exactly the files of ``commit``.

    Raises DeploymentRefused for a directory of the developer's, of which nothing is removed.
    """
    if mounts.is_point(target):
        raise DeploymentRefused(
            "files are edited here: a clone made anew would lose them",
            where=str(target),
            mend="set mode: editable",
        )
    if not (target / ".git").exists():
        run(project, git.clone_shared(repository, target))
    try:
        run(project, git.checkout(target, commit))
    except CommandFailed:
        # Locks left by a killed checkout: nobody else may be here, we hold the lock.
        for name in git.LOCKS:
            (target / ".git" / name).unlink(missing_ok=True)
        if run(project, git.checkout(target, commit), check=False).code:
            # Half a clone, or one that a power cut damaged: nothing in it is worth keeping.
            trees.empty(target)
            run(project, git.clone_shared(repository, target))
            run(project, git.checkout(target, commit))
    run(project, git.clean(target))


def has(project: Project, commit: str) -> bool:
    """Tell whether a commit is in the repository that code is pushed to."""
    return run(project, git.has(project.paths.project_git, commit), check=False).code == 0


def describe(project: Project, commit: str) -> Commit:
    """Return what a commit says of itself. Raises DeploymentRefused when it is not there."""
    result = run(project, git.describe(project.paths.project_git, commit), check=False)
    if result.code != 0:
        raise DeploymentRefused(f"no commit {commit[:10]} in {project.paths.project_git}")
    time, _, subject = result.out.partition("\n")
    return Commit(commit, int(time), subject.strip())
