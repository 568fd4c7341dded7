"""Nothing may be mounted where directories are exchanged: the way back could not take it along."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from corpus.hosts import kernel
from corpus.model.errors import Conflict, DeploymentRefused
from corpus.project import deployment, planning, trees
from corpus.project.doctor.examine import examine
from corpus.project.log import Log
from corpus.project.request import Request
from projects import BRANCH, Phases, Scratch, copy_to_run, fail, in_child, unmounted

ROOT = {"app": "1\n", ".salt/top.sls": ""}


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Scratch]:
    """Return a project with a live version, and see that nothing stays mounted in it."""
    if os.geteuid() != 0:
        pytest.skip("mounts: needs root")
    scratch = Scratch(tmp_path)
    (scratch.paths.data / "db").write_text("of version 1\n")
    assert scratch.deploy(scratch.commit(ROOT), Phases(build=copy_to_run)).outcome == "live"
    with unmounted(tmp_path):
        yield scratch


def mount(scratch: Scratch, place: Path) -> Path:
    """Mount a disk with a file at ``place``; return the file, where it lies on the disk."""
    disk = scratch.folder / "disk"
    disk.mkdir()
    (disk / "precious").write_text("kept\n")
    place.mkdir(exist_ok=True)
    kernel.bind_mount(disk, place)
    return disk / "precious"


def doctor(scratch: Scratch) -> list[tuple[str, str]]:
    found = examine(scratch.place, "demo")
    return [
        (each["state"], each["where"])
        for each in found
        if each["check"] == "mounts" and each["state"] != "ok"
    ]


@pytest.mark.parametrize("name", ["data", "data/media", "run", "run/media", "archives", "build"])
def test_it_is_refused(running: Scratch, name: str) -> None:
    place = running.paths.root / name
    file = mount(running, place)
    before = running.ledger[-1].commit
    asked = Request(BRANCH, running.commit({"app": "2\n"}), "ann")
    log = Log(Path(os.devnull))
    with pytest.raises(DeploymentRefused, match="something is mounted") as planned:
        in_child(lambda: planning.plan(running.project, asked, Phases(), log, deployment.new_id()))
    done = running.deploy(asked.new, Phases(build=copy_to_run))
    assert (done.outcome, done.ending.error) == ("refused", str(planned.value))
    assert str(place) in done.ending.error
    assert "docs/how-to/disk.md" in done.ending.error
    assert doctor(running) == [("bad", str(place))]
    assert file.read_text() == "kept\n"
    kernel.unmount(place)
    assert doctor(running) == []
    assert running.ledger[-1].outcome == "refused"
    assert running.deploy(asked.new, Phases(build=copy_to_run)).outcome == "live"
    assert before != running.ledger[-1].commit


@pytest.mark.parametrize("name", ["project/media", "pillar", "pillar/more"])
def test_no_checkout_goes_over_a_mount(running: Scratch, name: str) -> None:
    """git makes a clone clean by removing all that it does not know, on another disk too."""
    running.pillar("{}\n")
    place = running.paths.root / name
    file = mount(running, place)
    asked = Request(BRANCH, running.commit({"app": "2\n"}), "ann")
    log = Log(Path(os.devnull))
    with pytest.raises(DeploymentRefused, match="something is mounted") as planned:
        in_child(lambda: planning.plan(running.project, asked, Phases(), log, deployment.new_id()))
    done = running.deploy(asked.new, Phases(build=copy_to_run))
    assert (done.outcome, done.ending.error) == ("refused", str(planned.value))
    assert doctor(running) == [("warn", str(place))]
    assert file.read_text() == "kept\n"
    kernel.unmount(place)
    place.rmdir()
    running.assert_clean()
    assert running.deploy(asked.new, Phases(build=copy_to_run)).outcome == "live"


def test_nothing_is_exchanged_in_editable_mode(running: Scratch) -> None:
    mount(running, running.paths.data / "media")
    done = running.deploy(running.commit({"app": "2\n"}), Phases({"mode": "editable"}))
    assert done.outcome == "live", done.text
    assert doctor(running) == []
    left = running.deploy(running.commit({"app": "3\n"}), Phases(build=copy_to_run))
    assert left.outcome == "refused"
    assert "something is mounted" in left.ending.error


@pytest.mark.parametrize("name", ["data", "data/media", "run/media"])
def test_one_that_comes_after_preflight_is_seen(running: Scratch, name: str) -> None:
    place = running.paths.root / name
    place.mkdir(exist_ok=True)
    before = running.digests()

    def stop(_common: dict[str, Any]) -> None:
        mount(running, place)

    second = running.commit({"app": "2\n"})
    done = running.deploy(second, Phases(build=copy_to_run, stop=stop))
    assert done.outcome == "rolled_back", done.text
    assert "data failed" in done.text
    kernel.unmount(place)
    assert running.digests() == before
    assert (running.folder / "disk" / "precious").read_text() == "kept\n"
    running.assert_clean()


def test_what_a_failed_version_mounted_is_no_hindrance(running: Scratch) -> None:
    """The data of before had nothing mounted; the disk goes aside and is never emptied."""
    before = running.digests()

    def deploy(common: dict[str, Any]) -> None:
        mount(running, Path(common["paths"]["data"], "media"))

    second = running.commit({"app": "2\n"})
    done = running.deploy(second, Phases(build=copy_to_run, deploy=deploy, post_install=fail))
    assert done.outcome == "rolled_back", done.text
    assert running.digests() == before
    aside = running.paths.archive(running.ledger[-1].deployment).data_failed / "media"
    assert doctor(running) == [("warn", str(aside))]
    none = Phases({"retention": {"good": 1, "failed": 0}}, build=copy_to_run)
    done = running.deploy(running.commit({"app": "3\n"}), none)
    assert done.outcome == "live"
    assert "nothing more is pruned: something is mounted" in done.text
    assert (aside / "precious").read_text() == "kept\n"
    kernel.unmount(aside)
    done = running.deploy(running.commit({"app": "4\n"}), none)
    assert done.outcome == "live"
    assert not aside.parent.exists()
    assert (running.folder / "disk" / "precious").read_text() == "kept\n"


@pytest.mark.parametrize("remove", [trees.remove, trees.empty, trees.discard, trees.clear])
@pytest.mark.parametrize("deep", ["", "inner", "inner/most"])
def test_nothing_removes_what_is_mounted(
    running: Scratch, remove: Callable[[Path], None], deep: str
) -> None:
    folder = running.folder / "rubbish"
    (folder / deep).mkdir(parents=True)
    (folder / "first").touch()
    file = mount(running, folder / deep)
    with pytest.raises(Conflict, match="something is mounted") as refusal:
        remove(folder)
    assert refusal.value.where == str(folder / deep)
    assert file.read_text() == "kept\n"
    assert folder.exists()
    kernel.unmount(folder / deep)
    assert (folder / "first").exists()
