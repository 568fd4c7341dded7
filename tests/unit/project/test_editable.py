"""Editable mode: run/ is the checkout, built in place; a failed push changes nothing."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from corpus.hosts import kernel
from corpus.model.errors import InvalidInput
from corpus.project import binding, byhand, health, inplace, services, traffic, worktree
from corpus.project.__main__ import hold_unfinished
from corpus.project.journal import Journal
from corpus.project.log import Log
from projects import (
    Phases,
    Scratch,
    copy_to_run,
    digest,
    fail,
    fork,
    git,
    in_child,
    share,
    unmounted,
)

SETTINGS = {"mode": "editable"}


def build(common: dict[str, Any]) -> None:
    """Be a build in place: its product lies beside the source and is not git's."""
    run = Path(common["paths"]["run"])
    assert (run / ".git").exists()
    (run / "built").write_text(f"of {(run / 'app').read_text()}")


@pytest.fixture
def dev(scratch: Scratch) -> Iterator[Scratch]:
    """Return a project that is live in editable mode."""
    if os.geteuid() != 0:
        pytest.skip("mounts: needs root")
    commit = scratch.commit({"app": "version 1\n", ".salt/top.sls": "", ".gitignore": "built\n"})
    done = scratch.deploy(commit, Phases(SETTINGS, build=build))
    assert done.outcome == "live", done.text
    (scratch.paths.data / "db").write_text("of version 1\n")
    yield scratch
    binding.unbind(scratch.project)
    scratch.assert_clean()


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


@pytest.mark.parametrize("phase", ["build", "post_build", "post_install", "health"])
def test_a_failed_push_changes_nothing(dev: Scratch, phase: str) -> None:
    def spoil(common: dict[str, Any]) -> None:
        build(common)
        Path(common["paths"]["run"], "more").write_text("x")
        fail(common)

    before = _files(dev)
    commit = dev.commit({"app": "version 2\n", "new": "n"})
    done = dev.deploy(commit, Phases(SETTINGS, **{"build": build, phase: spoil}))
    assert done.outcome == "rolled_back", done.text
    assert _files(dev) == before
    head = git("-C", dev.paths.project, "rev-parse", "HEAD").stdout.strip()
    assert head == dev.ledger[0].commit
    assert binding.is_bound(dev.project)


def _files(scratch: Scratch, folder: Path | None = None) -> dict[str, str]:
    run = folder or scratch.paths.run
    names = [p for p in run.rglob("*") if p.is_file() and ".git" not in p.relative_to(run).parts]
    return {str(path.relative_to(run)): path.read_text() for path in names}


def _dies_in(scratch: Scratch, step: str, commit: str, phases: Phases) -> None:
    """Deploy, and be killed when ``step`` begins."""
    begin = Journal.begin

    def dies(self: Journal, name: str, *, durable: bool = True) -> None:
        begin(self, name, durable=durable)
        if name == step:
            os.kill(os.getpid(), signal.SIGKILL)

    def work() -> None:
        Journal.begin = dies  # type: ignore[method-assign]
        scratch.deploy_here(commit, phases)

    assert os.waitpid(fork(work), 0)[1] == signal.SIGKILL


@pytest.mark.parametrize("step", ["preflight", "hold", "bind", "start", "health"])
def test_services_start_from_the_live_files_at_boot(dev: Scratch, step: str) -> None:
    """A container that stops in the middle of a push boots before anything is recovered."""
    commit = dev.commit({"app": "version 2\n", "new": "n"})
    before = _files(dev)
    _dies_in(dev, step, commit, Phases(SETTINGS, build=build))
    assert (dev.paths.run / "app").read_text() == "version 2\n"
    for _boot in range(2):
        in_child(lambda: hold_unfinished(dev.place))
        assert _files(dev) == before
    assert dev.recover(Phases(SETTINGS, build=build)) is not None
    assert _files(dev) == before
    assert git("-C", dev.paths.project, "status", "--porcelain").stdout == ""


def test_killed_at_boot_between_the_files_and_the_checkout(dev: Scratch) -> None:
    before = _files(dev)
    _dies_in(dev, "health", dev.commit({"app": "version 2\n"}), Phases(SETTINGS, build=build))

    def boot() -> None:
        worktree.put_back = lambda *_: os.kill(os.getpid(), signal.SIGKILL)  # type: ignore
        hold_unfinished(dev.place)

    assert os.waitpid(fork(boot), 0)[1] == signal.SIGKILL
    in_child(lambda: hold_unfinished(dev.place))
    assert _files(dev) == before
    assert dev.recover(Phases(SETTINGS, build=build)) is not None
    assert _files(dev) == before


