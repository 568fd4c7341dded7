"""kill -9 of a deployer with the real Salt: during build, migration and rollback.

By the service, whose parent cleans up at once; and of the service as a whole, whose next
start does.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from corpus.project import lock, repository
from corpus.project.deployment import MakeRunner
from patience import wait_until
from projects import Scratch
from recipes import BUILD, macro, run
from serving import child_of, push, serving

WAIT = "touch {folder}/seen; echo $$ > {folder}/pid; sleep 60"
DAMAGE = "echo damaged > {{{{ common.paths.data }}}}/db; rm {{{{ common.paths.run }}}}/*; "


def recipe(moment: str, folder: Path) -> str:
    wait = WAIT.format(folder=folder)
    damage = DAMAGE.format()
    if moment == "build":
        return macro("build", run("slow", wait))
    if moment == "migration":
        return BUILD + macro("post_install", run("migrate", damage + wait))
    # Once only: recovery runs the macro again, to its end.
    once = f"test -e {folder}/pid || {{ {wait}; }}"
    broken = macro("post_install", run("migrate", f"{damage} exit 1"))
    return BUILD + broken + macro("restore", run("load", once))


@pytest.mark.parametrize("victim", ["worker", "service"])
@pytest.mark.parametrize(
    ("moment", "outcome"),
    [("build", "refused"), ("migration", "rolled_back"), ("rollback", "rolled_back")],
)
def test_killed(
    standing: Scratch, make_runner: MakeRunner, moment: str, outcome: str, victim: str
) -> None:
    scratch = standing
    folder = scratch.folder
    for name in ("seen", "pid"):
        (folder / name).unlink(missing_ok=True)
    before = scratch.digests(), repository.deploy_branch(scratch.project)
    entries, current = len(scratch.ledger), scratch.paths.current.readlink()
    commit = scratch.commit({"app": "2", ".salt/top.sls": recipe(moment, folder)})
    with serving(scratch, make_runner) as pid:
        push(scratch, commit).until(lambda message: "id" in message)
        wait_until((folder / "seen").exists)
        wait_until(lambda: (folder / "pid").exists() and (folder / "pid").read_text())
        sleeper = int((folder / "pid").read_text())
        if victim == "worker":
            os.kill(child_of(pid), signal.SIGKILL)
            wait_until(lambda: len(scratch.ledger) > entries and not scratch.paths.journal.exists())
            wait_until(lambda: not lock.is_held(scratch.paths.lock))
    if victim == "service":
        wait_until(lambda: not lock.is_held(scratch.paths.lock))
        assert scratch.paths.journal.exists()
        with serving(scratch, make_runner):
            wait_until(lambda: not scratch.paths.journal.exists())
            wait_until(lambda: not lock.is_held(scratch.paths.lock))
    wait_until(lambda: not Path(f"/proc/{sleeper}").exists())
    assert [entry.outcome for entry in scratch.ledger[entries:]] == [outcome]
    assert (scratch.digests(), repository.deploy_branch(scratch.project)) == before
    assert scratch.paths.current.readlink() == current
    scratch.assert_clean()


def test_a_deployment_after_all_that(standing: Scratch, make_runner: MakeRunner) -> None:
    done = standing.deploy(standing.commit({"app": "3\n", ".salt/top.sls": BUILD}), make_runner)
    assert done.outcome == "live", done.text
    assert (standing.paths.run / "app").read_text() == "3\n"
    standing.assert_clean()
