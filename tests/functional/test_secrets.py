"""No function of mc_project shows a secret of the pillar, in its errors either."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from salt.exceptions import CommandExecutionError

from corpus.project import repository
from projects import BRANCH, Scratch
from recipes import macro, run

SECRET = "hunter22secret"
GIVEN = "given-on-the-line"
ECHO = 'echo "{{ common.data.db_password }}" && echo {{ common.data.db_password }} >&2 && false'
GOOD = macro("build", run("copy", "true"))
FAILING = GOOD + macro("post_install", run("show {{ common.data.db_password }}", ECHO))
UNREADABLE = GOOD + macro(
    "post_install", 'x:\n  cmd.run:\n   - name: "{{ common.data.db_password }}\n    - y: [\n'
)
TASK = run("tell", ECHO.replace("echo", "echo {{ common.arguments.admin_password }}", 1))
NEWLINE = "\n"
KEY = NEWLINE.join(["-----BEGIN KEY-----", "c2VjcmV0LWtleS1saW5l", "-----END KEY-----"])


def pillar(name: str, rest: str = "") -> str:
    return f"makina-projects.{name}:\n  data:\n    db_password: {SECRET}\n{rest}"


@pytest.fixture
def live(scratch: Scratch, call: Callable[..., Any]) -> Scratch:
    """Return a project with a live version, and another commit whose phase fails."""
    scratch.pillar(pillar(scratch.project.name))
    files = {".salt/top.sls": GOOD, ".salt/task_tell.sls": TASK}
    repository.move_branch(scratch.project, BRANCH, scratch.commit(files))
    assert call("deploy", scratch.project.name)[0]["outcome"] == "live"
    return scratch


def shown(scratch: Scratch, capfd: pytest.CaptureFixture[str], error: object) -> str:
    """Return all that people, or Salt's job returns, get to see of a failure."""
    said = capfd.readouterr()
    logs = [path.read_text() for path in (scratch.paths.state / "logs").iterdir()]
    cause = getattr(error, "__cause__", None)
    return "\n".join([str(error), repr(error), str(cause), repr(cause), said.out, said.err, *logs])


def failure(scratch: Scratch, capfd: pytest.CaptureFixture[str], call: Callable[[], object]) -> str:
    with pytest.raises(CommandExecutionError) as error:
        call()
    text = shown(scratch, capfd, error.value)
    assert SECRET not in text
    assert "********" in text
    return text


def test_a_task(live: Scratch, call: Callable[..., Any], capfd: pytest.CaptureFixture[str]) -> None:
    words = ("run_task", live.project.name, "tell", f"admin_password={GIVEN}")
    text = failure(live, capfd, lambda: call(*words))
    assert "the state 'tell' (cmd.run) failed" in text
    assert GIVEN not in text


def test_a_phase_alone(
    live: Scratch, call: Callable[..., Any], capfd: pytest.CaptureFixture[str]
) -> None:
    (live.paths.salt / "top.sls").write_text(FAILING)
    text = failure(live, capfd, lambda: call("deploy", live.project.name, "only=post_install"))
    assert "post_install: the state 'show ********' (cmd.run) failed" in text


@pytest.mark.parametrize("how", ["plan", "preview"])
def test_a_plan(
    live: Scratch, call: Callable[..., Any], capfd: pytest.CaptureFixture[str], how: str
) -> None:
    commit = live.commit({".salt/top.sls": UNREADABLE})
    words = ("deploy", live.project.name, f"commit={commit}", f"{how}=True")
    text = failure(live, capfd, lambda: call(*words))
    assert "post_install is not valid YAML" in text


@pytest.mark.parametrize("function", ["get_configuration", "settings", "run_task", "plan"])
@pytest.mark.parametrize(
    "rest",
    [
        "",
        f"    tls_key: |\n      {KEY.replace(NEWLINE, NEWLINE + '      ')}\n",
        f"    tls_key:\n    - {KEY.replace(NEWLINE, NEWLINE + '    - ')}\n",
        "{% set token = 'c2VjcmV0LWtleS1saW5l' %}\n",
        "    mail: {address: a@example.org, password: c2VjcmV0LWtleS1saW5l}\n",
    ],
)
def test_a_pillar_that_does_not_compile(
    live: Scratch,
    call: Callable[..., Any],
    capfd: pytest.CaptureFixture[str],
    function: str,
    rest: str,
) -> None:
    name = live.project.name
    text = pillar(name, rest + "    x: {{ nope.nope }}\n")
    (live.paths.pillar / "init.sls").write_text(text)
    if function == "plan":
        live.pillar(text)
    words = {
        "run_task": ["run_task", name, "tell"],
        "plan": ["deploy", name, "plan=True"],
    }.get(function, [function, name])
    said = failure(live, capfd, lambda: call(*words))
    assert "the pillar does not compile" in said
    assert "c2VjcmV0LWtleS1saW5l" not in said


def test_the_command_line(live: Scratch, environment: Path) -> None:
    """Salt logs what a failed command said, to the terminal and to its own log."""
    name = live.project.name
    done = subprocess.run(
        [sys.executable, "-c", "import salt.scripts as s; s.salt_call()", "--local",
         f"--config-dir={environment}", "mc_project.run_task", name, "tell", "admin_password=x"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode != 0
    assert "the state 'tell' (cmd.run) failed" in done.stderr
    log = environment / "salt" / "log"
    written = log.read_text() if log.is_file() else ""
    assert SECRET not in done.stdout + done.stderr + written
