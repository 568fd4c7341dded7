"""Editable mode: run/ is the checkout, built in place; no push and no other mode loses an edit."""

from __future__ import annotations

import pytest

from corpus.model.errors import InvalidInput
from corpus.project import binding, byhand
from corpus.project.log import Log
from projects import Phases, Scratch, copy_to_run, digest, fail
from unit.project.editing import SETTINGS, build
from unit.project.editing import dev as dev


def test_run_is_the_checkout(dev: Scratch) -> None:
    paths = dev.paths
    assert binding.is_bound(dev.project)
    assert (paths.run / "built").read_text() == "of version 1\n"
    (paths.project / "app").write_text("edited\n")
    assert (paths.run / "app").read_text() == "edited\n"
    assert paths.current.resolve() == paths.run.resolve()
    assert list(paths.releases.iterdir()) == []
    assert list(paths.archives.iterdir()) == []
    assert dev.ledger[-1].mode == "editable"


def test_a_second_push(dev: Scratch) -> None:
    called: list[str] = []
    phases = {name: lambda _c, n=name: called.append(n) for name in ("bundle", "deploy", "backup")}
    done = dev.deploy(dev.commit({"app": "version 2\n"}), Phases(SETTINGS, build=build, **phases))
    assert done.outcome == "live", done.text
    assert (dev.paths.run / "built").read_text() == "of version 2\n"
    assert called == []


def test_mixin_is_the_same(scratch: Scratch) -> None:
    commit = scratch.commit({"app": "version 1\n", ".salt/top.sls": ""})
    assert scratch.deploy(commit, Phases({"mode": "mixin"})).outcome == "live"
    assert binding.is_bound(scratch.project)
    binding.unbind(scratch.project)


def test_an_edit_is_not_overwritten(dev: Scratch) -> None:
    (dev.paths.project / "app").write_text("edited\n")
    before = digest(dev.paths.run)
    done = dev.deploy(dev.commit({"app": "version 2\n"}), Phases(SETTINGS, build=build))
    assert done.outcome == "refused"
    assert "app" in done.text
    assert digest(dev.paths.run) == before


def test_the_step_bind_alone_replaces_no_version(scratch: Scratch) -> None:
    commit = scratch.commit({"app": "version 1\n", ".salt/top.sls": ""})
    assert scratch.deploy(commit, Phases(build=copy_to_run)).outcome == "live"
    (scratch.paths.run / "by-hand").write_text("a hotfix\n")
    log = Log(scratch.paths.state / "logs" / "by-hand.log")
    with pytest.raises(InvalidInput, match="holds another version"):
        byhand.run_steps(scratch.project, ["bind"], Phases(SETTINGS, build=build), log)
    assert (scratch.paths.run / "by-hand").read_text() == "a hotfix\n"


def test_the_step_bind_alone_builds_again(dev: Scratch) -> None:
    (dev.paths.run / "app").write_text("edited\n")
    log = Log(dev.paths.state / "logs" / "by-hand.log")
    byhand.run_steps(dev.project, ["bind"], Phases(SETTINGS, build=build), log)
    assert (dev.paths.run / "built").read_text() == "of edited\n"


def test_to_cooking_and_back(dev: Scratch) -> None:
    cooking = dev.deploy(dev.commit({"app": "version 2\n"}), Phases(build=copy_to_run))
    assert cooking.outcome == "live", cooking.text
    assert not binding.is_bound(dev.project)
    assert (dev.paths.run / "app").read_text() == "version 2\n"
    assert len(list(dev.paths.releases.iterdir())) >= 2
    again = dev.deploy(dev.commit({"app": "version 3\n"}), Phases(SETTINGS, build=build))
    assert again.outcome == "live", again.text
    assert binding.is_bound(dev.project)


def test_what_was_in_run_before_is_kept(scratch: Scratch) -> None:
    commit = scratch.commit({"app": "version 1\n", ".salt/top.sls": ""})
    assert scratch.deploy(commit, Phases(build=copy_to_run)).outcome == "live"
    (scratch.paths.run / "by-hand").write_text("a hotfix\n")
    done = scratch.deploy(scratch.commit({"app": "2\n"}), Phases(SETTINGS, build=build))
    assert done.outcome == "live", done.text
    assert not (scratch.paths.run / "by-hand").exists()
    kept = scratch.paths.archives / done.ending.id / "run"
    assert (kept / "by-hand").read_text() == "a hotfix\n"
    binding.unbind(scratch.project)


def test_edits_of_an_earlier_time_in_this_mode_are_kept(dev: Scratch) -> None:
    (dev.paths.run / "untracked").write_text("mine\n")
    refused = dev.deploy(dev.commit({"app": "2\n"}), Phases(build=fail))
    assert refused.outcome == "refused"
    assert (dev.paths.run / "untracked").read_text() == "mine\n"
    done = dev.deploy(dev.commit({"app": "3\n"}), Phases(SETTINGS, build=build))
    assert done.outcome == "live", done.text
    places = [dev.paths.run, dev.paths.archives / done.ending.id / "run"]
    assert "mine\n" in [(p / "untracked").read_text() for p in places if (p / "untracked").exists()]


def test_no_rollback(dev: Scratch) -> None:
    dev.deploy(dev.commit({"app": "version 2\n"}), Phases(SETTINGS, build=build))
    refused = dev.rollback(Phases(SETTINGS))
    assert refused.outcome == "refused"
    assert "nothing to go back to" in refused.text
