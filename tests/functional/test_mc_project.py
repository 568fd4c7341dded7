"""mc_project through Salt's own loader and command line."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from salt.exceptions import CommandExecutionError

from corpus.project import repository
from corpus.project.deployment import MakeRunner
from projects import BRANCH, Scratch
from serving import serving

FUNCTIONS = {"init_project", "settings", "get_configuration", "deploy", "promote", "rollback",
             "run_task", "diff", "report", "list_projects", "link", "unlink", "identity", "pair",
             "unpair", "peers", "fetch_release", "doctor", "usage", "remove",
             "releases", "verify"}  # fmt: skip
TOP = "{% macro build(common) %}\nx:\n  file.managed:\n    - name: {{ common.paths.run }}/x\n"
TOP += "    - contents: {{ common.data.get('word', 'none') }}\n{% endmacro %}\n"
FAILING = TOP.replace("file.managed", "test.fail_without_changes")


def test_it_loads_by_its_entry_point(functions: Any) -> None:
    assert all(f"mc_project.{name}" in functions for name in FUNCTIONS)
    # Its dictionary has what was loaded so far: to ask for all would load every module of Salt.
    loaded = [name for name in functions._dict if name.startswith("mc_project.")]
    found = {name.partition(".")[2] for name in loaded}
    assert found == FUNCTIONS


@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_every_function_says_what_it_does(functions: Any, name: str) -> None:
    text = functions[f"mc_project.{name}"].__doc__
    assert text
    assert text[0].isupper()
    assert len(text.strip()) > 30


def test_a_project_from_its_beginning(environment: Path, call: Callable[..., Any]) -> None:
    made, code = call("init_project", "fresh")
    assert code == 0
    assert made["code"] == "~/project.git"
    assert str(environment / "srv/projects/fresh/data") in made["made"]
    again, _ = call("init_project", "fresh")
    assert again["made"] == []
    scratch = Scratch(environment, "fresh")
    commit = scratch.commit({".salt/top.sls": TOP})
    with pytest.raises(CommandExecutionError, match="nothing was pushed to fresh yet"):
        call("deploy", "fresh")
    repository.move_branch(scratch.project, BRANCH, commit)
    done, code = call("deploy", "fresh")
    assert (done["outcome"], done["result"], code) == ("live", True, 0)
    report, _ = call("report", "fresh")
    assert report["live"]["commit"] == commit
    assert report["unfinished"] is None
    assert report["under_way"] is None
    assert json.dumps(report)
    projects, _ = call("list_projects")
    assert {"name": "fresh", "live": done["deployment"], "commit": commit} in projects
    links, _ = call("unlink", "fresh")
    assert len(links) == 2
    assert call("link", "fresh")[0] == links
    scratch.assert_clean()


def test_a_deployment_that_fails_says_so(scratch: Scratch, call: Callable[..., Any]) -> None:
    commit = scratch.commit({".salt/top.sls": FAILING})
    repository.move_branch(scratch.project, BRANCH, commit)
    done, code = call("deploy", scratch.project.name)
    assert (done["outcome"], done["result"], code) == ("refused", False, 10)
    assert "the state 'x'" in done["error"]
    scratch.assert_clean()


def test_a_service_that_runs_is_asked(
    scratch: Scratch, call: Callable[..., Any], make_runner: MakeRunner
) -> None:
    commit = scratch.commit({".salt/top.sls": TOP})
    repository.move_branch(scratch.project, BRANCH, commit)
    with serving(scratch, make_runner):
        done, code = call("deploy", scratch.project.name)
    assert (done["outcome"], done["result"], code) == ("live", True, 0)
    assert (done["deployment"], "root") == (scratch.ledger[-1].id, scratch.ledger[-1].by)
    scratch.assert_clean()


def test_the_doctor_sees_what_was_broken(scratch: Scratch, call: Callable[..., Any]) -> None:
    name = scratch.project.name
    scratch.paths.archives.chmod(0o755)
    found, code = call("doctor", name)
    assert json.dumps(found)
    assert code == 1  # neither service nor host key in this environment
    (broken,) = (each for each in found if each["where"] == str(scratch.paths.archives))
    assert (broken["state"], broken["mended"]) == ("warn", False)
    found, _ = call("doctor", name, "mend=True")
    assert [each["mended"] for each in found if each["where"] == broken["where"]] == [True]
    assert scratch.paths.archives.stat().st_mode & 0o777 == 0o700


def test_what_uses_the_disk(scratch: Scratch, call: Callable[..., Any]) -> None:
    found, code = call("usage", scratch.project.name)
    assert (code, found["deployments"]) == (0, [])
    assert found["on_disk"] > 4 << 20
    assert json.dumps(found)


def test_a_project_is_removed(new: Callable[[], Scratch], call: Callable[..., Any]) -> None:
    scratch = new()
    name = scratch.project.name
    with pytest.raises(CommandExecutionError, match=f"say confirm={name}"):
        call("remove", name)
    assert str(scratch.paths.root) in call("remove", name, f"confirm={name}")[0]
    assert not scratch.paths.root.exists()
    with pytest.raises(CommandExecutionError, match=f"no project '{name}'"):
        call("remove", name, f"confirm={name}")


def test_releases(scratch: Scratch, call: Callable[..., Any], functions: Any) -> None:
    name = scratch.project.name
    with pytest.raises(CommandExecutionError, match="no release"):
        functions["mc_project.verify"](name)
    commit = scratch.commit({".salt/top.sls": TOP})
    repository.move_branch(scratch.project, BRANCH, commit)
    done, _ = call("deploy", name)
    (listed,), _ = call("releases", name)
    assert (listed["deployment"], listed["commit"]) == (done["deployment"], commit)
    assert (listed["files"], listed["parts"][0]["name"]) == (2, "main")
    for release in ([], [f"release={done['deployment']}"]):
        assert call("verify", name, *release) == (listed, 0)
    archive = scratch.paths.releases / listed["parts"][0]["archive"]
    archive.write_bytes(archive.read_bytes()[:-1])
    with pytest.raises(CommandExecutionError, match="not whole"):
        functions["mc_project.verify"](name)
    assert functions.pack["__context__"]["retcode"] == 10


def test_settings_mask_secrets(scratch: Scratch, call: Callable[..., Any]) -> None:
    name = scratch.project.name
    scratch.pillar(
        f"makina-projects.{name}:\n  data: {{password: hunter22, port: 5432, word: w}}\n"
    )
    commit = scratch.commit({".salt/top.sls": TOP})
    repository.move_branch(scratch.project, BRANCH, commit)
    assert call("deploy", name)[0]["outcome"] == "live"
    assert (scratch.paths.run / "x").read_text() == "w\n"
    for function in ("settings", "get_configuration"):
        found, _ = call(function, name)
        assert found["data"] == {"password": "********", "port": 5432, "word": "w"}
    common, _ = call("settings", name)
    assert common["commit"] == commit
    assert common["paths"]["run"] == str(scratch.paths.run)


def test_asking_does_not_disturb_a_deployment(scratch: Scratch, call: Callable[..., Any]) -> None:
    other = scratch.paths.state / "salt-of-a-deployment"
    other.mkdir()
    call("get_configuration", scratch.project.name)
    assert list(scratch.paths.state.glob("salt*")) == [other]
    other.rmdir()


@pytest.mark.parametrize("name", ["../x", "-x", "x" * 300, "ü", "root"])
def test_a_name_that_is_none(functions: Any, name: str) -> None:
    with pytest.raises(CommandExecutionError, match="to mend: "):
        functions["mc_project.init_project"](name)
    assert functions.pack["__context__"]["retcode"] == 2


def test_a_project_that_is_not_there(functions: Any) -> None:
    with pytest.raises(CommandExecutionError, match="no project 'absent'"):
        functions["mc_project.report"]("absent")
    assert functions.pack["__context__"]["retcode"] == 3


def test_the_command_line(scratch: Scratch, environment: Path) -> None:
    commit = scratch.commit({".salt/top.sls": FAILING})
    repository.move_branch(scratch.project, BRANCH, commit)
    done = subprocess.run(
        [sys.executable, "-c", "import salt.scripts as s; s.salt_call()", "--local",
         f"--config-dir={environment}", "--retcode-passthrough", "--out=json",
         "mc_project.deploy", scratch.project.name],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 10, done.stderr
    assert json.loads(done.stdout)["local"]["outcome"] == "refused"
    assert "the state 'x' (test.fail_without_changes) failed" in done.stderr
    scratch.assert_clean()
