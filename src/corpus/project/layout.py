"""Initialise a project: its account, tree, repositories, hook and Salt links. Idempotent."""

from __future__ import annotations

import os
import pwd
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from corpus.commands import accounts, git
from corpus.hosts.files import write_atomic
from corpus.model.errors import Conflict, InvalidInput
from corpus.project import binding, repository, reserve, room, services, trees
from corpus.project.place import RELEASES, Project

HOOK = Path(__file__).with_name("githook.py")
GROUP = "corpus-projects"
RECEIVE = {
    "receive.denyDeletes": "true",
    "receive.denyNonFastForwards": "true",
    "receive.fsckObjects": "true",
    "gc.auto": "0",
}
"""What both repositories are configured to."""
HANDED = "receive.procReceiveRefs"
"""The setting of the code repository whose values are the refs that the hook decides on."""
_KEY_TYPES = ("ssh-ed25519", "ssh-rsa", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384",
              "ecdsa-sha2-nistp521", "sk-ssh-ed25519@openssh.com",
              "sk-ecdsa-sha2-nistp256@openssh.com")  # fmt: skip


@dataclass(frozen=True)
class Folder:
    """A directory of the layout with the permissions and the account that it must have.

    ``group``: another one than the account's own. ``copied``: it is copied whole by the cheapest
    way and belongs to the project, so that mode and owner are given once. ``volume``: it is a
    subvolume where it can be, so that what it holds is accounted apart.
    """

    path: Path
    mode: int
    owner: str | None
    copied: bool = False
    group: str | None = None
    volume: bool = False


def public_key(text: str) -> str:
    """Return one public key in OpenSSH's form, without options. Raises InvalidInput."""
    fields = text.strip().split(None, 2)
    good = len(fields) >= 2 and fields[0] in _KEY_TYPES and "\n" not in text.strip()
    if not good or not all(c.isalnum() or c in "+/=" for c in fields[1]):
        raise InvalidInput(
            f"not a public SSH key: {ascii(text)[:60]}",
            mend="give the one line of a file such as ~/.ssh/id_ed25519.pub",
        )
    return " ".join(fields)


def initialise(project: Project, keys: Sequence[str] = ()) -> list[str]:
    """Make what is missing of a project and return what was made.

    ``keys`` are the public SSH keys that may push to it; given again, they are replaced.
    Raises InvalidInput, Conflict.
    """
    accepted = [public_key(key) for key in keys]
    made = [f"volume {project.paths.root}"] if _volume(project) else []
    made += have_accounts(project)
    made += [str(folder.path) for folder in folders(project) if put_right(project, folder)]
    made += repositories(project)
    made += link(project)
    if accepted:
        _authorise(project, accepted)
    reserve.keep(project)
    return made


def _volume(project: Project) -> bool:
    """Have the project's directory be a volume of its own where it can; tell when it was made."""
    return not project.paths.root.exists() and room.own_volume(project)


def have_accounts(project: Project) -> list[str]:
    """Make the accounts where each project has some; return those made. Raises Conflict."""
    if project.user is None or project.application is None:
        return []
    git_home, data = str(project.paths.git), str(project.paths.data)
    project.paths.root.mkdir(parents=True, exist_ok=True)
    project.host.run(accounts.add_group(GROUP))
    made = _account(project, RELEASES, "/", accounts.add_reader(RELEASES))
    shared = project.place.shares().get(project.name)
    if shared is not None:
        project.host.run(accounts.add_group(project.user, shared))
    wanted = accounts.add(project.user, git_home, GROUP, shared)
    made += _account(project, project.user, git_home, wanted)
    wanted = accounts.add_application(project.application, data)
    return made + _account(project, project.application, data, wanted)


def _account(project: Project, name: str, home: str, command: list[str]) -> list[str]:
    """Make the account ``name`` by ``command`` unless it is there. Raises Conflict."""
    try:
        found = pwd.getpwnam(name)
    except KeyError:
        project.host.run(command)
        return [f"account {name}"]
    if found.pw_dir != home:
        raise Conflict(
            f"the account {name} belongs to something else",
            where=found.pw_dir,
            mend="choose another project name",
        )
    return []


