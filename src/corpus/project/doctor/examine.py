"""Run every check, and mend what may be mended while nobody deploys."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

from corpus.model.errors import Conflict
from corpus.project import lock
from corpus.project.doctor import environment, records, repositories, running, tree
from corpus.project.doctor.finding import Finding, Patient, State
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
        found += [finding.as_dict(project.name) for finding in _of_project(project, mend)]
    for check, look in ENVIRONMENT.items():
        for finding in _asked(check, partial(look, place)):
            found.append((finding.mended_now() if mend else finding).as_dict(""))
    return found


def is_well(found: Iterable[dict[str, Any]]) -> bool:
    """Tell whether nothing bad is left."""
    return all(each["state"] != State.BAD or each["mended"] for each in found)


def _of_project(project: Project, mend: bool) -> list[Finding]:
    held = list(_asked(LOCK, partial(running.lock_of, project)))
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
        found += _asked(check, partial(look, patient))
    return found


def _asked(check: str, look: Callable[[], Iterable[Finding]]) -> Iterator[Finding]:
    """Yield what a check finds; one that finds nothing, or trips, says so."""
    found = False
    try:
        for finding in look():
            found = True
            yield finding
    except Exception as error:
        found = True
        yield Finding(check, State.BAD, f"could not be looked at: {error or type(error).__name__}")
    if not found:
        yield Finding(check, State.OK, "")
