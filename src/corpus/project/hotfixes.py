"""What was changed by hand in ``run/`` since it went live.

``deploy/<id>`` is what was built or unpacked. What the phases after that made in ``run/`` is
noted when the deployment goes live; all that differs besides is somebody's own change.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from corpus.hosts.files import write_atomic
from corpus.model.deployment import DeploymentId
from corpus.model.mode import Mode
from corpus.project.place import Project
from corpus.project.work import Work

_MOST = 20
_IGNORED = ("__pycache__",)  # an interpreter's cache, not a change of anybody's


def changes(run: Path, unpacked: Path) -> dict[str, str]:
    """Return what differs in ``run`` from ``unpacked``: path to ``new|changed|removed``."""
    before, now = dict(_entries(unpacked)), dict(_entries(run))
    found = {}
    for name, path in now.items():
        with contextlib.suppress(FileNotFoundError):  # the application goes on
            if name not in before:
                found[name] = "new"
            elif not _same(path, before[name]):
                found[name] = "changed"
    return found | {name: "removed" for name in before if name not in now}


def note(project: Project, deployment: DeploymentId) -> None:
    """Remember what the phases of a deployment that goes live made of its ``run/``."""
    run, unpacked = project.paths.run, project.paths.deployment(deployment)
    made = {name: _mark(run / name) for name in changes(run, unpacked)}
    text = json.dumps({"deployment": str(deployment), "made": made})
    write_atomic(project.paths.generated, text.encode(), 0o600, durable=False)


def by_hand(project: Project, live: DeploymentId) -> dict[str, str]:
    """Return what was changed by hand since ``live`` went live."""
    run, unpacked = project.paths.run, project.paths.deployment(live)
    if not unpacked.is_dir():
        return {}
    made, differing = _noted(project, live), changes(run, unpacked)
    found = {}
    for name in differing.keys() | made.keys():
        now = _mark(run / name)
        if name not in made:
            found[name] = differing[name]
        elif made[name] != now:
            found[name] = "changed" if now and made[name] else "new" if now else "removed"
    return found


def _noted(project: Project, live: DeploymentId) -> dict[str, str]:
    try:
        noted = json.loads(project.paths.generated.read_text())
    except (FileNotFoundError, ValueError):
        return {}
    made: dict[str, str] = noted["made"] if noted["deployment"] == str(live) else {}
    return made


def tell(work: Work) -> None:
    """Say what was changed by hand, before it is overwritten. It stays in the archive."""
    if work.mode is Mode.EDITABLE or not work.previous:
        return
    found = by_hand(work.project, work.previous.deployment)
    if not found:
        return
    kept = work.project.paths.archive(work.id).run
    work.log.alarm(f"run/ was changed by hand since it went live; kept in {kept}:")
    for name, how in sorted(found.items())[:_MOST]:
        work.log.alarm(f"  {how:7} {name}")
    if len(found) > _MOST:
        work.log.alarm(f"  and {len(found) - _MOST} more: mc_project.diff {work.project.name}")


def _entries(folder: Path) -> Iterator[tuple[str, Path]]:
    for place, names, files in os.walk(folder):
        names[:] = [name for name in names if name not in _IGNORED]
        links = [name for name in names if Path(place, name).is_symlink()]
        for name in (*files, *links):
            path = Path(place, name)
            yield str(path.relative_to(folder)), path


def _same(one: Path, other: Path) -> bool:
    a, b = one.lstat(), other.lstat()
    if (a.st_mode, a.st_uid, a.st_gid) != (b.st_mode, b.st_uid, b.st_gid):
        return False
    if stat.S_ISLNK(a.st_mode):
        return one.readlink() == other.readlink()
    if a.st_size != b.st_size or not stat.S_ISREG(a.st_mode):
        return a.st_size == b.st_size
    return a.st_mtime_ns == b.st_mtime_ns or _mark(one) == _mark(other)


def _mark(path: Path) -> str:
    """Return what tells one content of a path from another; empty when it is absent."""
    with contextlib.suppress(FileNotFoundError):  # it may go while one looks
        if path.is_symlink():
            return f"-> {path.readlink()}"
        if path.is_file():
            with path.open("rb") as file:
                mode = os.fstat(file.fileno()).st_mode
                return f"{mode:o} {hashlib.file_digest(file, 'sha256').hexdigest()}"
    return ""
