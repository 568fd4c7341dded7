"""What the paired staging environment offers, and how it comes here: releases and commits.

The other side is trusted to sign releases, and not further: whatever it sends is bounded in
size and time, and goes into a file of a name that follows from the signed manifest.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shlex
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from corpus.commands import git, prlimit, ssh
from corpus.hosts.files import write_atomic
from corpus.hosts.receiving import receive
from corpus.model.errors import CommandFailed, InvalidInput, ReleaseRefused
from corpus.model.manifest import Manifest, Part, parse
from corpus.model.peer import Peer
from corpus.model.size import format_size
from corpus.project import peers, repository, room
from corpus.project.place import RELEASES, Project

Tell = Callable[[str], None]

SECONDS = 3600.0  # that a release with all its archives, or one fetch of commits, may take
IMPOSTOR = "Host key verification failed"
"""What ssh(1) says when the server is not the one whose key is pinned."""
_PATIENCE = 30.0  # seconds of silence
_GONE_ON_FROM = 86400.0  # seconds that what a broken download has brought is kept
_LISTED = 16 << 20  # bytes of a list
_TRIES = 3
_TELL_EVERY = 5.0  # seconds


@dataclass(frozen=True)
class Offer:
    """A release of the staging environment, as yet unverified: manifest, its text, signature."""

    manifest: Manifest
    text: bytes
    signature: bytes


def offers(project: Project, staging: Peer) -> list[Offer]:
    """Return what the staging environment says it has, newest first. Raises ReleaseRefused."""
    told = bytearray()

    def take(data: bytes) -> None:
        told.extend(data)
        if len(told) > _LISTED:
            raise _failed(staging, f"its list is longer than {format_size(_LISTED)}")

    try:
        _ask(project, staging, "list", take, limit=60)
    except CommandFailed as error:
        raise _failed(staging, _reason(error)) from None
    found = [offer for line in bytes(told).splitlines() if (offer := _offer(project, line))]
    return sorted(found, key=lambda offer: offer.manifest.deployment, reverse=True)


def _offer(project: Project, line: bytes) -> Offer | None:
    """Return the offer of one line of the list, or None for what is none of this project."""
    try:
        given = json.loads(line)
        text, signature = given["manifest"].encode("ascii"), given["signature"].encode("ascii")
        manifest = parse(text)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, InvalidInput):
        return None
    return Offer(manifest, text, signature) if manifest.project == project.name else None


def bring(project: Project, staging: Peer, offer: Offer, tell: Tell) -> None:
    """Bring the archives of a release whose signature was checked, then its manifest.

    What an earlier attempt brought is gone on from. Raises ReleaseRefused, DeploymentRefused.
    """
    folder, manifest = project.paths.releases, offer.manifest
    _forget_others(folder, manifest)
    try:
        _bring(project, staging, offer, tell)
    except OSError as error:
        raise ReleaseRefused(
            f"the release cannot be stored: {error.strerror or error}",
            where=str(folder),
            mend="enlarge the environment, or lower retention",
        ) from None


def _bring(project: Project, staging: Peer, offer: Offer, tell: Tell) -> None:
    manifest = offer.manifest
    missing = _missing(project, manifest)
    room.ensure(project, _to_come(project, missing), tell)
    deadline = time.monotonic() + SECONDS
    for part in missing:
        tell(f"fetching {part.archive} ({format_size(part.archive_size)}) from staging")
        _bring_part(project, staging, part, tell, deadline)
    for path, data in (
        (project.paths.signature(manifest.deployment), offer.signature),
        (project.paths.manifest(manifest.deployment), offer.text),  # last: now it is a release
    ):
        write_atomic(path, data, 0o640)


def lacking(project: Project, manifest: Manifest) -> int:
    """Return the bytes that are still to come until the archives of a release are here."""
    return _to_come(project, _missing(project, manifest))


def _to_come(project: Project, parts: list[Part]) -> int:
    folder = project.paths.releases
    return sum(part.archive_size - _size(_partial(folder, part)) for part in parts)


def _missing(project: Project, manifest: Manifest) -> list[Part]:
    folder = project.paths.releases
    return [part for part in manifest.parts if not _is_whole(folder / part.archive, part)]


def _forget_others(folder: Path, manifest: Manifest) -> None:
    """Remove what attempts at other releases left half-way: nobody will go on with it."""
    for path in folder.glob(".*.partial"):
        if path.name not in {_partial(folder, part).name for part in manifest.parts}:
            path.unlink(missing_ok=True)


def forget_stale(project: Project) -> None:
    """Remove downloads that broke off a day ago or earlier; a younger one is gone on from."""
    for path in project.paths.releases.glob(".*.partial"):
        with contextlib.suppress(FileNotFoundError):
            if time.time() - path.stat().st_mtime > _GONE_ON_FROM:
                path.unlink()


def _partial(folder: Path, part: Part) -> Path:
    return folder / f".{part.archive}.partial"


def _size(path: Path) -> int:
    with contextlib.suppress(FileNotFoundError):
        return path.stat().st_size
    return 0


def _is_whole(path: Path, part: Part) -> bool:
    """Tell whether an archive is here already, from an attempt that got so far."""
    if _size(path) != part.archive_size:
        return False
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == part.sha256


def _bring_part(project: Project, staging: Peer, part: Part, tell: Tell, deadline: float) -> None:
    """Download one archive; a connection that breaks is gone on from where it broke."""
    partial = _partial(project.paths.releases, part)
    failures, begun_at = 0, _size(partial)
    while True:
        before = _size(partial)
        try:
            digest = _download(project, staging, part, partial, tell, deadline)
        except CommandFailed as error:
            failures = failures + 1 if _size(partial) == before else 1
            if failures >= _TRIES or time.monotonic() > deadline:
                raise _failed(staging, _reason(error)) from None
            tell(f"the connection broke at {format_size(_size(partial))}; trying again")
            time.sleep(failures)
            continue
        if digest == part.sha256:
            break
        partial.unlink()
        if not begun_at:
            raise _failed(staging, f"{part.archive} is not the archive that was signed")
        begun_at = 0  # what was here may have been of another one: once more, from the beginning
    partial.chmod(0o640)
    partial.rename(project.paths.releases / part.archive)


def _download(
    project: Project, staging: Peer, part: Part, partial: Path, tell: Tell, deadline: float
) -> str:
    """Append what is missing of an archive to ``partial``; return the SHA-256 of the whole.

    Raises CommandFailed when the connection broke or ended early, ReleaseRefused.
    """
    digest, last = hashlib.sha256(), time.monotonic()
    if _size(partial) > part.archive_size:
        partial.unlink()
    with _appending(partial) as file:
        while data := file.read(1 << 20):
            digest.update(data)

        def take(data: bytes) -> None:
            nonlocal last
            if file.tell() + len(data) > part.archive_size:
                partial.unlink()  # nobody can go on from it
                raise _failed(staging, f"{part.archive} is longer than the manifest says")
            file.write(data)
            digest.update(data)
            if time.monotonic() - last > _TELL_EVERY:
                last = time.monotonic()
                tell(f"{format_size(file.tell())} of {format_size(part.archive_size)}")

        if file.tell() < part.archive_size:
            request = f"get {part.archive} {file.tell()}"
            _ask(project, staging, request, take, limit=deadline - time.monotonic())
        if file.tell() < part.archive_size:
            raise CommandFailed((request,), 0, "it ended before the end of the file")
        os.fsync(file.fileno())
    return digest.hexdigest()


@contextlib.contextmanager
def _appending(path: Path) -> Iterator[IO[bytes]]:
    """Yield the file at ``path`` for reading and appending; a full disk leaves none."""
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        with os.fdopen(os.open(path, flags, 0o600), "r+b", buffering=0) as file:
            yield file
    except OSError:
        path.unlink(missing_ok=True)
        raise


def fetch_commit(project: Project, staging: Peer, commit: str) -> None:
    """Bring a commit with its history into the project's repository. Raises ReleaseRefused.

    git runs as the project's account, whose key it is. The size of what comes is bounded by
    half of the free space: the live version needs some.
    """
    url = f"ssh://{RELEASES}@{_host(staging)}:{staging.port}/{project.name}"
    fetch = git.fetch(project.paths.project_git, url, commit)
    program = shlex.join(peers.client(project, staging))
    try:
        receive(
            prlimit.files(room.free(project) // 2, fetch),
            lambda _data: None,
            user=project.user,
            env={**repository.ENVIRONMENT, "GIT_SSH_COMMAND": program, "GIT_SSH_VARIANT": "ssh"},
            cwd=project.paths.root,
            patience=SECONDS,
            limit=SECONDS,
        )
    except CommandFailed as error:
        raise _failed(staging, f"commit {commit[:10]}: {_reason(error)}") from None


def _host(staging: Peer) -> str:
    address = staging.address or ""
    return f"[{address}]" if ":" in address else address


def _ask(
    project: Project, staging: Peer, request: str, take: Callable[[bytes], None], *, limit: float
) -> None:
    """Send one request and give the answer's bytes to ``take``. Raises CommandFailed."""
    client = peers.client(project, staging)
    argv = ssh.ask(client, RELEASES, staging.address or "", staging.port or 22, request)
    receive(argv, take, user=project.user, patience=_PATIENCE, limit=limit)


def _reason(error: CommandFailed) -> str:
    """Return what the other side, or ssh, said: one line, for a terminal."""
    if error.code is None:
        return "it does not answer in time"
    lines = error.output.strip().splitlines() or [f"it ended with {error.code}"]
    return "".join(c for c in lines[-1] if c.isascii() and c.isprintable())[:200]


def _failed(staging: Peer, why: str) -> ReleaseRefused:
    return ReleaseRefused(
        f"staging environment {staging.environment} does not give what was asked: {why}",
        where=f"{staging.address}:{staging.port}",
        mend="start it, or pair with it again; a release put into releases/ needs no staging",
    )