def test_a_built_version_is_there_at_boot_when_the_first_push_in_this_mode_is_cut_off(
    scratch: Scratch,
) -> None:
    commit = scratch.commit({"app": "version 1\n", ".salt/top.sls": ""})
    assert scratch.deploy(commit, Phases(build=copy_to_run)).outcome == "live"
    (scratch.paths.run / "generated").write_text("of version 1\n")
    before = _files(scratch)
    second = scratch.commit({"app": "version 2\n", "new": "n"})
    _dies_in(scratch, "health", second, Phases(SETTINGS, build=build))
    in_child(lambda: hold_unfinished(scratch.place))
    assert _files(scratch) == before
    assert scratch.recover(Phases(build=copy_to_run)) is not None
    assert _files(scratch) == before
    assert not binding.is_bound(scratch.project)
    assert (scratch.paths.project / "app").read_text() == "version 1\n"
    scratch.assert_clean()


def _cut_off(common: dict[str, Any]) -> None:
    """Be a phase that the machine goes down in."""
    build(common)
    Path(common["paths"]["run"], "half").mkdir()
    Path(common["paths"]["run"], "half", "built").write_text("x")
    Path(common["paths"]["run"], ".salt", "top.sls").unlink()
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_phase_that_is_cut_off_leaves_nothing(dev: Scratch) -> None:
    before = _files(dev)
    commit = dev.commit({"app": "version 2\n"})
    deploy = fork(lambda: dev.deploy_here(commit, Phases(SETTINGS, build=_cut_off)))
    assert os.waitpid(deploy, 0)[1] == signal.SIGKILL
    assert dev.recover(Phases(SETTINGS)) is not None
    assert _files(dev) == before
    assert not (dev.paths.run / "half").exists()
    moved = dev.paths.archives / dev.ledger[-1].id / "run.failed"
    assert _files(dev, moved)["half/built"] == "x"


def test_a_directory_that_a_phase_moves_is_moved_back(dev: Scratch) -> None:
    (dev.paths.run / "old").mkdir()
    (dev.paths.run / "old" / "file").write_text("x")
    before = _files(dev)

    def move(common: dict[str, Any]) -> None:
        (dev.paths.run / "old").rename(dev.paths.run / "moved")
        fail(common)

    done = dev.deploy(dev.commit({"app": "version 2\n"}), Phases(SETTINGS, build=move))
    assert done.outcome == "rolled_back", done.text
    assert _files(dev) == before


@pytest.mark.parametrize("at_boot", [True, False])
@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("where", ["health", "build"])
def test_work_done_after_a_push_that_was_cut_off_stays(
    scratch: Scratch, monkeypatch: pytest.MonkeyPatch, where: str, shared: bool, at_boot: bool
) -> None:
    if os.geteuid() != 0:
        pytest.skip("mounts: needs root")
    monkeypatch.setattr(inplace, "CUT_OFF", 1_000_000_000)
    with unmounted(scratch.folder):
        first = scratch.commit({"app": "1\n", ".salt/top.sls": "", ".gitignore": "built\n"})
        if shared:
            share(scratch.work, scratch.project)
        assert scratch.deploy(first, Phases(SETTINGS, build=build)).outcome == "live"
        commit = scratch.commit({"app": "2\n"})
        if where == "health":
            _dies_in(scratch, "health", commit, Phases(SETTINGS, build=build))
        else:
            pid = fork(lambda: scratch.deploy_here(commit, Phases(SETTINGS, build=_cut_off)))
            os.waitpid(pid, 0)
        time.sleep(0.05 if where == "health" else 1.2)
        run = scratch.paths.run
        (run / "app").write_text("three days of work\n")
        (run / "half").mkdir(exist_ok=True)
        (run / "half" / "module.py").write_text("more work\n")
        if at_boot:
            in_child(lambda: hold_unfinished(scratch.place))
        assert scratch.recover(Phases(SETTINGS, build=build)) is not None
        assert (run / "app").read_text() == "three days of work\n"
        assert (run / "half" / "module.py").read_text() == "more work\n"
        assert (run / "built").read_text() == "of 1\n"
        assert not (run / "half" / "built").exists()
        logs = [path.read_text() for path in (scratch.paths.state / "logs").iterdir()]
        for name in ("app", "half/module.py", "built"):
            assert any(f" !       {name}\n" in text for text in logs)


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


