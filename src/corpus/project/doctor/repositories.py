"""Checks of the two bare repositories: what a push goes through."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from corpus.commands import git
from corpus.model.errors import DeploymentRefused
from corpus.model.finding import Finding, State
from corpus.project import layout, repository
from corpus.project.doctor.patient import Patient
from corpus.project.place import Project

_HOOKS = "core.hookspath"


def hook(patient: Patient) -> Iterator[Finding]:
    """The hook is ours, unchanged, executable, and root's."""
    project = patient.project
    path = layout.hook_of(project)
    said = ""
    if not path.is_file() or path.is_symlink() or path.parent.is_symlink():
        said = "absent: nobody can push"
    elif path.read_bytes() != layout.hook_text(project):
        said = "it was changed, or is that of another version"
    elif stat.S_IMODE(path.stat().st_mode) != 0o755:
        said = f"mode {stat.S_IMODE(path.stat().st_mode):04o}"
    elif any(each.stat().st_uid != os.geteuid() for each in (path, path.parent)):
        said = "it is not root's"
    if said:
        yield Finding(
            "hook", State.BAD, said, str(path), "it is written anew", partial(_renew_hook, project)
        )


def _renew_hook(project: Project) -> None:
    folder = layout.hook_of(project).parent
    if folder.is_symlink():
        folder.unlink()
    layout.repositories(project)
    os.chown(folder, os.geteuid(), -1)


def repositories(patient: Patient) -> Iterator[Finding]:
    """Both are there, configured, the account's own, and have the commits that matter."""
    project, paths = patient.project, patient.project.paths
    check, renew = "repositories", partial(layout.repositories, project)
    for bare in (paths.project_git, paths.pillar_git):
        if not (bare / "HEAD").is_file():
            mend = "an empty one is made; push again"
            yield Finding(check, State.BAD, "no repository", str(bare), mend, renew)
            continue
        foreign = list(_foreign(project, bare))
        if foreign:
            what = f"{len(foreign)} files are not the account's: a push may fail"
            mend = f"chown {project.user}: these"
            repair = partial(_give, project, bare)
            yield Finding(check, State.BAD, what, _some(foreign), mend, repair)
        if bare == paths.pillar_git and stat.S_IMODE(bare.stat().st_mode) & 0o077:
            what = "others than the account may read it"
            yield Finding(check, State.BAD, what, str(bare), f"chmod 700 {bare}", renew)
        yield from _settings(project, bare)
        yield from _branches(project, bare)
    if patient.live:
        with contextlib.suppress(DeploymentRefused):
            repository.describe(project, patient.live.commit)
            return
        what = f"the commit that is live, {patient.live.commit[:10]}, is not there"
        yield Finding(
            check,
            State.BAD,
            what,
            str(paths.project_git),
            "push it: git push … HEAD:refs/heads/old",
        )


def _settings(project: Project, bare: Path) -> Iterator[Finding]:
    found = git.parse_settings(repository.run(project, git.settings(bare)).out)
    wanted = {key.lower(): [value] for key, value in layout.RECEIVE.items()}
    if bare == project.paths.project_git:
        wanted[layout.HANDED.lower()] = list(git.DEPLOY_REFS)
    wrong = sorted(
        key for key, values in wanted.items() if found.get(key, [])[: len(values)] != values
    )
    if wrong:
        yield Finding(
            "repositories", State.BAD, f"not configured as it must be: {', '.join(wrong)}",
            str(bare / "config"), "it is set", partial(layout.repositories, project),
        )  # fmt: skip
    if _HOOKS in found:
        mend = f"git --git-dir={bare} config --unset-all {_HOOKS}"
        yield Finding(
            "repositories", State.BAD, "another directory of hooks is set", str(bare), mend
        )


def _branches(project: Project, bare: Path) -> Iterator[Finding]:
    for branch in git.DEPLOY_REFS:
        if (bare / branch).exists() and repository.branch_tip(project, bare, branch) is None:
            mend = f"git --git-dir={bare} fsck, then update-ref {branch} COMMIT"
            yield Finding(
                "repositories", State.BAD, "the branch leads to no commit", f"{bare} {branch}", mend
            )


def _foreign(project: Project, bare: Path, *, give: bool = False) -> Iterator[Path]:
    """Yield what is in a repository and not its account's; the hooks are root's.

    ``give`` it to the account: by open directories, since what is below is the account's.
    """
    owner = layout.account_of(project, project.user)
    if owner is None:
        return
    for folder, names, files, handle in os.fwalk(bare):
        if folder == str(bare) and "hooks" in names:
            names.remove("hooks")
        for name in (*names, *files):
            found = os.stat(name, dir_fd=handle, follow_symlinks=False)
            if found.st_uid != owner[0]:
                if give and (stat.S_ISDIR(found.st_mode) or found.st_nlink == 1):
                    os.chown(name, *owner, dir_fd=handle, follow_symlinks=False)
                yield Path(folder, name)


def _give(project: Project, bare: Path) -> None:
    for _path in _foreign(project, bare, give=True):
        pass


def _some(paths: list[Path]) -> str:
    return ", ".join(map(str, paths[:3]))