def folders(project: Project) -> list[Folder]:
    """Return every directory of a project, parents first.

    In editable mode ``run/`` is ``project/`` too; one that the developer shares is as he has it.
    """
    paths = project.paths
    bound, shared = binding.is_bound(project), binding.is_shared(project)
    edited = {path for path, by in ((paths.project, bound or shared), (paths.run, bound)) if by}
    found = [
        Folder(paths.root, 0o755, "root"),
        Folder(paths.git, 0o750, project.user, group=RELEASES),
        Folder(paths.project, 0o750, project.user),
        Folder(paths.pillar, 0o700, project.user),
        Folder(paths.build, 0o755, "root"),
        Folder(paths.build / "cache", 0o755, "root"),
        Folder(paths.deploy, 0o700, "root"),
        Folder(paths.releases, 0o750, "root", group=RELEASES, volume=True),
        Folder(paths.archives, 0o700, "root"),
        Folder(paths.data, 0o750, project.application, copied=True),
        Folder(paths.run, 0o755, "root", copied=True),
        Folder(paths.state, 0o700, "root"),
    ]
    return [folder for folder in found if folder.path not in edited]


def put_right(project: Project, folder: Folder) -> bool:
    """Make the directory when it is absent, which is returned, and give it what it must have."""
    made = not folder.path.is_dir()
    if made and (folder.copied or folder.volume):
        trees.make(folder.path, folder.mode)
    elif made:
        folder.path.mkdir(parents=True, mode=folder.mode)
    if made or not folder.copied:
        folder.path.chmod(folder.mode)
        owner = account_of(project, folder.owner, folder.group)
        if owner:
            os.chown(folder.path, *owner)
    return made


def account_of(
    project: Project, name: str | None, group: str | None = None
) -> tuple[int, int] | None:
    """Return the ids of an account and a group, its own or that of the account ``group``.

    None where projects have no accounts.
    """
    if not project.place.accounts or name is None:
        return None
    return pwd.getpwnam(name).pw_uid, pwd.getpwnam(group or name).pw_gid


def repositories(project: Project) -> list[str]:
    """Make the bare repositories, their settings and the hook; return the repositories made."""
    paths = project.paths
    made = []
    for bare in (paths.project_git, paths.pillar_git):
        if not (bare / "HEAD").exists():
            made.append(str(bare))
        # Left by a killed git, which these settings are of alone.
        (bare / git.CONFIG_LOCK).unlink(missing_ok=True)
        repository.run(project, git.init_bare(bare))
        for key, value in RECEIVE.items():
            repository.run(project, git.config(bare, key, value))
    for branch in git.DEPLOY_REFS:
        repository.run(project, git.config(paths.project_git, HANDED, branch, add=True))
    paths.pillar_git.chmod(0o700)  # who serves the code to paired environments passes git/ too
    hook = hook_of(project)
    hook.parent.mkdir(exist_ok=True)
    # Root owns the hook and its directory: a push cannot replace what hands it over.
    write_atomic(hook, hook_text(project), 0o755)
    return made


def hook_of(project: Project) -> Path:
    """Return where the hook of the code repository lies."""
    return project.paths.project_git / "hooks" / "proc-receive"


def hook_text(project: Project) -> bytes:
    """Return what the hook must hold."""
    body = HOOK.read_text().replace("/run/corpus/deploy.sock", str(project.place.socket))
    return f"#!/usr/bin/python3 -IS\n{body}".encode()


def _authorise(project: Project, keys: Sequence[str]) -> None:
    lines = "".join(f"restrict {key}\n" for key in keys)
    # sshd reads it as the account, so the account must be able to.
    write_atomic(project.place.keys / project.name, lines.encode(), 0o644)


def link(project: Project) -> list[str]:
    """Link the project into Salt's file and pillar roots; return the links made."""
    made = []
    paths = project.paths
    for place, target in ((paths.salt_link, paths.salt), (paths.pillar_link, paths.pillar)):
        place.parent.mkdir(parents=True, exist_ok=True)
        if place.is_symlink() and place.readlink() == target:
            continue
        if place.exists() and not place.is_symlink():
            raise Conflict(f"{place} is in the way of the link to {target}", mend="move it away")
        place.unlink(missing_ok=True)
        place.symlink_to(target)
        made.append(str(place))
    return made


def unlink(project: Project) -> list[str]:
    """Remove the project's links from Salt's roots and from systemd; return those of Salt."""
    removed = []
    for place in (project.paths.salt_link, project.paths.pillar_link):
        if place.is_symlink():
            place.unlink()
            removed.append(str(place))
    services.unlink(project)
    return removed
