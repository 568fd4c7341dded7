"""Releases: an archive of ``run/`` with a manifest beside it."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

from corpus.commands import copying
from corpus.hosts.files import write_atomic
from corpus.model.deployment import DeploymentId
from corpus.project import trees
from corpus.project.place import Project


def make(
    project: Project, deployment: DeploymentId, source: Path, facts: dict[str, Any]
) -> dict[str, Any]:
    """Archive ``source`` as the release of ``deployment`` and return its manifest.

    ``facts`` are written into the manifest; ``time`` among them (Unix seconds) is the
    latest time that a file of the archive bears, so that the same commit gives the same bytes.
    """
    target = project.paths.release(deployment)
    target.parent.mkdir(mode=0o700, exist_ok=True)
    partial = target.with_name(f".{target.name}.partial")
    project.host.run(copying.archive(source, partial, mtime=int(facts["time"])), timeout=3600)
    size, files = trees.size_of(source)
    manifest = {
        "project": project.name,
        "deployment": str(deployment),
        "archive": target.name,
        "sha256": digest(partial),
        "archive_size": partial.stat().st_size,
        "size": size,
        "files": files,
        "architecture": os.uname().machine,
        **facts,
    }
    partial.rename(target)
    text = json.dumps(manifest, indent=2, sort_keys=True) + "\n"
    write_atomic(project.paths.manifest(deployment), text.encode(), durable=False)
    return manifest


def digest(path: Path) -> str:
    """Return the SHA-256 of a file in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def remove(project: Project, deployment: DeploymentId) -> None:
    """Remove a release, whole or half made."""
    target = project.paths.release(deployment)
    for path in (
        target.with_name(f".{target.name}.partial"),
        target,
        project.paths.manifest(deployment),
    ):
        path.unlink(missing_ok=True)
