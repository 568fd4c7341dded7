"""Making a release: one pass that reads each file once, compresses, digests and writes."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections import deque
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import IO, Any, Final

from corpus.commands import copying
from corpus.hosts import pipeline
from corpus.hosts.files import write_all, write_atomic
from corpus.model.deployment import DeploymentId
from corpus.model.manifest import Manifest, Part, parse
from corpus.project.place import Project
from corpus.project.releases import shelf, signing, system
from corpus.project.releases.contents import Contents, survey
from corpus.project.releases.rules import Rules

_CHUNK: Final = 1 << 20
_AHEAD: Final = 32  # chunks that wait for the digest, at the most
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
    project: Project, deployment: DeploymentId, name: str, source: Path, found: Contents, time: int
) -> Part:
    """Write one archive, whole or not at all."""
    target = project.paths.release(deployment, name)
    partial = target.with_name(f".{target.name}.partial")
    commands = [copying.archive(source, mtime=time), copying.compress()]
    with _listing(found.names) as names, partial.open("wb", buffering=0) as file:
        own(project, file.fileno())
        with pipeline.output_of(commands, names, timeout=_TIMEOUT) as output:
            digest, size = _copy(output, file.fileno())
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


def _copy(source: IO[bytes], target: int) -> tuple[str, int]:
    """Write what ``source`` yields; return its SHA-256 in hex and how many bytes it was.

    A thread digests and writes, so that the compressor, which hands over megabytes at once,
    is not kept waiting: what it waits for, its own threads and tar wait for too.
    """
    digest, size = hashlib.sha256(), 0

    def take(data: bytes) -> None:
        digest.update(data)
        write_all(target, data)

    waiting: deque[Future[None]] = deque()
    with ThreadPoolExecutor(max_workers=1) as worker:
        while data := source.read(_CHUNK):
            size += len(data)
            waiting.append(worker.submit(take, data))
            if len(waiting) > _AHEAD:
                waiting.popleft().result()
        for taken in waiting:
            taken.result()
    return digest.hexdigest(), size


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
