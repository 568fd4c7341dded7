"""Salt's errors, as samples, in the words of the person who pushed."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from corpus.saltext import explain

SOURCE = """\
{% macro build(common) %}
copy:
  cmd.run:
    - name: {{ common.nope }}
twice:
  test.nop
{% endmacro %}
"""


def error(message: Any, line: int | None = None, buffer: str = "") -> Any:
    return SimpleNamespace(error=message, line_num=line, buffer=buffer)


def test_an_error_within_the_imported_recipe() -> None:
    """Salt names the file it cached, and Jinja's own place within it."""
    message = (
        "Jinja variable 'dict object' has no attribute 'nope'\n"
        "/run/engine/cache/files/base/makina-projects/demo/lib/x.sls(4):\n---\n[...]\n"
        "    - name: {{ common.nope }}    <======\n[...]\n---"
    )
    what, where, mend = explain.render_error(error(message, 1, "{% import … %}"), "top")
    assert what.startswith("Jinja variable 'dict object' has no attribute 'nope'\n[...]")
    assert "<======" in what
    assert "/run/engine" not in what
    assert where == ".salt/lib/x.sls, line 4"
    assert mend


def test_a_line_of_the_source_itself() -> None:
    what, where, _ = explain.render_error(error("Syntax error", 6, SOURCE), "top.sls", SOURCE)
    assert where == "top.sls, line 6"
    assert ">    6 |   test.nop" in what


def test_a_line_of_what_it_rendered_is_sought_in_the_source() -> None:
    rendered = "copy:\n  cmd.run:\n    - name: /x\ntwice:\n  test.nop\n"
    _, where, _ = explain.render_error(error("bad", 5, rendered), "top.sls", SOURCE)
    assert where == "top.sls, line 6"
    _, where, _ = explain.render_error(error("bad", 3, rendered), "top.sls", SOURCE)
    assert where == "top.sls, line 3 of what it rendered"


def test_a_yaml_error_whose_place_is_in_its_mark() -> None:
    """The parser in C keeps no text: what was rendered is handed over."""

    class Marked(str):
        problem_mark = SimpleNamespace(line=4)

    what, where, _ = explain.render_error(error(Marked("bad")), "top.sls", SOURCE, SOURCE)
    assert where == "top.sls, line 5"
    assert ">    5 | twice:" in what


def test_an_error_without_a_place() -> None:
    assert explain.render_error(error("  bad \n"), "top.sls", SOURCE)[:2] == ("bad", "top.sls")


@pytest.mark.parametrize(("line", "first", "last"), [(1, 1, 4), (4, 1, 7), (7, 4, 7), (9, 6, 7)])
def test_excerpts(line: int, first: int, last: int) -> None:
    found = explain.excerpt(SOURCE, line).splitlines()
    assert found[0][2:6] == f"{first:4}"
    assert found[-1][2:6] == f"{last:4}"
    assert [row[:1] for row in found].count(">") == (1 if line <= 7 else 0)


@pytest.mark.parametrize(
    ("said", "where"),
    [
        ("Cannot extend ID 'copy' in 'base:x'", ".salt/top.sls, line 2"),
        ("'twice': there is no state function x.y", ".salt/top.sls, line 5"),
        ("something else", ".salt/top.sls"),
    ],
)
def test_states_that_do_not_compile(said: str, where: str) -> None:
    failed = explain.compile_errors("build", [said], SOURCE)
    assert failed.what == f"build does not compile\n{said}"
    assert failed.where == where


def chunk(**values: Any) -> dict[str, Any]:
    return {"result": True, "changes": {}, "comment": "", "duration": 120.0, **values}


@pytest.mark.parametrize(
    ("result", "line"),
    [
        (chunk(), "ok      copy (cmd.run, 0.1 s)"),
        (chunk(changes={"pid": 1}), "changed copy (cmd.run, 0.1 s)"),
        (chunk(result=False, changes={"pid": 1}), "FAILED  copy (cmd.run, 0.1 s)"),
        (chunk(duration=None), "ok      copy (cmd.run, 0.0 s)"),
        ("not a mapping", "ok      copy (cmd.run, 0.0 s)"),
    ],
)
def test_a_state_that_ended(result: Any, line: str) -> None:
    assert explain.state_line({"__id__": "copy", "state": "cmd", "fun": "run"}, result) == line


def test_the_first_failed_state_with_its_output(tmp_path: Path) -> None:
    (tmp_path / "top.sls").write_text(SOURCE)
    failed = chunk(
        result=False,
        __id__="copy",
        __run_num__=1,
        comment='Command "cp" run',
        changes={"pid": 1, "retcode": 3, "stdout": "out\n" * 99, "stderr": "err"},
    )
    result = {
        "cmd_|-later_|-later_|-run": chunk(result=False, __id__="later", __run_num__=2),
        "cmd_|-copy_|-cp_|-run": failed,
        "cmd_|-fine_|-fine_|-run": chunk(__id__="fine", __run_num__=0),
    }
    found = explain.failed_states("build", result, tmp_path)
    assert found.what.splitlines()[:3] == [
        "build: the state 'copy' (cmd.run) failed",
        'Command "cp" run',
        "exit code 3",
    ]
    assert found.what.count("out") == 30
    assert found.what.endswith("err")
    assert found.where == ".salt/top.sls, line 2"


def test_a_failed_state_of_an_included_file(tmp_path: Path) -> None:
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "db.sls").write_text("\n'my db':\n  cmd.run: []\n")
    result = {"cmd_|-my db_|-x_|-run": chunk(result=False, __id__="my db")}
    assert explain.failed_states("build", result, tmp_path).where == ".salt/lib/db.sls, line 2"


def test_a_failed_state_that_stands_nowhere(tmp_path: Path) -> None:
    result = {"cmd_|-made up_|-x_|-run": chunk(result=False)}
    found = explain.failed_states("build", result, tmp_path)
    assert found.where == ".salt/top.sls"
    assert "'made up' (cmd.run)" in found.what
