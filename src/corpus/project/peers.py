"""Pairing: which environments give this one releases of a project, and which may fetch them.

What is known of the peers lies in ``etc/peers``; sshd's keys, the trusted signers and the
pinned host keys are derived from it, anew at each change.
"""

from __future__ import annotations

import fcntl
import json
import os
import pwd
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from corpus.commands import ssh
from corpus.hosts.files import write_atomic
from corpus.model import peer as peers
from corpus.model.errors import Conflict, InvalidInput, NotFound
from corpus.model.mode import Platform, parse_platform
from corpus.model.names import environment_id
from corpus.model.peer import Peer
from corpus.project.place import RELEASES, Place, Project
from corpus.project.releases import signing

SERVE = Path(__file__).with_name("serve.py")


def identity(project: Project, address: str | None = None, port: int | None = None) -> Peer:
    """Return what this environment is to a peer: what ``pair`` takes on the other side.

    ``address`` and ``port``: where the peer reaches this one's SSH server, where that is not
    known here. Keys are made at first need. Raises NotFound, InvalidInput.
    """
    facts = _facts(project.place)
    platform = parse_platform(str(facts.get("platform")))
    staging = platform is Platform.STAGING
    return peers.parse(
        {
            "project": project.name,
            "environment": facts.get("id"),
            "platform": platform,
            "host_key": _host_key(project.place),
            "signing_key": signing.public_key(project.place) if staging else None,
            "fetch_key": None if staging else _fetch_key(project),
            "address": address or facts.get("address"),
            "port": port or 22,
        }
    )


def pair(project: Project, given: object) -> Peer:
    """Pair this environment with a peer for one project; done again, it replaces.

    A staging peer's releases are accepted from now on; a prod peer may fetch those made
    here. Raises InvalidInput, Conflict, NotFound.
    """
    other = peers.parse(given)
    _check(project, other)
    with _alone(project.place):
        known = {found.environment: found for found in listed(project)}
        _check_free(project, other, known)
        _save(project, {**known, other.environment: other})
        derive(project.place)
    return other


def unpair(project: Project, environment: str | None = None) -> list[str]:
    """Forget one peer of the project, or all; return the ids of those forgotten."""
    wanted = None if environment is None else environment_id(environment)
    with _alone(project.place):
        known = {found.environment: found for found in listed(project)}
        gone = [id for id in known if wanted in (None, id)]
        _save(project, {id: found for id, found in known.items() if id not in gone})
        derive(project.place)
    return gone


def listed(project: Project) -> list[Peer]:
    """Return the peers of the project, by their ids. Raises InvalidInput for a damaged file."""
    path = _path(project.place, project.name)
    try:
        found = json.loads(path.read_text())
        return [peers.parse(found[id]) for id in sorted(found)]
    except FileNotFoundError:
        return []
    except (ValueError, TypeError) as error:
        raise InvalidInput(
            f"the peers of {project.name} are damaged: {error}",
            where=str(path),
            mend="remove the file, and pair again",
        ) from None


def staging(project: Project) -> Peer | None:
    """Return the staging environment that releases of the project come from, if any."""
    return next((found for found in listed(project) if found.platform is Platform.STAGING), None)


def client(project: Project, staging: Peer) -> list[str]:
    """Return how ssh begins to the staging environment of the project."""
    place = project.place
    return ssh.client(
        place.fetch_keys / project.name,
        place.fetch_keys / f"{project.name}.known_hosts",
        staging.environment,
    )


def _check(project: Project, other: Peer) -> None:
    facts = _facts(project.place)
    if other.project != project.name:
        raise InvalidInput(f"that peer is for the project {other.project}, not {project.name}")
    if other.environment == facts.get("id"):
        raise InvalidInput("an environment is not paired with itself")
    if {str(other.platform), facts.get("platform")} != {Platform.STAGING, Platform.PROD}:
        raise InvalidInput(
            f"this environment is of type {facts.get('platform')}, the peer {other.platform}",
            mend="pair a staging environment with a prod one",
        )
    if other.platform is Platform.STAGING and (other.address is None or other.port is None):
        raise InvalidInput(
            "where the staging environment is reached is not known",
            mend="give address= and port= to its mc_project.identity",
        )


