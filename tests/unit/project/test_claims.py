"""A project stops and holds what is its own, and nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from corpus.model.deployment import Outcome
from corpus.model.errors import DeploymentRefused
from corpus.project import claims
from corpus.project.ledger import Entry, Ledger
from corpus.project.place import Project
from projects import place_at

NONE: dict[str, Any] = {"services": [], "ports": []}


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


# -- the units that a version brings


def ship(run: Path, name: str, text: str = "") -> Path:
    unit = run / "systemd" / name
    unit.parent.mkdir(parents=True, exist_ok=True)
    unit.write_text(text)
    return unit


def link(project: Project, name: str) -> None:
    """Have systemd know a unit of a project's ``run/``."""
    target = ship(project.paths.run, name)
    project.place.units.mkdir(exist_ok=True)
    (project.place.units / name).symlink_to(target)


@pytest.fixture
def new(project: Project) -> Path:
    """Return a ``run/`` that is being made, with units as they should be."""
    link(project, "demo.service")
    made = project.paths.build / "run-x"
    for name in ("demo.service", "demo@.service", "demo@1.service", "demo.timer", "demo.socket"):
        ship(made, name)
    (made / "systemd" / "alias.service").symlink_to("demo.service")
    (made / "systemd" / "again.service").symlink_to(project.paths.run / "systemd/demo.service")
    for folder in (*project.place.unit_folders, project.place.units):
        for name in ("demo.service.d", "demo@1.service.d"):  # what adds to a unit is none
            (folder / name).mkdir(parents=True)
    claims.check_run(project, NONE, made)
    return made


def test_what_covers_a_unit_already_goes_on(project: Project, new: Path) -> None:
    """A package may have brought it later."""
    (project.place.unit_folders[0] / "demo.service").touch()
    claims.check_run(project, NONE, new)


@pytest.mark.parametrize(
    ("theirs", "shipped"),
    [
        ("cron.service", "cron.service"),
        ("cups.socket", "cups.socket"),
        ("fstrim.timer", "fstrim.timer"),
        ("getty@.service", "getty@.service"),
        ("getty@.service", "getty@tty5.service"),
    ],
)
@pytest.mark.parametrize("where", ["units", "elsewhere"])
@pytest.mark.parametrize("how", ["file", "link", "dangling"])
def test_a_name_that_a_unit_has(
    project: Project, new: Path, theirs: str, shipped: str, where: str, how: str
) -> None:
    place = project.place
    there = (place.units if where == "units" else place.unit_folders[0]) / theirs
    if how == "file":
        there.touch()
    else:
        there.symlink_to("/dev/null" if how == "link" else "absent")
    ship(new, shipped)
    with pytest.raises(DeploymentRefused, match="exists and is not this project's") as caught:
        claims.check_run(project, NONE, new)
    assert caught.value.where == str(there)


@pytest.mark.parametrize(
    ("shipped", "owner"),
    [
        ("shop.service", "the project shop"),  # declared by it
        ("helper.service", "the project shop"),  # not declared, but brought
        ("helper@1.service", "the project shop"),  # an instance of what it brought
        ("corpus-deploy.service", "the system"),
    ],
)
def test_a_unit_of_another_projects(project: Project, new: Path, shipped: str, owner: str) -> None:
    for name in ("helper.service", "helper@.service"):
        link(Project.at(project.place, "shop"), name)
    ship(new, shipped)
    with pytest.raises(DeploymentRefused, match=f"{shipped} belongs to {owner}"):
        claims.check_run(project, NONE, new)
    (new / "systemd" / shipped).unlink()
    with pytest.raises(DeploymentRefused, match=f"{shipped} belongs to {owner}"):
        claims.check_run(project, {"services": [shipped], "ports": []}, new)


def test_an_alias_of_another_unit(project: Project, new: Path) -> None:
    theirs = project.place.unit_folders[0] / "cron.service"
    theirs.touch()
    (new / "systemd" / "mine.service").symlink_to(theirs)
    with pytest.raises(DeploymentRefused, match=r"mine\.service is a link that leads out"):
        claims.check_run(project, NONE, new)


def test_a_folder_that_is_the_systems(project: Project, new: Path) -> None:
    theirs = project.place.unit_folders[0]
    (theirs / "cron.service").touch()
    other = new.parent / "run-y"
    other.mkdir()
    (other / "systemd").symlink_to(theirs)
    with pytest.raises(DeploymentRefused):
        claims.check_run(project, NONE, other)


def test_a_damaged_ledger_of_another_project_hinders_none(project: Project) -> None:
    Project.at(project.place, "shop").paths.ledger.write_bytes(b"\xff\xfe\n{}\n[]\n")
    claims.check(project, ["shop.service"], [8080])
