"""Checks of a project's tree: accounts, permissions, links, who may push."""

from __future__ import annotations

import os
import pwd
import stat
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from corpus.model.errors import InvalidInput
from corpus.model.finding import Finding, State
from corpus.model.mode import Mode
from corpus.project import layout, services
from corpus.project.doctor.patient import Patient
from corpus.project.layout import Folder
from corpus.project.place import Project

_OTHERS = stat.S_IRWXG | stat.S_IRWXO


def accounts(patient: Patient) -> Iterator[Finding]:
    """Both accounts are there, with their homes."""
    project = patient.project
    if not project.place.accounts:
        return
    homes = {project.user: project.paths.git, project.application: project.paths.data}
    for name, home in homes.items():
        try:
            found = pwd.getpwnam(str(name)).pw_dir
        except KeyError:
            yield Finding(
                "accounts",
                State.BAD,
                f"the account {name} is not there",
                "/etc/passwd",
                "it is made; what belonged to the former one, chown",
                partial(layout.have_accounts, project),
            )
            continue
        if found != str(home):
            yield Finding(
                "accounts", State.BAD, f"the account {name} has another home", found,
                f"usermod --home {home} {name}",
            )  # fmt: skip


# -- permissions


def permissions(patient: Patient) -> Iterator[Finding]:
    """Every directory of the layout has the mode and the owner that it was made with."""
    editable = patient.live is not None and patient.live.mode == Mode.EDITABLE
    shown = {patient.project.paths.project, patient.project.paths.run} if editable else set()
    for folder in layout.folders(patient.project):
        if folder.path not in shown:  # which are the developer's own, with his permissions
            yield from _folder(patient.project, folder)
    yield from _records(patient.project)


def _folder(project: Project, folder: Folder) -> Iterator[Finding]:
    path = folder.path
    check = "permissions"
    if path.is_symlink() or (path.exists() and not path.is_dir()):
        yield Finding(check, State.BAD, "no directory", str(path), "move it away")
        return
    repair = None if folder.copied else partial(layout.put_right, project, folder)
    if not path.is_dir():
        mend = "it is made" if repair else "put the copy of an archive here, by mv or cp -a"
        yield Finding(check, State.BAD, "absent", str(path), mend, repair)
        return
    found = path.stat()
    owner = layout.account_of(project, folder.owner, folder.group)
    if owner and owner != (found.st_uid, found.st_gid) and path != project.paths.run:
        what = f"owned by {_name(found.st_uid)}, group {found.st_gid}"
        mend = f"chown {folder.owner}:{folder.group or folder.owner} {path}"
        yield Finding(check, State.BAD, what, str(path), mend, repair)
    mode = stat.S_IMODE(found.st_mode)
    if mode & stat.S_IWOTH if folder.copied else mode != folder.mode:
        mend = f"chmod {folder.mode:o} {path}"
        yield Finding(check, State.WARN, f"mode {mode:04o}", str(path), mend, repair)


def _records(project: Project) -> Iterator[Finding]:
    """Yield one finding for the platform's own records that others than root may read."""
    paths = project.paths
    files = [*paths.state.glob("[!.]*"), *paths.state.glob("logs/*")]
    open_ = [path for path in files if path.is_file() and path.stat().st_mode & _OTHERS]
    if open_:
        yield Finding(
            "permissions", State.WARN, f"{len(open_)} records are not root's alone",
            ", ".join(sorted(map(str, open_))[:3]), "chmod 600", partial(_close, open_),
        )  # fmt: skip


def _close(paths: list[Path]) -> None:
    for path in paths:
        path.chmod(0o600)


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


# -- links


def links(patient: Patient) -> Iterator[Finding]:
    """Salt's links, ``current`` and systemd's units lead where they must."""
    project, paths, live = patient.project, patient.project.paths, patient.live
    for place, target in ((paths.salt_link, paths.salt), (paths.pillar_link, paths.pillar)):
        if not place.is_symlink() or place.readlink() != target:
            where = f"{place} -> {target}"
            mend = "it is linked" if place.is_symlink() or not place.exists() else "move it away"
            repair = partial(layout.link, project)
            yield Finding("links", State.BAD, "Salt does not find the project", where, mend, repair)
    if patient.under_way or patient.unfinished:
        return
    yield from _current(patient)
    units = live.runtime.get("services", []) if live else []
    astray = services.astray(project, units)
    if astray:
        yield Finding(
            "links", State.BAD, "systemd's links are not those of run/systemd",
            ", ".join(map(str, astray)), "they are linked, and systemd reads them",
            partial(services.link, project, units, {}),
        )  # fmt: skip


def _current(patient: Patient) -> Iterator[Finding]:
    paths, live = patient.project.paths, patient.live
    link = paths.current
    wanted = "" if live is None else "../run" if live.mode == Mode.EDITABLE else live.id
    found = str(link.readlink()) if link.is_symlink() else ""
    if found != wanted:
        what = f"it leads to {found or 'nothing'}; live is {live.id if live else 'nothing'}"
        repair = partial(_point, link, wanted) if link.is_symlink() or not link.exists() else None
        mend = "it is put right" if repair else "move it away"
        yield Finding("links", State.WARN, what, str(link), mend, repair)
    if wanted and not (paths.deploy / wanted).is_dir():
        yield Finding(
            "links", State.WARN, "the files of the live deployment are not there",
            str(paths.deploy / wanted), "deploy again: no rollback can come back to this one",
        )  # fmt: skip


def _point(link: Path, wanted: str) -> None:
    link.unlink(missing_ok=True)
    if wanted:
        link.symlink_to(wanted)


# -- who may push


def keys(patient: Patient) -> Iterator[Finding]:
    """The file of authorised keys is one that sshd reads, and root's."""
    path = patient.project.place.keys / patient.project.name
    if not path.exists():
        mend = f"mc_project.init_project {patient.project.name} keys='[\"ssh-ed25519 …\"]'"
        yield Finding("keys", State.WARN, "no key may push", str(path), mend)
        return
    found = path.stat()
    if path.is_symlink() or found.st_uid != os.geteuid():
        yield Finding("keys", State.BAD, "it is not root's own file", str(path), "write it anew")
        return
    if stat.S_IMODE(found.st_mode) != 0o644:
        what = f"mode {stat.S_IMODE(found.st_mode):04o}"
        yield Finding(
            "keys", State.BAD, what, str(path), f"chmod 644 {path}", partial(path.chmod, 0o644)
        )
    for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1):
        try:
            restricted, _, key = line.partition(" ")
            layout.public_key(key)
        except InvalidInput:
            restricted = ""
        if restricted != "restrict":
            mend = "give the keys anew: mc_project.init_project keys="
            yield Finding("keys", State.BAD, f"line {number} is not a key", str(path), mend)