@pytest.fixture
def laptop(scratch: Scratch) -> Iterator[Scratch]:
    """Return a project whose directory is the developer's own clone."""
    if os.geteuid() != 0:
        pytest.skip("mounts: needs root")
    with unmounted(scratch.folder):
        share(scratch.work, scratch.project)
        yield scratch


def test_a_shared_directory_is_deployed_as_it_is(laptop: Scratch) -> None:
    commit = laptop.commit({"app": "version 1\n", ".salt/top.sls": "", ".gitignore": "built\n"})
    (laptop.work / "app").write_text("edited\n")
    done = laptop.deploy(commit, Phases(SETTINGS, build=build))
    assert done.outcome == "live", done.text
    assert (laptop.paths.run / "built").read_text() == "of edited\n"
    assert list(laptop.paths.archives.iterdir()) == []
    assert git("-C", laptop.work, "branch", "--show-current").stdout == "master\n"


def test_a_failed_first_deployment_leaves_a_shared_directory_as_it_was(laptop: Scratch) -> None:
    def spoil(common: dict[str, Any]) -> None:
        build(common)
        (Path(common["paths"]["run"]) / "app").write_text("spoiled\n")
        fail(common)

    commit = laptop.commit({"app": "version 1\n", ".salt/top.sls": ""})
    (laptop.work / "untracked").write_text("mine\n")
    before = _files(laptop, laptop.work)
    done = laptop.deploy(commit, Phases(SETTINGS, build=spoil))
    assert done.outcome == "rolled_back", done.text
    assert _files(laptop, laptop.work) == before
    assert binding.is_bound(laptop.project)
    good = laptop.deploy(commit, Phases(SETTINGS, build=build))
    assert good.outcome == "live", good.text


def test_a_shared_directory_has_no_other_mode(laptop: Scratch) -> None:
    commit = laptop.commit({"app": "version 1\n", ".salt/top.sls": ""})
    done = laptop.deploy(commit, Phases(build=copy_to_run))
    assert done.outcome == "refused"
    assert "a developer edits" in done.text
    assert binding.is_shared(laptop.project)


def test_to_cooking_fails(dev: Scratch) -> None:
    done = dev.deploy(
        dev.commit({"app": "version 2\n"}), Phases(build=copy_to_run, post_install=fail)
    )
    assert done.outcome == "rolled_back", done.text
    assert (dev.paths.run / "app").read_text() == "version 1\n"
    assert (dev.paths.run / "built").read_text() == "of version 1\n"
    good = dev.deploy(dev.commit({"app": "version 3\n"}), Phases(SETTINGS, build=build))
    assert good.outcome == "live", good.text


def test_no_rollback(dev: Scratch) -> None:
    dev.deploy(dev.commit({"app": "version 2\n"}), Phases(SETTINGS, build=build))
    refused = dev.rollback(Phases(SETTINGS))
    assert refused.outcome == "refused"


def test_the_way_back_is_tried_again_from_where_it_failed(
    dev: Scratch, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_args: Any, **_kwargs: Any) -> None:
        raise OSError("the service does not start")

    def spoil(common: dict[str, Any]) -> None:
        Path(common["paths"]["run"], "more").write_text("x")
        fail(common)

    before = _files(dev)
    commit = dev.commit({"app": "version 2\n", "new": "n"})
    with monkeypatch.context() as patch:
        patch.setattr(health, "gate", broken)
        done = dev.deploy(commit, Phases(SETTINGS, build=build, post_install=spoil))
    assert done.outcome == "rollback_failed", done.text
    assert dev.recover(Phases(SETTINGS, build=build)) is not None
    assert _files(dev) == before
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


def test_killed_while_run_is_put_aside(dev: Scratch) -> None:
    before = _files(dev)
    commit = dev.commit({"app": "version 2\n"})

    def work() -> None:
        def dies(path: Path) -> None:
            if "archives" in path.parts:
                os.kill(os.getpid(), signal.SIGKILL)

        kernel.sync = dies
        dev.deploy_here(commit, Phases(SETTINGS, build=build))

    assert os.waitpid(fork(work), 0)[1] == signal.SIGKILL
    assert dev.recover(Phases(SETTINGS)) is not None
    assert _files(dev) == before  # and dev finds nothing half made
