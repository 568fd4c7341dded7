"""Going back to a former deployment by hand: a deployment like any other."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import pytest

from corpus.model.manifest import parse
from corpus.project import hotfixes, targets, trees
from corpus.project.ledger import Ledger
from projects import Phases, Scratch, copy_to_run, fail, git
from unit.project.endings import app


@pytest.fixture
def three(scratch: Scratch) -> Scratch:
    """Return a project with three good deployments, each with data of its own."""
    if os.geteuid() != 0:
        pytest.skip("mounts: needs root")
    for number in (1, 2, 3):
        commit = scratch.commit({"app": f"version {number}\n", ".salt/top.sls": ""})
        assert scratch.deploy(commit, Phases(build=copy_to_run)).outcome == "live"
        (scratch.paths.data / "db").write_text(f"of version {number}\n")
    return scratch


def db(scratch: Scratch) -> str:
    return (scratch.paths.data / "db").read_text()


def branch(scratch: Scratch) -> str:
    return git("-C", scratch.paths.project_git, "rev-parse", "master").stdout.strip()


def test_code_only(three: Scratch) -> None:
    done = three.rollback(Phases())
    assert done.outcome == "live", done.text
    assert (app(three), db(three)) == ("version 2\n", "of version 3\n")
    _first, second, third, last = three.ledger
    assert (last.kind, last.target, last.replaces) == ("rollback", second.id, third.id)
    assert branch(three) == last.commit == second.commit
    three.assert_clean()


def test_with_data(three: Scratch) -> None:
    done = three.rollback(Phases(), with_data=True)
    assert done.outcome == "live", done.text
    assert (app(three), db(three)) == ("version 2\n", "of version 2\n")
    assert "1 changed files" in done.text
    # What was written since is put aside, not lost.
    kept = three.paths.archive(three.ledger[-1].deployment).data
    assert (kept / "db").read_text() == "of version 3\n"
    three.assert_clean()


def test_dumps_of_the_target_are_reloaded(three: Scratch) -> None:
    base = three.folder / "database"

    def dump(common: dict[str, Any]) -> None:
        Path(common["paths"]["dumps"], "dump").write_text(base.read_text())

    def load(common: dict[str, Any]) -> None:
        base.write_text(Path(common["paths"]["dumps"], "dump").read_text())

    phases = Phases(build=copy_to_run, backup=dump, restore=load)
    for number in (4, 5):
        base.write_text(f"rows of {number - 1}")
        assert three.deploy(three.commit({"app": f"version {number}\n"}), phases).outcome == "live"
    base.write_text("rows of 5")
    assert three.rollback(phases, with_data=True).outcome == "live"
    assert base.read_text() == "rows of 4"

    def migrate(common: dict[str, Any]) -> None:
        base.write_text("damaged")
        fail(common)

    broken = Phases(build=copy_to_run, backup=dump, restore=load, post_install=migrate)
    assert three.rollback(broken, with_data=True).outcome == "rolled_back"
    assert base.read_text() == "rows of 4"


def test_a_restore_that_fails_once_gives_the_backup_back(three: Scratch) -> None:
    """Not the dumps that the rollback went to: the way back is the same process."""
    base = three.folder / "database"
    asked: list[str] = []

    def dump(common: dict[str, Any]) -> None:
        Path(common["paths"]["dumps"], "dump").write_text(base.read_text())

    def load(common: dict[str, Any]) -> None:
        base.write_text(Path(common["paths"]["dumps"], "dump").read_text())
        asked.append("once")
        if len(asked) == 1:
            fail(common)

    phases = Phases(build=copy_to_run, backup=dump, restore=load)
    for number in (4, 5):
        base.write_text(f"rows of {number - 1}")
        assert three.deploy(three.commit({"app": f"version {number}\n"}), phases).outcome == "live"
    base.write_text("rows of 5")
    done = three.rollback(phases, with_data=True)
    assert done.outcome == "rolled_back", done.text
    assert base.read_text() == "rows of 5"


def test_a_failed_rollback_is_rolled_back(three: Scratch) -> None:
    before = three.digests(), branch(three)
    done = three.rollback(Phases(post_install=fail), with_data=True)
    assert done.outcome == "rolled_back", done.text
    assert (three.digests(), branch(three)) == before
    three.assert_clean()


@pytest.mark.parametrize("known", [True, False])
def test_it_knows_how_large_run_is(three: Scratch, known: bool) -> None:
    """The next deployment asks for as much room, and the doctor looks for it."""
    if not known:  # as rollbacks were once recorded
        text = three.paths.ledger.read_text()
        three.paths.ledger.write_text(re.sub(r'"size": \d+', '"size": 0', text))
    size = trees.size_of(three.paths.deployment(three.ledger[1].deployment))[0]
    done = three.rollback(Phases())
    assert done.outcome == "live", done.text
    assert three.ledger[-1].runtime["size"] == size > 0


def test_what_was_left_is_never_chosen_again(three: Scratch) -> None:
    first, _second, third = three.ledger
    assert three.rollback(Phases()).outcome == "live"
    refused = three.rollback(Phases(), third.id)
    assert refused.outcome == "refused"
    assert "no deployment to go back to" in refused.text
    assert first.id in refused.text
    assert three.rollback(Phases()).outcome == "live"
    assert app(three) == "version 1\n"
    assert three.rollback(Phases()).outcome == "refused"
    three.assert_clean()


def offered(scratch: Scratch) -> set[str]:
    """Return the deployments whose releases paired environments may see."""
    found = scratch.paths.releases.glob("*.manifest.json")
    readable = [path for path in found if path.stat().st_mode & 0o040]
    return {str(parse(path.read_bytes()).deployment) for path in readable}


def test_after_two_bad_versions_the_same_one_is_left_behind(three: Scratch) -> None:
    """A copy of a copy is the version that it was made of, and that is the one that is live."""
    first, second, third = three.ledger
    assert three.rollback(Phases()).outcome == "live"
    commit = three.commit({"app": "version 4\n"})
    assert three.deploy(commit, Phases(build=copy_to_run)).outcome == "live"
    fourth = three.ledger[-1].id
    assert three.rollback(Phases()).outcome == "live"
    assert app(three) == "version 2\n"
    assert offered(three) == {first.id, second.id}
    done = three.rollback(Phases())
    assert done.outcome == "live", done.text
    assert app(three) == "version 1\n"
    assert offered(three) == {first.id}
    bad = Ledger(three.paths.ledger).bad_releases()
    assert bad == {second.id, third.id, fourth}
    three.assert_clean()


def test_what_was_left_is_not_offered_to_production(three: Scratch) -> None:
    _first, second, third = three.ledger

    def look(_common: dict[str, Any]) -> None:
        (three.folder / "meanwhile").write_text(" ".join(sorted(offered(three))))

    assert offered(three) == {entry.id for entry in three.ledger}
    assert three.rollback(Phases(post_install=look)).outcome == "live"
    assert third.id in (three.folder / "meanwhile").read_text()
    assert offered(three) == {three.ledger[0].id, second.id}
    commit = three.commit({"app": "version 4\n"})
    assert three.deploy(commit, Phases(build=copy_to_run, post_install=look)).outcome == "live"
    newest = three.ledger[-1].id
    assert newest not in (three.folder / "meanwhile").read_text()
    assert newest in offered(three)


def test_a_failed_deployment_is_no_target(three: Scratch) -> None:
    three.deploy(three.commit({"app": "bad\n"}), Phases(build=copy_to_run, post_install=fail))
    failed = three.ledger[-1].id
    assert failed not in [entry.id for entry in Ledger(three.paths.ledger).targets()]
    assert three.rollback(Phases(), failed).outcome == "refused"


def test_going_on_after_a_rollback(three: Scratch) -> None:
    three.rollback(Phases())
    commit = three.commit({"app": "version 4\n"})  # its parent is the version that was left
    assert three.deploy(commit, Phases(build=copy_to_run)).outcome == "live"
    assert app(three) == "version 4\n"


def test_files_that_go_while_one_looks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A session, a cache: the application runs meanwhile."""
    one, other = tmp_path / "one", tmp_path / "other"
    for folder, size in ((one, 1), (other, 2)):
        folder.mkdir()
        for name in ("there", "session"):
            (folder / name).write_text("x" * size)
    walked = os.walk

    def walk(folder: Path) -> Any:
        found = list(walked(folder))
        if folder == one:
            (one / "session").unlink(missing_ok=True)
        return found

    with monkeypatch.context() as patch:
        patch.setattr(targets.os, "walk", walk)
        assert targets.written_since(one, other).changed == ["there"]
    (one / "session").touch()
    with monkeypatch.context() as patch:
        patch.setattr(hotfixes.os, "walk", walk)
        assert hotfixes.changes(one, other) == {"there": "changed"}
    assert hotfixes._mark(one / "session") == ""


def test_what_was_written_is_told(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    for folder in (one, other):
        folder.mkdir()
        (folder / "same").write_text("same")
        os.utime(folder / "same", (1, 1))
    (one / "gone").write_text("x")
    for number in range(30):
        (other / f"new-{number:02}").write_text("12345")
    found = targets.written_since(other, one)
    assert (len(found.new), found.changed, found.removed) == (30, [], ["gone"])
    assert found.size == 150
    lines = targets.tell(found)
    assert lines[0] == "written since: 30 new, 1 removed files, 150 bytes"
    assert lines[-1] == "  and 11 more"
