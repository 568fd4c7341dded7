"""What a project may not lay claim to: the system's units and ports, and other projects'."""

from __future__ import annotations

import re
from collections.abc import Sequence

from corpus.model.errors import DeploymentRefused
from corpus.project.ledger import Ledger
from corpus.project.place import Project

_SYSTEM = re.compile(r"(corpus-|systemd-|ssh|sshd|dbus|salt-|network|multi-user\.|basic\.)")
_PORTS = frozenset({22})
_MEND = "correct the project's configuration: was it copied from another one?"


def check(project: Project, units: Sequence[str], ports: Sequence[int]) -> None:
    """Raise DeploymentRefused when a unit or a port is not this project's to stop or to hold."""
    for unit in units:
        if _SYSTEM.match(unit):
            raise DeploymentRefused(f"services: {unit} belongs to the system", mend=_MEND)
    for port in ports:
        if port in _PORTS:
            raise DeploymentRefused(f"ports: {port} belongs to the system", mend=_MEND)
    for name in project.place.names():
        live = Ledger(Project.at(project.place, name).paths.ledger).live()
        if name == project.name or live is None:
            continue
        taken = {*units} & {*live.runtime.get("services", [])}
        taken |= {str(port) for port in {*ports} & {*live.runtime.get("ports", [])}}
        if taken:
            said = ", ".join(sorted(taken))
            raise DeploymentRefused(f"{said} belongs to the project {name}", mend=_MEND)
