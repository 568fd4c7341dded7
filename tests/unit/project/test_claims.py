"""A project stops and holds what is its own, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from corpus.model.deployment import Outcome
from corpus.model.errors import DeploymentRefused
from corpus.project import claims
from corpus.project.ledger import Entry, Ledger
from corpus.project.place import Project
from projects import place_at


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """Return a project beside another one, «shop», which is live with a unit and a port."""
    place = place_at(tmp_path)
    for name in ("demo", "shop"):
        Project.at(place, name).paths.state.mkdir(parents=True)
    live = Entry("x", Outcome.LIVE, "cooking", "c", "p", 1.0, 2.0)
    runtime = {"services": ["shop.service"], "ports": [8080]}
    Ledger(Project.at(place, "shop").paths.ledger).append(
        Entry(**{**live.__dict__, "runtime": runtime})
    )
    return Project.at(place, "demo")


def test_its_own_units_and_ports(project: Project) -> None:
    claims.check(project, ["demo.service", "worker.timer"], [8000])


@pytest.mark.parametrize(
    "unit",
    ["corpus-deploy.service", "ssh.service", "sshd.service", "dbus.socket", "systemd-x.timer"],
)
def test_units_of_the_system(project: Project, unit: str) -> None:
    with pytest.raises(DeploymentRefused, match="belongs to the system"):
        claims.check(project, [unit], [])


def test_the_port_of_ssh(project: Project) -> None:
    with pytest.raises(DeploymentRefused, match="22 belongs to the system"):
        claims.check(project, [], [22])


@pytest.mark.parametrize(("units", "ports"), [(["shop.service"], []), ([], [8080])])
def test_what_another_project_has(project: Project, units: list[str], ports: list[int]) -> None:
    with pytest.raises(DeploymentRefused, match="belongs to the project shop"):
        claims.check(project, units, ports)
