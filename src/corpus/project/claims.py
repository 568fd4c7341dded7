"""What a project may not lay claim to: the system's units and ports, and other projects'."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from corpus.model.errors import DeploymentRefused
from corpus.project import services
from corpus.project.ledger import Ledger
from corpus.project.place import Project

_SYSTEM = re.compile(r"(corpus-|systemd-|ssh|sshd|dbus|salt-|network|multi-user\.|basic\.)")
_PORTS = frozenset({22})
_MEND = "correct the project's configuration: was it copied from another one?"


def check(project: Project, units: Sequence[str], ports: Sequence[int]) -> None:
    """Raise DeploymentRefused when a unit or a port is not this project's to stop or to hold."""
    for claim, owner in owners(project, units, ports).items():
        raise DeploymentRefused(f"{claim} belongs to {owner}", mend=_MEND)


def check_run(project: Project, common: Mapping[str, Any], run: Path) -> None:
    """Raise DeploymentRefused when a version claims what is not its own.

    ``run`` is what will be ``run/``, with the units that it brings; macros may have changed
    ``common`` until it was made.
    """
    shipped = services.shipped(run)
    names = [unit.name for unit in shipped]
    check(project, [*common["services"], *names], common["ports"])
    root = project.paths.root.resolve()
    for unit in shipped:
        found = services.foreign(project, unit.name)
        if found:
            raise DeploymentRefused(
                f"the unit {unit.name} exists and is not this project's",
                where=str(found),
                mend="name the unit after the project",
            )
        if not unit.resolve().is_relative_to(root):  # systemd takes it for another one's alias
            raise DeploymentRefused(
                f"the unit {unit.name} is a link that leads out of the project",
                where=f"{unit}: {unit.resolve()}",
                mend="put a copy of the file into run/systemd",
            )


def owners(project: Project, units: Sequence[str], ports: Sequence[int]) -> dict[str, str]:
    """Return whose each of the units and ports is that is not this project's."""
    if not units and not ports:
        return {}
    found = {unit: "the system" for unit in units if _SYSTEM.match(unit)}
    found |= {str(port): "the system" for port in ports if port in _PORTS}
    for name in project.place.names():
        if name == project.name:
            continue
        other = Project.at(project.place, name)
        live = Ledger(other.paths.ledger).live()
        taken = {*live.runtime.get("services", [])} & {*units} if live else set()
        taken |= {unit for unit in units if services.is_linked(other, unit)}
        held = {*live.runtime.get("ports", [])} & {*ports} if live else set()
        found |= dict.fromkeys(sorted({*taken, *map(str, held)}), f"the project {name}")
    return found
