"""What a deployment would do, parts of one by hand, tasks, what was changed by hand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from salt.exceptions import CommandExecutionError

from corpus.project import repository
from projects import BRANCH, Scratch, digest
from recipes import macro, run

TASK = """\
{% set who = common.arguments.who | default('nobody') %}
write:
  file.managed:
    - name: {{ common.paths.data }}/task
    - contents: {{ who | json }}
"""
TOP = (
    macro("build", run("copy", "cp {{ common.paths.project }}/app {{ common.paths.run }}/app"))
    + macro("post_build", "unit:\n  file.managed:\n    - name: {{ common.paths.run }}/made\n")
    + macro("post_install", run("migrate", "echo migrated >> {{ common.paths.data }}/log"))
)


@pytest.fixture
def live(scratch: Scratch, call: Callable[..., Any]) -> Scratch:
    """Return a project with a live version and a task."""
    files = {"app": "one\n", ".salt/top.sls": TOP, ".salt/task_write.sls": TASK}
    repository.move_branch(scratch.project, BRANCH, scratch.commit(files))
    assert call("deploy", scratch.project.name)[0]["outcome"] == "live"
    return scratch


def everything(scratch: Scratch) -> str:
    (scratch.paths.state / "plans.lock").unlink(missing_ok=True)  # of the plans themselves
    return digest(scratch.paths.root)


def test_a_plan_touches_nothing(live: Scratch, call: Callable[..., Any]) -> None:
    name = live.project.name
    commit = live.commit({"app": "two\n"})
    before = everything(live)
    found, code = call("deploy", name, f"commit={commit}", "plan=True")
    assert everything(live) == before
    assert code == 0
    assert (found["mode"], found["kind"], found["commit"]) == ("cooking", "deploy", commit)
    steps = {step["name"]: step for step in found["steps"]}
    assert list(steps)[:4] == ["checkout", "preflight", "build", "bundle"]
    assert steps["build"]["phases"] == {"build": 1, "post_build": 1}
    assert steps["start"]["phases"] == {"post_install": 1}
    assert steps["build"]["seconds"] > 0
    assert found["needed"] == sum(copy["size"] for copy in found["copies"]) > 64 << 20
    assert found["free"] > 0
    assert list(live.paths.build.glob("plan-*")) == []


def test_a_plan_is_refused_for_what_a_deployment_is(
    live: Scratch, call: Callable[..., Any]
) -> None:
    before = everything(live)
    broken = live.commit({".salt/top.sls": TOP.replace("cmd.run", "cmd.nothing")})
    with pytest.raises(CommandExecutionError, match=r"no state function cmd\.nothing"):
        call("deploy", live.project.name, f"commit={broken}", "plan=True")
    before = everything(live)
    with pytest.raises(CommandExecutionError, match="no commit"):
        call("deploy", live.project.name, f"commit={'a' * 40}", "plan=True")
    assert everything(live) == before


def test_a_preview_tells_what_would_change(
    live: Scratch, call: Callable[..., Any], capfd: pytest.CaptureFixture[str]
) -> None:
    before = everything(live)
    call("deploy", live.project.name, "preview=True")
    said = capfd.readouterr().err
    assert "would change copy (cmd.run, " in said
    assert "-----> post_install (test)" in said
    assert everything(live) == before
    # The engine is as it was: what comes next is done.
    assert call("deploy", live.project.name)[0]["outcome"] == "live"


def test_a_task(live: Scratch, call: Callable[..., Any]) -> None:
    done, _ = call("run_task", live.project.name, "write", "who=Ada")
    assert done == {"done": {"states": 1, "changed": 1}}
    assert (live.paths.data / "task").read_text() == "Ada\n"
    with pytest.raises(CommandExecutionError, match="tasks: write"):
        call("run_task", live.project.name, "absent")
    for name in ("../top", "a/b", "x" * 100, ""):
        with pytest.raises(CommandExecutionError, match="not the name of a task"):
            call("run_task", live.project.name, name)
    live.assert_clean()


def test_phases_alone(live: Scratch, call: Callable[..., Any]) -> None:
    done, _ = call("deploy", live.project.name, "only=post_install")
    assert done == {"done": ["post_install"]}
    assert (live.paths.data / "log").read_text() == "migrated\nmigrated\n"
    with pytest.raises(CommandExecutionError, match="not by hand in cooking mode: build"):
        call("deploy", live.project.name, "only=build,post_build")
    with pytest.raises(CommandExecutionError, match="no phase is called nonsense"):
        call("deploy", live.project.name, "only=nonsense")
    live.assert_clean()


def test_steps_alone(live: Scratch, call: Callable[..., Any]) -> None:
    done, _ = call("deploy", live.project.name, "only_steps=preflight,health")
    assert done == {"done": ["preflight", "health"]}
    for steps, said in (("swap", "use preflight"), ("bind", "no step bind in cooking mode")):
        with pytest.raises(CommandExecutionError, match=said):
            call("deploy", live.project.name, f"only_steps={steps}")
    live.assert_clean()


def test_changes_by_hand(live: Scratch, call: Callable[..., Any]) -> None:
    name = live.project.name
    assert call("diff", name)[0] == {}
    (live.paths.run / "app").write_text("hot fix\n")
    (live.paths.run / "extra").write_text("x")
    (live.paths.run / "made").unlink()
    assert call("diff", name)[0] == {"app": "changed", "extra": "new", "made": "removed"}
    found, _ = call("deploy", name, "plan=True")
    assert len(found["changed_by_hand"]) == 3
    done, _ = call("deploy", name)
    assert done["outcome"] == "live"
    archive = Path(live.paths.archives, done["deployment"], "run")
    assert (archive / "app").read_text() == "hot fix\n"
    log = live.paths.log(live.ledger[-1].deployment).read_text()
    assert "run/ was changed by hand" in log
    assert call("diff", name)[0] == {}


def test_what_phases_make_is_no_change_by_hand(scratch: Scratch, call: Callable[..., Any]) -> None:
    top = TOP + macro("deploy", "x:\n  file.managed:\n    - name: {{ common.paths.run }}/later\n")
    repository.move_branch(
        scratch.project, BRANCH, scratch.commit({"app": "one\n", ".salt/top.sls": top})
    )
    call("deploy", scratch.project.name)
    assert call("diff", scratch.project.name)[0] == {}
    (scratch.paths.run / "later").write_text("by hand")
    assert call("diff", scratch.project.name)[0] == {"later": "changed"}
