"""Checks of the environment itself: what it is, its keys, the service that deploys."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from corpus.commands import signing, systemctl
from corpus.model.finding import Finding, State
from corpus.project import asking
from corpus.project import peers as pairing
from corpus.project.place import Place

UNIT = "corpus-deploy.service"


def identity(place: Place) -> Iterator[Finding]:
    """What the node says of the environment can be read."""
    if not place.identity.exists():
        what = "absent: this counts as an environment of type staging"
        yield Finding("identity", State.WARN, what, str(place.identity), "create it by the node")
        return
    place.platform()


def host_key(place: Place) -> Iterator[Finding]:
    """sshd's key is there, root's alone, and its public half is its own."""
    key = place.host_key.with_suffix("")
    if not key.exists():
        mend = "systemctl start corpus-hostkey ssh"
        yield Finding("host_key", State.BAD, "absent: nobody can push", str(key), mend)
        return
    yield from _private(place, "host_key", key, place.host_key)


def release_key(place: Place) -> Iterator[Finding]:
    """The key that signs releases is root's alone, once there is one."""
    if place.release_key.exists():
        yield from _private(place, "release_key", place.release_key, None)


def peers(place: Place) -> Iterator[Finding]:
    """Who is trusted, and who may fetch, is as the project's pairs say."""
    for path, data in pairing.derived(place).items():
        held = path.read_bytes() if path.is_file() else b""
        if held != data:
            what = "it is not what follows from the pairs"
            repair = partial(pairing.derive, place)
            yield Finding("peers", State.BAD, what, str(path), "it is written anew", repair)


def fetch_keys(place: Place) -> Iterator[Finding]:
    """The keys that staging is asked with are readable by the projects' accounts alone."""
    for name in place.names():
        key = place.fetch_keys / name
        if key.exists() and stat.S_IMODE(key.stat().st_mode) & 0o077:
            mode = stat.S_IMODE(key.stat().st_mode)
            mend = f"chmod 600 {key}; if somebody read it, remove it and pair again"
            repair = partial(key.chmod, 0o600)
            yield Finding("fetch_keys", State.BAD, f"mode {mode:04o}", str(key), mend, repair)


def _private(place: Place, check: str, key: Path, public: Path | None) -> Iterator[Finding]:
    found = key.stat()
    mode = stat.S_IMODE(found.st_mode)
    if key.is_symlink() or found.st_uid != os.geteuid():
        yield Finding(check, State.BAD, "it is not root's own file", str(key), "make a new one")
        return
    if mode & 0o077:
        mend = f"chmod 600 {key}; make a new one if somebody read it"
        repair = partial(key.chmod, 0o600)
        yield Finding(check, State.BAD, f"mode {mode:04o}", str(key), mend, repair)
        return
    made = place.host.run(signing.public_key(key), check=False, timeout=30)
    if made.code:
        yield Finding(check, State.BAD, "it is no private key", str(key), "make a new one")
    elif public and _key_in(public) != made.out.split()[:2]:
        yield Finding(
            check, State.WARN, "it is not the public half of the key", str(public),
            "it is written anew", partial(place.host.put, public, made.out.encode(), 0o644),
        )  # fmt: skip


def _key_in(public: Path) -> list[str]:
    """Return kind and text of a public key, without its comment."""
    return public.read_text(errors="replace").split()[:2] if public.is_file() else []


def service(place: Place) -> Iterator[Finding]:
    """The deploy service answers."""
    if not asking.answers(place):
        yield Finding(
            "service", State.BAD, "the deploy service does not answer", str(place.socket),
            f"systemctl start {UNIT}",
            partial(place.host.run, systemctl.command("start", [UNIT]), timeout=60),
        )  # fmt: skip
