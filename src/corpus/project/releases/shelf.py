"""The directory of releases: what lies there, and its removal."""

from __future__ import annotations

import contextlib
import os
import re

from corpus.model.deployment import DeploymentId
from corpus.model.errors import InvalidInput, InvalidName
from corpus.model.manifest import MAX_TEXT, Manifest, parse, stem
from corpus.project.place import Project

_MANIFEST = ".manifest.json"


def read(project: Project, deployment: DeploymentId) -> tuple[Manifest, bytes]:
    """Return the manifest of a release and its text. Raises InvalidInput, FileNotFoundError.

    Nothing of it is verified but its form.
    """
    with project.paths.manifest(deployment).open("rb") as file:
        text = file.read(MAX_TEXT + 1)
    manifest = parse(text)
    if (manifest.project, manifest.deployment) != (project.name, deployment):
        raise InvalidInput(
            "the manifest is that of another release", where=str(project.paths.manifest(deployment))
        )
    return manifest, text


def listed(project: Project) -> list[Manifest]:
    """Return the manifests that lie here, newest first; those that cannot be read are left out.

    Their signatures and archives were not looked at.
    """
    found = []
    for deployment in deployments(project):
        try:
            found.append(read(project, deployment)[0])
        except (OSError, InvalidInput, InvalidName):
            continue
    return sorted(found, key=lambda manifest: manifest.deployment, reverse=True)


def deployments(project: Project) -> set[DeploymentId]:
    """Return the deployments of which there is a file here, be it a half-made archive."""
    folder = project.paths.releases
    names = [entry.name for entry in folder.iterdir()] if folder.is_dir() else []
    pattern = re.compile(rf"\.?{re.escape(project.name)}-([0-9T]+-[0-9a-f-]{{36}})\..+", re.ASCII)
    found = set()
    for name in names:
        if match := pattern.fullmatch(name):
            try:
                found.add(DeploymentId.parse(match[1]))
            except InvalidInput:
                continue
    return found


def offer(project: Project, deployment: DeploymentId, *, offered: bool) -> None:
    """Let paired environments see a release, or not any more; one that is not here is none."""
    path = project.paths.manifest(deployment)
    with contextlib.suppress(FileNotFoundError):
        os.chown(path, -1, project.paths.releases.stat().st_gid)
        path.chmod(0o640 if offered else 0o600)


def remove(project: Project, deployment: DeploymentId) -> None:
    """Remove a release, whole or half made, the manifest first: without it there is none."""
    project.paths.manifest(deployment).unlink(missing_ok=True)
    folder = project.paths.releases
    if folder.is_dir():
        beginning = stem(project.name, deployment)
        for entry in list(folder.iterdir()):
            if entry.name.startswith((f"{beginning}.", f".{beginning}.")):
                entry.unlink(missing_ok=True)
