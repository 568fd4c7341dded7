"""Making a release: one pass that reads each file once, compresses, digests and writes."""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from corpus.commands import copying
from corpus.hosts import pipeline
from corpus.hosts.files import write_atomic
from corpus.model.deployment import DeploymentId
from corpus.model.manifest import Manifest, Part, parse
from corpus.project.place import Project
from corpus.project.releases import shelf, signing, system
from corpus.project.releases.contents import Contents, survey
from corpus.project.releases.rules import Rules

_CHUNK: Final = 1 << 20
_PAUSE: Final = 0.01  # seconds until more of an archive is looked for
_TIMEOUT: Final = 3600
_READABLE: Final = 0o640  # for the group of releases/, which serves them to paired environments


def make(
    project: Project,
    deployment: DeploymentId,
    source: Path,
    facts: Mapping[str, Any],
    parts: Mapping[str, Sequence[str]],
) -> Manifest:
    """Archive ``source`` as the release of ``deployment``, sign it, return its manifest.

    ``facts`` are ``commit``, ``pillar_commit``, ``time`` (Unix seconds: every file of the
    archive bears it, so that the same commit gives the same bytes), ``made_at``, ``by`` and
    ``recipe``. ``parts`` are path prefixes for each part besides the main one. The manifest is
    written last: without it there is no release, and ``offer`` lets paired environments see it.
    Raises ReleaseRefused for what may not be in
    one, CommandFailed.
    """
    contents = survey(source, parts, Rules(project.paths.root))
    project.paths.releases.mkdir(mode=0o750, exist_ok=True)
    shelf.remove(project, deployment)
    try:
        made = tuple(
            _archive(project, deployment, name, source, found, int(facts["time"]))
            for name, found in contents.items()
        )
        manifest = _described(project, deployment, facts, made)
        text = manifest.to_bytes()
        signature = signing.sign(project.place, text)
        _write(project, project.paths.signature(deployment), signature)
        # Root's alone until the deployment is live: nobody is offered what may be rolled back.
        write_atomic(project.paths.manifest(deployment), text, 0o600)
    except BaseException:
        shelf.remove(project, deployment)
        raise
    return manifest


def _described(
    project: Project, deployment: DeploymentId, facts: Mapping[str, Any], parts: tuple[Part, ...]
) -> Manifest:
    manifest = Manifest(
        project=project.name,
        deployment=deployment,
        commit=facts["commit"],
        pillar_commit=facts.get("pillar_commit") or "",
        time=int(facts["time"]),
        made_at=int(facts["made_at"]),
        by=_printable(facts.get("by", "")),
        architecture=system.architecture(),
        base=system.base(),
        image=_printable(project.place.facts().get("image", "")),
        recipe=_printable(facts.get("recipe", "")),
        signer=signing.signer_of(project.place),
        parts=parts,
    )
    return parse(manifest.to_bytes())  # nothing is signed that nobody would accept


def _printable(value: object) -> str:
    return "".join(c for c in str(value or "") if c.isprintable())[:200]


def _archive(
    project: Project,
    deployment: DeploymentId,
    name: str,
    source: Path,
    found: Contents,
    moment: int,
) -> Part:
    """Write one archive, whole or not at all."""
    target = project.paths.release(deployment, name)
    partial = target.with_name(f".{target.name}.partial")
    commands = [copying.archive(source, mtime=moment), copying.compress()]
    with _listing(found.names) as names, partial.open("wb", buffering=0) as file:
        own(project, file.fileno())
        with pipeline.into(commands, names, file.fileno(), timeout=_TIMEOUT) as growing:
            digest, size = _follow(partial, growing)
        os.fdatasync(file.fileno())
    partial.rename(target)
    return Part(name, target.name, digest, size, found.size, found.files)


@contextlib.contextmanager
def _listing(names: list[bytes]) -> Any:
    """Yield a descriptor that the names can be read from, each ended by a NUL byte."""
    handle = os.memfd_create("names", os.MFD_CLOEXEC)
    try:
        with os.fdopen(os.dup(handle), "wb") as file:
            file.write(b"".join(name + b"\0" for name in names))
        os.lseek(handle, 0, os.SEEK_SET)
        yield handle
    finally:
        os.close(handle)


def _follow(path: Path, growing: Callable[[], bool]) -> tuple[str, int]:
    """Return SHA-256 in hex and size of a file that is being written, read as it grows.

    So it is read from memory, and who writes it never waits for the digest.
    """
    digest = hashlib.sha256()
    with path.open("rb", buffering=0) as file:
        while True:
            last = not growing()  # asked first: what comes after the answer is read yet
            while data := file.read(_CHUNK):
                digest.update(data)
            if last:
                return digest.hexdigest(), file.tell()
            time.sleep(_PAUSE)


def _write(project: Project, path: Path, data: bytes) -> None:
    write_atomic(path, data, _READABLE)
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        own(project, handle)
    finally:
        os.close(handle)


def own(project: Project, handle: int) -> None:
    """Give a file of a release to the group of ``releases/``, to read."""
    group = project.paths.releases.stat().st_gid
    if os.fstat(handle).st_gid != group:
        os.fchown(handle, -1, group)
    os.fchmod(handle, _READABLE)
