"""A push that fails in editable mode changes nothing, and loses no edit made meanwhile."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from corpus.project import binding, health, services, traffic
from projects import Phases, Scratch, copy_to_run, fail, git
from unit.project.editing import SETTINGS, build, files
from unit.project.editing import dev as dev


@pytest.mark.parametrize("phase", ["build", "post_build", "post_install", "health"])
def test_a_failed_push_changes_nothing(dev: Scratch, phase: str) -> None:
    def spoil(common: dict[str, Any]) -> None:
        build(common)
        Path(common["paths"]["run"], "more").write_text("x")
        fail(common)

    before = files(dev)
    commit = dev.commit({"app": "version 2\n", "new": "n"})
    done = dev.deploy(commit, Phases(SETTINGS, **{"build": build, phase: spoil}))
    assert done.outcome == "rolled_back", done.text
    assert files(dev) == before
    head = git("-C", dev.paths.project, "rev-parse", "HEAD").stdout.strip()
    assert head == dev.ledger[0].commit
    assert binding.is_bound(dev.project)


def test_a_directory_that_a_phase_moves_is_moved_back(dev: Scratch) -> None:
    (dev.paths.run / "old").mkdir()
    (dev.paths.run / "old" / "file").write_text("x")
    before = files(dev)

    def move(common: dict[str, Any]) -> None:
        (dev.paths.run / "old").rename(dev.paths.run / "moved")
        fail(common)

    done = dev.deploy(dev.commit({"app": "version 2\n"}), Phases(SETTINGS, build=move))
    assert done.outcome == "rolled_back", done.text
    assert files(dev) == before


def test_an_edit_while_a_failing_push_waits_for_health_stays(
    dev: Scratch, monkeypatch: pytest.MonkeyPatch
) -> None:
    called: list[None] = []

    def gate(*_: Any) -> None:
        called.append(None)
        if len(called) > 1:
            return  # the former version's
        time.sleep(0.05)
        (dev.paths.run / "mine").write_text("saved meanwhile\n")
        (dev.paths.run / "built").unlink()
        (dev.paths.run / "built").mkdir()
        (dev.paths.run / "built" / "mine").write_text("in its place\n")
        fail({})

    commit = dev.commit({"app": "version 2\n"})

    monkeypatch.setattr(health, "gate", gate)
    done = dev.deploy(commit, Phases(SETTINGS, build=build))
    assert done.outcome == "rolled_back", done.text
    assert (dev.paths.run / "mine").read_text() == "saved meanwhile\n"
    assert (dev.paths.run / "built" / "mine").read_text() == "in its place\n"
    assert (dev.paths.run / "app").read_text() == "version 1\n"
    assert " !       mine" in done.text


def test_services_start_from_the_live_files_on_the_way_back(
    dev: Scratch, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = dev.folder / "seen"

    def start(_project: object, _units: object) -> None:
        seen.write_text((dev.paths.run / "app").read_text())

    monkeypatch.setattr(services, "start", start)
    monkeypatch.setattr(traffic, "drain", lambda *_: fail({}))
    done = dev.deploy(dev.commit({"app": "version 2\n"}), Phases(SETTINGS, build=build))
    assert done.outcome == "rolled_back", done.text
    assert seen.read_text() == "version 1\n"


def test_a_first_push_that_fails_leaves_no_binding(scratch: Scratch) -> None:
    commit = scratch.commit({"app": "version 1\n", ".salt/top.sls": ""})
    done = scratch.deploy(commit, Phases(SETTINGS, post_install=fail))
    assert done.outcome == "rolled_back", done.text
    assert not binding.is_bound(scratch.project)
    assert list(scratch.paths.run.iterdir()) == []
    scratch.assert_clean()


def test_to_cooking_fails(dev: Scratch) -> None:
    done = dev.deploy(
        dev.commit({"app": "version 2\n"}), Phases(build=copy_to_run, post_install=fail)
    )
    assert done.outcome == "rolled_back", done.text
    assert (dev.paths.run / "app").read_text() == "version 1\n"
    assert (dev.paths.run / "built").read_text() == "of version 1\n"
    good = dev.deploy(dev.commit({"app": "version 3\n"}), Phases(SETTINGS, build=build))
    assert good.outcome == "live", good.text


def test_the_way_back_is_tried_again_from_where_it_failed(
    dev: Scratch, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_args: Any, **_kwargs: Any) -> None:
        raise OSError("the service does not start")

    def spoil(common: dict[str, Any]) -> None:
        Path(common["paths"]["run"], "more").write_text("x")
        fail(common)

    before = files(dev)
    commit = dev.commit({"app": "version 2\n", "new": "n"})
    with monkeypatch.context() as patch:
        patch.setattr(health, "gate", broken)
        done = dev.deploy(commit, Phases(SETTINGS, build=build, post_install=spoil))
    assert done.outcome == "rollback_failed", done.text
    assert dev.recover(Phases(SETTINGS, build=build)) is not None
    assert files(dev) == before
    status = git("-C", dev.paths.project, "status", "--porcelain").stdout
    assert status == ""


@pytest.mark.parametrize("phase", ["gather_variables", "build", "post_install"])
def test_a_push_that_leaves_editable_mode_and_fails_leaves_it_not(dev: Scratch, phase: str) -> None:
    commit = dev.commit({"app": "version 2\n"})
    phases = {"build": copy_to_run, phase: fail}
    done = dev.deploy(commit, Phases({"mode": "cooking"}, **phases))
    assert done.outcome in ("refused", "rolled_back"), done.text
    assert binding.is_bound(dev.project)
    assert (dev.paths.run / "app").read_text() == "version 1\n"
    assert (dev.paths.run / "built").exists()
    (dev.paths.project / "app").write_text("edited\n")
    assert (dev.paths.run / "app").read_text() == "edited\n"
