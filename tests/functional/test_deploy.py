"""Deployments by the real Salt: live, refused for every kind of bad input, rolled back."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from corpus.project import repository
from corpus.project.deployment import MakeRunner
from corpus.saltext.engine import Engine
from projects import BRANCH, Scratch
from recipes import BUILD, macro, run

GOOD = {"app": "version 1\n", ".salt/top.sls": BUILD}


def deploy(scratch: Scratch, make_runner: MakeRunner, top: str, **files: str) -> str:
    """Deploy, see that nothing of what is live changed, and return the log."""
    before = scratch.digests(), scratch.paths.current.readlink(), len(scratch.ledger)
    tip = repository.deploy_branch(scratch.project)
    commit = scratch.commit({"app": "version 2\n", ".salt/top.sls": top, **files})
    done = scratch.deploy(commit, make_runner)
    after = scratch.digests(), scratch.paths.current.readlink(), len(scratch.ledger) - 1
    assert after == before, done.text
    assert repository.deploy_branch(scratch.project) == tip
    assert scratch.ledger[-1].outcome == done.outcome
    scratch.assert_clean()
    return f"{done.outcome}\n{done.text}"


def test_live(scratch: Scratch, make_runner: MakeRunner) -> None:
    commit = scratch.commit(GOOD)
    done = scratch.deploy(commit, make_runner)
    assert done.outcome == "live", done.text
    assert (scratch.paths.run / "app").read_text() == "version 1\n"
    assert repository.deploy_branch(scratch.project) == (BRANCH, commit)
    assert "       changed copy (cmd.run, " in done.text
    assert "       1 states, 1 changed" in done.text
    scratch.assert_clean()


def test_two_projects_do_not_see_each_other(
    new: Callable[[], Scratch], make_runner: MakeRunner
) -> None:
    """A shared file cache of Salt's serves one project another one's top.sls."""
    one, two = new(), new()
    for scratch, word in ((one, "one"), (two, "two"), (one, "three")):
        text = f"makina-projects.{scratch.project.name}:\n  data: {{word: {word}}}\n"
        scratch.pillar(text)
        top = macro("build", run(word, "echo {{ common.data.word }} > {{ common.paths.run }}/app"))
        done = scratch.deploy(scratch.commit({".salt/top.sls": top}), make_runner)
        assert done.outcome == "live", done.text
        assert (scratch.paths.run / "app").read_text() == f"{word}\n"
        assert f"changed {word} (" in done.text


def test_what_a_deployment_rendered_stays_its_own(
    scratch: Scratch, make_runner: MakeRunner, engine: Engine
) -> None:
    """All deployments are forked with one folder, and rendered states may hold secrets."""
    scratch.pillar(f"makina-projects.{scratch.project.name}:\n  data: {{password: hunter33}}\n")
    before = sorted(engine.folder.rglob("*"))
    seen = f"ls {engine.folder}/states > {{{{ common.paths.run }}}}/app"
    top = macro("build", run("{{ common.data.password }}", seen))
    done = scratch.deploy(scratch.commit({".salt/top.sls": top}), make_runner)
    assert done.outcome == "live", done.text
    assert "build-" in (scratch.paths.run / "app").read_text()
    assert sorted(engine.folder.rglob("*")) == before
    files = [path for path in engine.folder.rglob("*") if path.is_file()]
    assert [path for path in files if b"hunter33" in path.read_bytes()] == []


def test_common_by_reference_through_all_phases(scratch: Scratch, make_runner: MakeRunner) -> None:
    phases = ["gather_variables", "pre_install", "configure", "build", "post_build", "bundle",
              "stop", "backup", "deploy", "start", "post_deploy", "post_install", "health",
              "notify"]  # fmt: skip
    top = macro("gather_variables", "{% do common.update({'seen': ['gather_variables']}) %}")
    for phase in phases[1:-1]:
        top += macro(
            phase,
            f"{{% do common.seen.append('{phase}') %}}",
        )
    # Preflight renders every phase with a copy: what is seen below was done by the phases alone.
    top += macro(
        "notify",
        "seen:\n  file.managed:\n    - name: {{ common.paths.data }}/seen",
        "    - contents: {{ (common.seen + [common.outcome]) | join(' ') | json }}",
    )
    done = scratch.deploy(scratch.commit({".salt/top.sls": top}), make_runner)
    assert done.outcome == "live", done.text
    seen = (scratch.paths.data / "seen").read_text().split()
    assert seen == [*phases[:-1], "live"]


def test_layers_of_configuration(scratch: Scratch, make_runner: MakeRunner) -> None:
    key = f"makina-projects.{scratch.project.name}"
    scratch.pillar(f"{key}:\n  data: {{b: pillar, c: {{{{ 1 + 1 }}}}}}\nother: mine\n")
    top = macro(
        "build",
        run("show", "echo {{ common.data.a }} {{ common.data.b }} {{ common.data.c }} "
            "{{ pillar.other }} {{ salt['pillar.get']('other') }} > {{ common.paths.run }}/app"),
    )  # fmt: skip
    sample = f"{key}:\n  data: {{a: sample, b: sample}}\n"
    done = scratch.deploy(
        scratch.commit({".salt/top.sls": top, ".salt/PILLAR.sample": sample}), make_runner
    )
    assert done.outcome == "live", done.text
    assert (scratch.paths.run / "app").read_text() == "sample pillar 2 mine mine\n"


# Refused: every kind of bad input, each with what, where and how to mend


@pytest.mark.parametrize(
    ("top", "said"),
    [
        pytest.param(
            macro("build", "copy:", "  cmd.run:", "    - name: 'a", "   - b"),
            [".salt/top.sls, line", "build is not valid YAML", "- name: 'a"],
            id="YAML",
        ),
        pytest.param(
            BUILD + "{% macro deploy(common) %}\n{% if %}\n{% endmacro %}\n",
            [".salt/top.sls, line 7", "Expected an expression"],
            id="Jinja",
        ),
        pytest.param(
            BUILD.replace("{% endmacro %}", ""),
            [".salt/top.sls, line", "endmacro"],
            id="no endmacro",
        ),
        pytest.param(
            BUILD + "\n" + macro("post_install", run("x", "echo {{ common.nope }}")),
            ["post_install does not render", "has no attribute 'nope'", ".salt/top.sls, line"],
            id="undefined variable",
        ),
        pytest.param(
            BUILD + macro("post_install", "late:", "  nosuch.thing:", "    - name: x"),
            ["'late': there is no state function nosuch.thing", "post_install does not compile"],
            id="unknown function",
        ),
        pytest.param(
            macro("build", "copy:", "  cmd.run", "    - name: x"),
            [".salt/top.sls"],
            id="no colon",
        ),
        pytest.param(
            macro("build", "just a text"), ["build does not", ".salt/top.sls"], id="no states"
        ),
        pytest.param(
            macro("build", run("x", "true", "require: [{cmd: absent}]")),
            ["build", "absent", ".salt/top.sls"],
            id="unknown requisite",
        ),
    ],
)
def test_a_recipe_that_does_not_compile(
    standing: Scratch, make_runner: MakeRunner, top: str, said: list[str]
) -> None:
    log = deploy(standing, make_runner, top)
    assert log.startswith("refused")
    for text in [*said, "to mend: ", "refused: nothing was touched"]:
        assert text in log, log


def test_no_recipe(new: Callable[[], Scratch], make_runner: MakeRunner) -> None:
    scratch = new()
    done = scratch.deploy(scratch.commit({"app": "1"}), make_runner)
    assert done.outcome == "refused"
    assert "the project has no .salt/top.sls" in done.text
    scratch.assert_clean()


def test_a_failed_state_shows_its_command_and_output(
    standing: Scratch, make_runner: MakeRunner
) -> None:
    top = BUILD + macro("post_build", run("compile", "echo to out; echo to err >&2; exit 3"))
    log = deploy(standing, make_runner, top)
    assert log.startswith("refused")
    for text in (
        "post_build: the state 'compile' (cmd.run) failed",
        'Command "echo to out; echo to err >&2; exit 3"',
        "exit code 3",
        "to out",
        "to err",
        "where:   .salt/top.sls, line 7",
        "FAILED  compile (cmd.run",
    ):
        assert text in log, log


def test_the_first_failed_state_ends_the_phase(standing: Scratch, make_runner: MakeRunner) -> None:
    log = deploy(standing, make_runner, macro("build", run("a", "exit 1"), run("b", "echo on")))
    assert "the state 'a' (cmd.run) failed" in log
    assert " b (cmd.run" not in log, log


def test_a_hanging_phase(standing: Scratch, make_runner: MakeRunner) -> None:
    key = f"makina-projects.{standing.project.name}"
    standing.pillar(f"{key}:\n  timeouts: {{build: 1, post_install: 1}}\n")
    try:
        log = deploy(standing, make_runner, macro("build", run("slow", "sleep 30")))
        assert log.startswith("refused")
        assert "the phase build ran for more than 1 s and was ended" in log
        log = deploy(standing, make_runner, BUILD + macro("post_install", run("slow", "sleep 30")))
        assert log.startswith("rolled_back")
        assert "the phase post_install ran for more than 1 s" in log
    finally:
        standing.pillar("{}\n")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: {{ nope.nope }}\n", ["the pillar does not compile", "nope"]),
        ("a: b: c\n", ["the pillar does not compile"]),
        ("a: 'open\nsecret_key: hunter22\n  b\n", ["the pillar does not compile"]),
        ("{key}: [1]\n", ["{key} is not a mapping"]),
        ("{key}:\n  dta: 1\n", ["unknown setting: dta", "the project's pillar"]),
        ("{key}:\n  ports: all\n", ["ports must be a list of TCP ports"]),
        ("{key}:\n  mode: raw\n", ["raw"]),
    ],
)
def test_a_pillar_that_is_none(
    standing: Scratch, make_runner: MakeRunner, text: str, said: list[str]
) -> None:
    key = f"makina-projects.{standing.project.name}"
    standing.pillar(text.replace("{key}", key))
    try:
        log = deploy(standing, make_runner, BUILD)
    finally:
        standing.pillar("{}\n")
    assert log.startswith("refused")
    for one in said:
        assert one.replace("{key}", key) in log, log
    assert "hunter22" not in log


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: [1\n", ".salt/PILLAR.sample"),
        ("- a\n", "not a mapping"),
        ("{% if %}\n", ".salt/PILLAR.sample, line 1"),
        ("{key}:\n  dta: 1\n", "unknown setting: dta"),
    ],
)
def test_a_sample_that_is_none(
    standing: Scratch, make_runner: MakeRunner, text: str, said: str
) -> None:
    text = text.replace("{key}", f"makina-projects.{standing.project.name}")
    log = deploy(standing, make_runner, BUILD, **{".salt/PILLAR.sample": text})
    deploy_clean = {".salt/PILLAR.sample": ""}
    standing.commit(deploy_clean)
    assert log.startswith("refused")
    assert said in log, log


# Rolled back


def test_a_migration_that_damages_and_fails(standing: Scratch, make_runner: MakeRunner) -> None:
    damage = "echo damaged > {{ common.paths.data }}/db; rm -rf {{ common.paths.run }}/*; exit 4"
    log = deploy(standing, make_runner, BUILD + macro("post_install", run("migrate", damage)))
    assert log.startswith("rolled_back")
    assert "exit code 4" in log
    assert "rolled back: code and data are those of before" in log


def test_dumps_come_back(standing: Scratch, make_runner: MakeRunner) -> None:
    outside = standing.folder / "database"
    outside.write_text("of version 1\n")
    top = (
        BUILD
        + macro("backup", run("dump", f"cp {outside} {{{{ common.paths.dumps }}}}/"))
        + macro("restore", run("load", f"cp {{{{ common.paths.dumps }}}}/database {outside}"))
        + macro("post_install", run("migrate", f"echo damaged > {outside}; exit 1"))
    )
    log = deploy(standing, make_runner, top)
    assert log.startswith("rolled_back")
    assert outside.read_text() == "of version 1\n"


def test_secrets_are_in_neither_log_nor_ledger(standing: Scratch, make_runner: MakeRunner) -> None:
    key = f"makina-projects.{standing.project.name}"
    standing.pillar(f"{key}:\n  data: {{password: hunter22}}\n")
    try:
        top = BUILD + macro(
            "post_install",
            run("tell {{ common.data.password }}", "echo {{ common.data.password }}; exit 1"),
        )
        log = deploy(standing, make_runner, top)
        broken = BUILD + macro("post_install", "{{ common.data.password }}: [", "nope")
        log += deploy(standing, make_runner, broken)
    finally:
        standing.pillar("{}\n")
    assert "********" in log
    assert "hunter22" not in log
    written = [path for path in standing.paths.state.rglob("*") if path.is_file()]
    assert [path for path in written if b"hunter22" in path.read_bytes()] == []


def test_a_macro_may_ask_for_the_settings(scratch: Scratch, make_runner: MakeRunner) -> None:
    asks = "{% set found = salt['mc_project.settings'](common.name) %}"
    top = macro("gather_variables", asks) + BUILD
    done = scratch.deploy(scratch.commit({"app": "1", ".salt/top.sls": top}), make_runner)
    assert done.outcome == "live", done.text
