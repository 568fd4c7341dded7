"""Initialise a project: its account, tree, repositories, hook and Salt links. Idempotent."""

from __future__ import annotations

import os
import pwd
from collections.abc import Sequence
from pathlib import Path

from corpus.commands import accounts, git
from corpus.hosts.files import write_atomic
from corpus.model.errors import Conflict, InvalidInput
from corpus.project import repository, reserve, services, trees
from corpus.project.place import Project

HOOK = Path(__file__).with_name("githook.py")
GROUP = "corpus-projects"
_KEY_TYPES = ("ssh-ed25519", "ssh-rsa", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384",
              "ecdsa-sha2-nistp521", "sk-ssh-ed25519@openssh.com",
              "sk-ecdsa-sha2-nistp256@openssh.com")  # fmt: skip


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
    made = _accounts(project)
    made += _directories(project)
    made += _repositories(project)
    made += link(project)
    if accepted:
        _authorise(project, accepted)
    reserve.keep(project)
    return made


def _accounts(project: Project) -> list[str]:
    if project.user is None or project.application is None:
        return []
    git_home, data = str(project.paths.git), str(project.paths.data)
    project.paths.root.mkdir(parents=True, exist_ok=True)
    project.host.run(accounts.add_group(GROUP))
    made = _account(project, project.user, git_home, accounts.add(project.user, git_home, GROUP))
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


def _directories(project: Project) -> list[str]:
    paths = project.paths
    made = []
    # Path, permissions, owner.
    plain = [
        (paths.root, 0o755, "root"),
        (paths.git, 0o700, project.user),
        (paths.project, 0o750, project.user),
        (paths.pillar, 0o700, project.user),
        (paths.build, 0o755, "root"),
        (paths.build / "cache", 0o755, "root"),
        (paths.deploy, 0o700, "root"),
        (paths.releases, 0o700, "root"),
        (paths.archives, 0o700, "root"),
    ]
    for path, mode, owner in plain:
        if not path.is_dir():
            path.mkdir(parents=True, mode=mode)
            made.append(str(path))
        path.chmod(mode)
        _own(project, path, owner)
    for path, mode, owner in (
        (paths.data, 0o750, project.application),
        (paths.run, 0o755, "root"),
    ):
        if not path.is_dir():
            trees.make(path, mode)
            made.append(str(path))
            _own(project, path, owner)
    paths.state.mkdir(mode=0o700, exist_ok=True)
    return made


def _own(project: Project, path: Path, owner: str | None) -> None:
    if project.place.accounts and owner is not None:
        account = pwd.getpwnam(owner)
        os.chown(path, account.pw_uid, account.pw_gid)


def _repositories(project: Project) -> list[str]:
    paths = project.paths
    made = []
    for bare in (paths.project_git, paths.pillar_git):
        if not (bare / "HEAD").exists():
            made.append(str(bare))
        repository.run(project, git.init_bare(bare))
        for key, value in (
            ("receive.denyDeletes", "true"),
            ("receive.denyNonFastForwards", "true"),
            ("receive.fsckObjects", "true"),
            ("gc.auto", "0"),
        ):
            repository.run(project, git.config(bare, key, value))
    for branch in git.DEPLOY_REFS:
        repository.run(
            project, git.config(paths.project_git, "receive.procReceiveRefs", branch, add=True)
        )
    hook = paths.project_git / "hooks" / "proc-receive"
    hook.parent.mkdir(exist_ok=True)
    # Root owns the hook and its directory: a push cannot replace what hands it over.
    write_atomic(hook, _hook_text(project), 0o755)
    return made


def _hook_text(project: Project) -> bytes:
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
