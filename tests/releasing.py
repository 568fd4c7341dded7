"""Releases made by hand, member by member, as an attacker who has a trusted key would."""

from __future__ import annotations

import hashlib
import io
import subprocess
import tarfile
from typing import Any

from corpus.model.manifest import Manifest, Part
from corpus.project.place import Project
from corpus.project.releases import signing, system
from projects import ids

TIME = 1_700_000_000
FACTS: dict[str, Any] = {"commit": "c" * 40, "time": TIME, "made_at": TIME + 9, "by": "ann"}
(A,) = ids(1)


def zstd(data: bytes) -> bytes:
    """Return the bytes compressed."""
    return subprocess.run(["zstd", "-q", "-c"], input=data, capture_output=True, check=True).stdout


def member(name: str, kind: bytes = tarfile.REGTYPE, **more: Any) -> tarfile.TarInfo:
    """Return the header of a member called ``name``."""
    made = tarfile.TarInfo(name)
    made.type = kind
    made.mode = 0o755 if kind == tarfile.DIRTYPE else 0o644
    made.mtime = TIME
    for key, value in more.items():
        setattr(made, key, value)
    return made


def tar(*members: tarfile.TarInfo | tuple[tarfile.TarInfo, bytes], **how: Any) -> bytes:
    """Return a tar of members; those with content are pairs."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", **{"format": tarfile.PAX_FORMAT, **how}) as file:
        for given in members:
            info, data = given if isinstance(given, tuple) else (given, b"")
            if isinstance(given, tuple):
                info.size = len(data)
            file.addfile(info, io.BytesIO(data))
    return stream.getvalue()


def describe(project: Project, archive: bytes, size: int = 0, files: int = 1) -> Manifest:
    """Return the manifest of one archive, its digest right."""
    digest = hashlib.sha256(archive).hexdigest()
    part = Part("main", project.paths.release(A).name, digest, len(archive), size, files)
    return Manifest(
        project=project.name, deployment=A, pillar_commit="", image="", recipe="",
        architecture=system.architecture(), base=system.base(), parts=(part,),
        signer=signing.signer_of(project.place), **FACTS,
    )  # fmt: skip


def put(project: Project, archive: bytes, size: int = 0, files: int = 1) -> Manifest:
    """Lay a release of one archive down, without its signature."""
    manifest = describe(project, archive, size, files)
    project.paths.releases.mkdir(parents=True, exist_ok=True)
    project.paths.release(A).write_bytes(archive)
    project.paths.manifest(A).write_bytes(manifest.to_bytes())
    return manifest


def sign(project: Project, text: bytes | None = None) -> None:
    """Sign the manifest, another text instead of it when one is given."""
    if text is not None:
        project.paths.manifest(A).write_bytes(text)
    text = project.paths.manifest(A).read_bytes()
    project.paths.signature(A).write_bytes(signing.sign(project.place, text))
