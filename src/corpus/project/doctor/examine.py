"""Run every check, and mend what may be mended while nobody deploys."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from corpus.model.errors import Conflict
from corpus.model.finding import Finding, asked
from corpus.project import lock
from corpus.project.doctor import environment, records, repositories, running, tree
from corpus.project.doctor.patient import Patient
from corpus.project.place import Place, Project

PROJECT: dict[str, Callable[[Patient], Iterable[Finding]]] = {
    "journal": records.journal,
    "ledger": records.ledger,
    "accounts": tree.accounts,
    "permissions": tree.permissions,
    "links": tree.links,
    "keys": tree.keys,
    "hook": repositories.hook,
    "repositories": repositories.repositories,
    "kept": records.kept,
    "leftovers": records.leftovers,
    "mounts": running.mounts,
    "services": running.services,
    "disk": running.disk,
}
"""The checks of a project in the order in which they are mended, each by its name."""

ENVIRONMENT: dict[str, Callable[[Place], Iterable[Finding]]] = {
    "identity": environment.identity,
    "host_key": environment.host_key,
    "release_key": environment.release_key,
    "peers": environment.peers,
    "fetch_keys": environment.fetch_keys,
    "service": environment.service,
}
"""The checks of the environment itself."""

LOCK = "lock"


def examine(place: Place, name: str | None = None, *, mend: bool = False) -> list[dict[str, Any]]:
    """Return what is found, of one project or of all, and of the environment.

    ``mend``: what can be mended safely is, but nothing of a project that somebody deploys.
    Raises NotFound for a project that is not there.
    """
    names = [name] if name is not None else place.names()
    projects = [Project.existing(place, each) for each in names]
    found = []
    for project in projects:
        found += [finding.as_dict(project=project.name) for finding in _of_project(project, mend)]
    for check, look in ENVIRONMENT.items():
        for finding in asked(check, partial(look, place)):
            found.append((finding.mended_now() if mend else finding).as_dict(project=""))
    return found


def _of_project(project: Project, mend: bool) -> list[Finding]:
    held = list(asked(LOCK, partial(running.lock_of, project)))
    if not mend:
        return held + _looked(project, locked=False)
    held = [finding.mended_now() for finding in held]
    try:
        with lock.held(project.paths.lock, "the doctor", lambda _: None, patience=1):
            return held + [finding.mended_now() for finding in _looked(project, locked=True)]
    except Conflict:
        return held + _looked(project, locked=False)


def _looked(project: Project, *, locked: bool) -> list[Finding]:
    patient = Patient.of(project, locked=locked)
    found: list[Finding] = []
    for check, look in PROJECT.items():
        found += asked(check, partial(look, patient))
    return found
