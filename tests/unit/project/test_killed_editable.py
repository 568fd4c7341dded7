"""A push in editable mode is cut off: the live files are there at boot, and later work stays."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from corpus.hosts import kernel
from corpus.project import binding, inplace, worktree
from corpus.project.__main__ import hold_unfinished
from corpus.project.journal import Journal
from projects import Phases, Scratch, copy_to_run, fork, git, in_child, share, unmounted
from unit.project.editing import SETTINGS, build, files
from unit.project.editing import dev as dev


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
    before = files(dev)
    _dies_in(dev, step, commit, Phases(SETTINGS, build=build))
    assert (dev.paths.run / "app").read_text() == "version 2\n"
    for _boot in range(2):
        in_child(lambda: hold_unfinished(dev.place))
        assert files(dev) == before
    assert dev.recover(Phases(SETTINGS, build=build)) is not None
    assert files(dev) == before
    assert git("-C", dev.paths.project, "status", "--porcelain").stdout == ""


def test_killed_at_boot_between_the_files_and_the_checkout(dev: Scratch) -> None:
    before = files(dev)
    _dies_in(dev, "health", dev.commit({"app": "version 2\n"}), Phases(SETTINGS, build=build))

    def boot() -> None:
        worktree.put_back = lambda *_: os.kill(os.getpid(), signal.SIGKILL)  # type: ignore
        hold_unfinished(dev.place)

    assert os.waitpid(fork(boot), 0)[1] == signal.SIGKILL
    in_child(lambda: hold_unfinished(dev.place))
    assert files(dev) == before
    assert dev.recover(Phases(SETTINGS, build=build)) is not None
    assert files(dev) == before


def test_a_built_version_is_there_at_boot_when_the_first_push_in_this_mode_is_cut_off(
    scratch: Scratch,
) -> None:
    commit = scratch.commit({"app": "version 1\n", ".salt/top.sls": ""})
    assert scratch.deploy(commit, Phases(build=copy_to_run)).outcome == "live"
    (scratch.paths.run / "generated").write_text("of version 1\n")
    before = files(scratch)
    second = scratch.commit({"app": "version 2\n", "new": "n"})
    _dies_in(scratch, "health", second, Phases(SETTINGS, build=build))
    in_child(lambda: hold_unfinished(scratch.place))
    assert files(scratch) == before
    assert scratch.recover(Phases(build=copy_to_run)) is not None
    assert files(scratch) == before
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
    before = files(dev)
    commit = dev.commit({"app": "version 2\n"})
    deploy = fork(lambda: dev.deploy_here(commit, Phases(SETTINGS, build=_cut_off)))
    assert os.waitpid(deploy, 0)[1] == signal.SIGKILL
    assert dev.recover(Phases(SETTINGS)) is not None
    assert files(dev) == before
    assert not (dev.paths.run / "half").exists()
    moved = dev.paths.archives / dev.ledger[-1].id / "run.failed"
    assert files(dev, moved)["half/built"] == "x"


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


def test_killed_while_run_is_put_aside(dev: Scratch) -> None:
    before = files(dev)
    commit = dev.commit({"app": "version 2\n"})

    def work() -> None:
        def dies(path: Path) -> None:
            if "archives" in path.parts:
                os.kill(os.getpid(), signal.SIGKILL)

        kernel.sync = dies
        dev.deploy_here(commit, Phases(SETTINGS, build=build))

    assert os.waitpid(fork(work), 0)[1] == signal.SIGKILL
    assert dev.recover(Phases(SETTINGS)) is not None
    assert files(dev) == before  # and dev finds nothing half made
