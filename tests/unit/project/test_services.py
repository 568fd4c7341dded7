"""Units that come and go with the code, and no unit of anybody else's."""

from __future__ import annotations

from pathlib import Path

import pytest

from corpus.hosts.fake import Fake
from corpus.model.errors import PhaseFailed
from corpus.project import services
from corpus.project.place import Project
from projects import place_at

RELOAD = ("systemctl", "--no-ask-password", "daemon-reload")


@pytest.fixture
def project(tmp_path: Path, fake: Fake) -> Project:
    project = Project.at(place_at(tmp_path, fake), "demo")
    (project.paths.run / "systemd").mkdir(parents=True)
    return project


def ship(project: Project, **units: str) -> None:
    for name, text in units.items():
        (project.paths.run / "systemd" / f"{name}.service").write_text(text)


def links(project: Project) -> list[str]:
    units = project.place.units
    return sorted(str(p.relative_to(units)) for p in units.rglob("*") if p.is_symlink())


def test_units_are_linked_and_those_declared_start_at_boot(project: Project, fake: Fake) -> None:
    ship(project, demo="1", helper="1")
    (project.paths.run / "systemd" / "README.txt").touch()
    services.link(project, ["demo.service"], {})
    assert links(project) == [
        "demo.service",
        "helper.service",
        "multi-user.target.wants/demo.service",
    ]
    assert (project.place.units / "demo.service").readlink() == (
        project.paths.run / "systemd" / "demo.service"
    )
    assert fake.commands == [RELOAD]


def test_systemd_reads_anew_only_what_changed(project: Project, fake: Fake) -> None:
    ship(project, demo="1")
    services.link(project, ["demo.service"], {})
    before = services.contents(project.paths.run)
    fake.calls.clear()
    services.link(project, ["demo.service"], before)
    assert fake.commands == []
    ship(project, demo="2")
    services.link(project, ["demo.service"], before)
    assert fake.commands == [RELOAD]


def test_a_unit_that_is_gone_loses_its_links(project: Project, fake: Fake) -> None:
    ship(project, demo="1", old="1")
    services.link(project, ["demo.service", "old.service"], {})
    before = services.contents(project.paths.run)
    (project.paths.run / "systemd" / "old.service").unlink()
    fake.calls.clear()
    services.link(project, ["demo.service"], before)
    assert links(project) == ["demo.service", "multi-user.target.wants/demo.service"]
    assert fake.commands == [RELOAD]


@pytest.mark.parametrize("kind", ["file", "link", "dangling"])
def test_a_unit_of_somebody_elses_is_refused(project: Project, kind: str, tmp_path: Path) -> None:
    ship(project, ssh="mine")
    place = project.place.units / "ssh.service"
    place.parent.mkdir(parents=True)
    if kind == "file":
        place.write_text("theirs")
    else:
        target = tmp_path / "elsewhere"
        if kind == "link":
            target.write_text("theirs")
        place.symlink_to(target)
    before = place.readlink() if place.is_symlink() else place.read_text()
    with pytest.raises(PhaseFailed, match=r"ssh\.service exists and is not this project's"):
        services.link(project, ["ssh.service"], {})
    assert (place.readlink() if place.is_symlink() else place.read_text()) == before


def test_those_that_may_be_stopped_are_its_own(project: Project, tmp_path: Path) -> None:
    """A link that was refused is another one's, whatever run/ brings."""
    others = {"worker@": "1", "worker@1": "1", "worker@2": "1", "getty@tty5": "1"}
    ship(project, linked="1", free="1", theirs="1", cron="1", **others)
    units, elsewhere = project.place.units, project.place.unit_folders[0]
    for folder in (units, elsewhere):
        folder.mkdir()
    for name in ("linked.service", "worker@.service"):
        (units / name).symlink_to(project.paths.run / "systemd" / name)
    (units / "theirs.service").symlink_to(tmp_path / "other/run/systemd/theirs.service")
    for name in ("cron.service", "getty@.service", "linked.service", "worker@1.service"):
        (elsewhere / name).touch()
    assert services.names(project) == ["free.service", "linked.service", "worker@2.service"]


def test_unlink_takes_only_the_projects(project: Project) -> None:
    ship(project, demo="1")
    services.link(project, ["demo.service"], {})
    foreign = project.place.units / "other.service"
    foreign.symlink_to("/dev/null")
    services.unlink(project)
    assert links(project) == ["other.service"]
    services.unlink(project)


def test_stop_takes_those_that_systemd_knows_last_first(project: Project, fake: Fake) -> None:
    def show(argv: object) -> str:
        words = list(argv)  # type: ignore[call-overload]
        return "\n".join(
            f"Id={name}\nLoadState={'not-found' if name == 'b.service' else 'loaded'}\n"
            for name in words[words.index("--") + 1 :]
        )

    fake.answer("systemctl --no-pager show", show)
    services.stop(project, ["a.service", "b.service", "c.service"])
    assert fake.commands[-1][-4:] == ("stop", "--", "c.service", "a.service")
    fake.calls.clear()
    services.stop(project, ["b.service"])
    assert all("stop" not in command for command in fake.commands)


def test_a_service_that_does_not_start_says_what_it_logged(project: Project, fake: Fake) -> None:
    fake.prepare_failure("start", err="Job for demo.service failed")
    fake.answer("journalctl", "Traceback: no module named flask")
    with pytest.raises(PhaseFailed, match="the services did not start") as caught:
        services.start(project, ["demo.service"])
    assert "Job for demo.service failed" in str(caught.value)
    assert "no module named flask" in str(caught.value)
    assert "demo.service" in (caught.value.where or "")


def test_no_services_no_commands(project: Project, fake: Fake) -> None:
    services.start(project, [])
    services.stop(project, [])
    assert services.inactive(project, []) == []
    assert fake.commands == []


def test_what_is_not_active(project: Project, fake: Fake) -> None:
    fake.answer(
        "systemctl --no-pager show",
        "Id=a.service\nActiveState=active\n\nId=b.service\nActiveState=failed\n",
    )
    assert services.inactive(project, ["a.service", "b.service", "c.service"]) == [
        "b.service (failed)",
        "c.service (unknown)",
    ]