def _check_free(project: Project, other: Peer, known: dict[str, Peer]) -> None:
    """Raise Conflict for a second staging environment, or for a key that leads elsewhere."""
    if other.platform is Platform.STAGING:
        for found in known.values():
            if found.environment != other.environment:
                raise Conflict(
                    f"{project.name} is paired with staging environment {found.environment}",
                    mend=f"salt-call --local mc_project.unpair {project.name}",
                )
    for name in project.place.names():
        for found in listed(Project.at(project.place, name)):
            same = (name, found.environment) == (project.name, other.environment)
            # sshd takes the first line of a key: the second one's project would never be served.
            if other.fetch_key and found.fetch_key == other.fetch_key and not same:
                raise Conflict(
                    f"that fetch key is the one of {found.environment} for {name}",
                    mend="each project of each environment has a key of its own",
                )


def derived(place: Place) -> dict[Path, bytes]:
    """Return what follows from the peers: sshd's keys, signers, pinned host keys.

    Empty where there is nothing, and no file is needed. Raises InvalidInput.
    """
    authorised, signers, found = "", "", {}
    for name in place.names():
        project = Project.at(place, name)
        pinned = ""
        for peer in listed(project):
            who = signing.principal(name, peer.environment)
            if peer.platform is Platform.STAGING:
                signers += signing.trusted(who, peer.signing_key or "")
                pinned += f"{peer.environment} {peer.host_key}\n"
            else:
                authorised += f"{_restricted(project)} {peer.fetch_key} {who}\n"
        found[place.fetch_keys / f"{name}.known_hosts"] = pinned.encode()
    found[place.signers] = signers.encode()
    found[place.keys / RELEASES] = authorised.encode()
    return found


def derive(place: Place) -> None:
    """Write what follows from the peers. Raises InvalidInput."""
    for path, data in derived(place).items():
        if data:
            # sshd and ssh read them as other accounts, so these must be able to.
            write_atomic(path, data)
        else:
            path.unlink(missing_ok=True)


def _restricted(project: Project) -> str:
    command = shlex.join(["/usr/bin/python3", "-IS", str(SERVE), str(project.paths.root)])
    quoted = command.replace('"', '\\"')
    return f'restrict,command="{quoted}"'


def _save(project: Project, known: dict[str, Peer]) -> None:
    path = _path(project.place, project.name)
    if known:
        text = json.dumps({id: found.as_dict() for id, found in known.items()}, indent=2)
        write_atomic(path, text.encode() + b"\n", 0o600)
    else:
        path.unlink(missing_ok=True)


def _path(place: Place, name: str) -> Path:
    return place.peers / f"{name}.json"


@contextmanager
def _alone(place: Place) -> Iterator[None]:
    """Hold the peers' lock; the kernel frees it when the holder dies."""
    place.peers.mkdir(parents=True, exist_ok=True, mode=0o700)
    handle = os.open(place.peers / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _facts(place: Place) -> dict[str, Any]:
    """Return what the node said of this environment. Raises NotFound."""
    found = place.facts()
    if not found:
        raise NotFound(
            "this environment has no identity, so nobody can be paired with it",
            where=str(place.identity),
            mend='write {"id": "<a UUID>", "platform": "staging", "address": "…"} into it',
        )
    return found


def _host_key(place: Place) -> str:
    try:
        return place.host_key.read_text()
    except FileNotFoundError:
        raise NotFound("the SSH server has no ed25519 key", str(place.host_key)) from None


def _fetch_key(project: Project) -> str:
    """Return the public key to fetch with, made now unless there is one.

    It is one project's: with a key for several, sshd could not tell which one is asked for.
    It belongs to the project's account, as which git and ssh run.
    """
    place, path = project.place, project.place.fetch_keys / project.name
    public = path.with_name(f"{path.name}.pub")
    with _alone(place):
        if not path.exists():
            partial = path.with_name(f".{path.name}.partial")
            path.parent.mkdir(parents=True, exist_ok=True)
            for left in (partial, partial.with_name(f"{partial.name}.pub")):
                left.unlink(missing_ok=True)
            project.host.run(ssh.make_key(partial))
            if project.user is not None:
                account = pwd.getpwnam(project.user)
                os.chown(partial, account.pw_uid, account.pw_gid)
            partial.with_name(f"{partial.name}.pub").rename(public)
            partial.rename(path)  # last: it is there when all is
    return public.read_text()
