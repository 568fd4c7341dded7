"""Editable mode's ground: ``run/`` and ``project/`` are one directory, from boot to boot.

The files live in ``run/``, which systemd shows at ``project/`` as well (RFC, «In development
mode»). A directory of the developer's own machine the node mounts at both places, before
anything starts, and nothing is moved or removed here.

Killed between any two steps, each function ends right when it is called again: ``project/``
holds all of its files or, once they are proved to be in ``run/``, none.
"""

from __future__ import annotations

import os
import pwd
from pathlib import Path

from corpus.commands import copying, systemctl
from corpus.hosts import kernel, mounts
from corpus.hosts.files import write_atomic
from corpus.model.errors import Conflict, CorpusError
from corpus.project import trees
from corpus.project.place import Project

WANTS = "local-fs.target.wants"
_ATTEMPTS = 3


def is_bound(project: Project) -> bool:
    """Tell whether ``run/`` and ``project/`` are one directory now."""
    paths = project.paths
    try:
        return os.path.samestat(paths.run.lstat(), paths.project.lstat())
    except FileNotFoundError:
        return False


def is_shared(project: Project) -> bool:
    """Tell whether ``project/`` is a directory of the developer's, mounted by the node."""
    return mounts.is_point(project.paths.run if is_bound(project) else project.paths.project)


def rebind(project: Project) -> bool:
    """Bind again what was bound and is not, as after a mount that failed at boot.

    Return whether ``run/`` and ``project/`` are one. Raises Conflict, CommandFailed.
    """
    if not is_bound(project) and is_recorded(project):
        bind(project)
    return is_bound(project)


def bind(project: Project) -> None:
    """Make ``run/`` and ``project/`` one directory for good.

    The first time ``run/`` is made to hold what ``project/`` holds and nothing else, so what
    of it is to be kept must have been put aside. Raises Conflict, CorpusError, CommandFailed.
    """
    paths = project.paths
    if is_shared(project):
        if not is_bound(project):  # somebody took it off; the node has it again at the next start
            kernel.bind_mount(paths.project, paths.run)
        return
    if not is_bound(project) and any(paths.project.iterdir()):
        if is_recorded(project):
            raise Conflict(
                "files were put into project/ while it was not bound to run/, which has the "
                "deployed ones",
                where=str(paths.project),
                mend="compare them with run/, move them away, then deploy again",
            )
        _fill(project)
        _empty(project)
    _record(project)
    if not is_bound(project):
        kernel.bind_mount(paths.run, paths.project)
    trees.remove(_spare(project))


def bind_again(project: Project) -> None:
    """Undo ``unbind``: ``run/`` has the files, ``project/`` what was checked out since alone."""
    if not is_bound(project):
        trees.empty(project.paths.project)
        bind(project)


def unbind(project: Project) -> None:
    """Make ``run/`` and ``project/`` two directories again; ``run/`` keeps the files.

    ``project/`` is empty then. A directory of the developer's stays bound.
    """
    if is_shared(project):
        return
    _forget(project)
    while is_bound(project):
        kernel.unmount(project.paths.project)
    trees.remove(_spare(project))


def put_back(project: Project, kept: Path, aside: Path) -> None:
    """Make ``run/`` hold what the copy ``kept`` holds, in place; a binding goes on.

    Each file that is overwritten or removed, a developer's edit maybe, is moved to ``aside``.
    When both are work trees of git, what git remembers is left alone: no commit is lost.
    """
    run = project.paths.run
    keep = [".git"] if (kept / ".git").exists() and (run / ".git").exists() else []
    aside.mkdir(parents=True, exist_ok=True)
    project.host.run(copying.mirror(kept, run, aside=aside, keep=keep))
    kernel.sync(run)


def _spare(project: Project) -> Path:
    return project.paths.root / ".project.wiped"


def _fill(project: Project) -> None:
    """Sync ``run/`` with ``project/``, and prove it, until nothing differs."""
    paths = project.paths
    for _ in range(_ATTEMPTS):
        project.host.run(copying.mirror(paths.project, paths.run))
        if not project.host.run(copying.mirror(paths.project, paths.run, compare=True)).out:
            break
    else:
        raise CorpusError(
            "the files of project/ change while they are moved to run/",
            where=str(paths.project),
            mend="end what writes there, then deploy again",
        )
    paths.run.chmod(0o755)  # as in the other modes: the application reads it
    if project.user is not None:
        account = pwd.getpwnam(project.user)
        os.chown(paths.run, account.pw_uid, account.pw_gid)
    kernel.sync(paths.run)


def _empty(project: Project) -> None:
    """Wipe ``project/`` at one stroke: a kill leaves all of its files or none."""
    paths, spare = project.paths, _spare(project)
    trees.remove(spare)
    spare.mkdir()
    before = paths.project.stat()
    spare.chmod(before.st_mode & 0o7777)
    os.chown(spare, before.st_uid, before.st_gid)
    kernel.exchange(spare, paths.project)
    kernel.sync(paths.root)


# The record: the unit that mounts, wanted at boot. Where it is, run/ has the files.


def _unit(project: Project) -> Path:
    return project.place.units / systemctl.mount_unit(project.paths.project)


def is_recorded(project: Project) -> bool:
    """Tell whether ``run/`` and ``project/`` become one at every boot."""
    return _unit(project).exists() or is_shared(project)


def _record(project: Project) -> None:
    """Have systemd mount ``run/`` at ``project/`` now and at every boot."""
    paths, unit = project.paths, _unit(project)
    description = f"corpus: project/ of {project.name} is its run/"
    text = systemctl.mount_text(description, paths.run, paths.project).encode()
    wanted = project.place.units / WANTS / unit.name
    wanted.parent.mkdir(parents=True, exist_ok=True)
    if not wanted.is_symlink():
        wanted.symlink_to(unit)
    new = not unit.exists() or unit.read_bytes() != text
    if new:
        write_atomic(unit, text)
    if project.place.systemd and (new or not is_bound(project)):
        project.host.run(systemctl.reload())
        project.host.run(systemctl.command("start", [unit.name]), timeout=60)


def _forget(project: Project) -> None:
    """Have systemd unmount ``project/`` and never mount it again."""
    unit = _unit(project)
    wanted = project.place.units / WANTS / unit.name
    if not unit.exists() and not wanted.is_symlink():
        return
    if project.place.systemd:
        project.host.run(systemctl.command("stop", [unit.name]), check=False, timeout=60)
    wanted.unlink(missing_ok=True)
    unit.unlink(missing_ok=True)
    if project.place.systemd:
        project.host.run(systemctl.reload())
