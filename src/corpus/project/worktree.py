"""A push checks out where somebody edits: nothing of his is lost, by a refusal or a crash either.

git's own safety does most of it: a checkout without ``--force`` looks at everything first. What
it does not cover is being killed half-way, when files of two commits lie side by side; a record,
written before and removed after, says which ones, and the next call puts those back.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from corpus.commands import git
from corpus.hosts import kernel
from corpus.hosts.base import Result
from corpus.hosts.files import write_atomic
from corpus.model.errors import DeploymentRefused
from corpus.project import binding, repository
from corpus.project.place import Project

_LISTED = 20


def check_out(project: Project, commit: str) -> None:
    """Make ``project/`` hold ``commit``: in place where somebody edits it, else exactly.

    A binding that was lost is made again first; one that shows no work tree is ended. Raises
    DeploymentRefused, CorpusError.
    """
    paths = project.paths
    if _is_edited(project):
        check_out_in_place(project, commit)
        return
    if binding.is_bound(project):
        binding.unbind(project)
    _record(project).unlink(missing_ok=True)  # of a work tree that is no more
    repository.check_out(project, paths.project_git, paths.project, commit)


def foresee(project: Project, commit: str) -> None:
    """Raise DeploymentRefused where ``check_out`` would, and touch nothing."""
    bound = binding.is_bound(project) and (project.paths.project / ".git").exists()
    if not (bound or binding.is_shared(project)) or _record(project).exists():
        return
    head = repository.checked_out(project)
    if head != commit and repository.has(project, commit):
        _refuse(project, head, commit)


def _is_edited(project: Project) -> bool:
    """Tell whether ``project/`` is a place where somebody edits, not a mere clone."""
    if binding.rebind(project):
        return binding.is_shared(project) or (project.paths.project / ".git").exists()
    return binding.is_shared(project)


def put_back(project: Project, failed: str, previous: str) -> str:
    """Undo ``check_out`` of ``failed`` where edits allow it; return why not, else nothing.

    ``previous`` is the commit that is live, empty when none is.
    """
    if not _is_edited(project):
        if previous:
            check_out(project, previous)
        return ""
    _mend(project)
    if binding.is_shared(project) or not previous or repository.checked_out(project) != failed:
        return ""
    try:
        check_out_in_place(project, previous)
    except DeploymentRefused as refused:
        return f"project/ stays at {failed[:10]}: {refused}"
    return ""


def dirty(project: Project, commit: str = "") -> list[str]:
    """Return the files of ``project/`` that checking ``commit`` out could lose, sorted.

    Tracked ones that were modified, staged, deleted or are in conflict; and untracked ones,
    ignored or not, that ``commit`` brings too. Raises CommandFailed.
    """
    target = project.paths.project
    found = git.parse_status(repository.run(project, git.status(target)).out)
    head = repository.checked_out(project)
    if commit and head:
        brought = [path for path, (old, _) in _changes(project, head, commit).items() if not old]
        found += [path for path in brought if _is_file(target / path)]
    return sorted(set(found))


def check_out_in_place(project: Project, commit: str) -> None:
    """Check ``commit`` out without touching what nobody committed; git's repository is kept.

    Nothing is done when it is checked out already, edits or not. A directory of the
    developer's own is never moved to another commit: git there is his. Raises
    DeploymentRefused, with the files in the way and what to do; nothing is touched then.
    """
    _mend(project)
    head = repository.checked_out(project)
    if head == commit:
        return
    _refuse(project, head, commit)
    record = _record(project)
    write_atomic(record, json.dumps({"old": head, "new": commit}).encode(), 0o600)
    result = repository.run(project, git.switch(project.paths.project, commit), check=False)
    if result.code:
        _mend(project)
        raise DeploymentRefused(
            f"git cannot check {commit[:10]} out in place\n{_said(result)}",
            where=str(project.paths.project),
            mend="commit your edits, or put them aside (git stash), then push again",
        )
    kernel.sync(project.paths.project)  # past a power cut too, files are of one commit
    record.unlink()


def _refuse(project: Project, head: str, commit: str) -> None:
    """Raise DeploymentRefused when ``commit`` cannot come where ``head`` is checked out."""
    if binding.is_shared(project):
        raise DeploymentRefused(
            f"{commit[:10]} was pushed and the shared directory is at {head[:10] or 'no commit'}",
            where=str(project.paths.project),
            mend=f"on your machine, in that directory: git checkout {commit[:10]} (or your "
            "branch that holds it), then push again",
        )
    if not head:
        raise DeploymentRefused(
            "project/ has no commit checked out",
            where=str(project.paths.project),
            mend="there: git checkout BRANCH, then push again",
        )
    _refuse_losses(project, head, commit)


def _said(result: Result) -> str:
    return result.err.strip() or result.out.strip()


def _refuse_losses(project: Project, head: str, commit: str) -> None:
    """Raise DeploymentRefused when checking out would lose edits or commits."""
    where = str(project.paths.project)
    files = dirty(project, commit)
    if files:
        more = [f"and {len(files) - _LISTED} more"] if len(files) > _LISTED else []
        listed = "\n".join(f"  {path}" for path in [*files[:_LISTED], *more])
        raise DeploymentRefused(
            f"project/ has edits that {commit[:10]} would overwrite\n{listed}",
            where=where,
            mend="there: git commit and bring them into your branch, or git stash, or move the "
            "files away; then push again",
        )
    if not _is_known(project, head):
        raise DeploymentRefused(
            f"{head[:10]} was committed in project/, is on no branch and was never pushed",
            where=where,
            mend="there: git branch NAME; or fetch it into your branch; then push again",
        )


def _is_known(project: Project, commit: str) -> bool:
    """Tell whether a commit outlives its not being checked out."""
    paths = project.paths
    if repository.has(project, commit):
        return True
    return bool(repository.run(project, git.branches_with(paths.project, commit)).out.strip())


# What differs between commits, and what lies on the disk. An entry is ``MODE OBJECT``.


def _changes(project: Project, old: str, new: str) -> dict[str, tuple[str, str]]:
    shown = repository.run(project, git.changes(project.paths.project, old, new))
    return git.parse_changes(shown.out)


def _is_file(path: Path) -> bool:
    """Tell whether something but a directory is there; of directories git takes care."""
    return os.path.lexists(path) and (path.is_symlink() or not path.is_dir())


def _entry(project: Project, path: str) -> str:
    """Return the entry of a file on the disk as git would record it; empty for what is none."""
    target = project.paths.project
    found = target / path
    if found.is_symlink():
        text = os.fsdecode(found.readlink())
        hashed = repository.run(project, git.object_of(target, path, link=True), stdin=text)
        return f"120000 {hashed.out.strip()}"
    if not found.is_file():
        return ""
    hashed = repository.run(project, git.object_of(target, path), check=False)
    mode = "100755" if found.stat().st_mode & 0o100 else "100644"
    return f"{mode} {hashed.out.strip()}"


# The way back from half a checkout.


def _record(project: Project) -> Path:
    return project.paths.state / "checkout"


def _mend(project: Project) -> None:
    """Put the files that a checkout cut off was to change back to what they were.

    One that is neither commit's was edited meanwhile, or half written: it is kept beside as
    ``NAME.orig``. Edits of other files stay.
    """
    record = _record(project)
    if not record.exists():
        return
    target = project.paths.project
    facts = json.loads(record.read_text())
    old, touched = facts["old"], _changes(project, facts["old"], facts["new"])
    for name in git.LOCKS:
        (target / ".git" / name).unlink(missing_ok=True)
    # What is new goes first: it may lie below a name that was a file.
    for path, entries in sorted(touched.items(), key=lambda item: bool(item[1][0])):
        _clear(project, path, entries)
    repository.run(project, git.read_tree(target, old))
    if repository.checked_out(project) != old:
        repository.run(project, git.set_head(target, old))
    names = "".join(f"{path}\0" for path, (before, _after) in touched.items() if before)
    repository.run(project, git.restore(target), stdin=names)
    repository.run(project, git.refresh(target), check=False)
    kernel.sync(target)
    record.unlink()


def _clear(project: Project, path: str, entries: tuple[str, str]) -> None:
    """Take a file out of the way of its old content; keep it unless it is of either commit."""
    target = project.paths.project
    file = target / path
    if not os.path.lexists(file) or any(folder.is_symlink() for folder in _folders(target, file)):
        return
    entry = _entry(project, path)
    if not entry and not entries[0]:
        return  # a directory in whose place a file was to come
    if not entry or entry not in entries:
        file.rename(_free(file))
    elif not entries[0]:
        file.unlink()
    for folder in _folders(target, file):
        if not folder.is_dir() or any(folder.iterdir()):
            break
        folder.rmdir()


def _folders(target: Path, file: Path) -> list[Path]:
    """Return the directories between ``target`` and ``file``, the innermost first."""
    return [folder for folder in file.parents if folder.is_relative_to(target)][:-1]


def _free(file: Path) -> Path:
    """Return the first free one of ``NAME.orig``, ``NAME.orig.1`` …"""
    names = (f"{file.name}.orig{number}" for number in ("", *(f".{n}" for n in range(1, 1000))))
    return next(file.with_name(name) for name in names if not os.path.lexists(file.with_name(name)))
