"""A container is reached through lxc-attach on its outer host."""

from __future__ import annotations

from pathlib import PurePath

import pytest

from corpus.commands import lxc
from corpus.hosts.container import Container
from corpus.hosts.fake import Fake
from corpus.model.errors import CommandFailed, NotFound

PLACE = PurePath("/lab/lxc")


def _inner(outer: Fake) -> tuple[str, ...]:
    command = outer.commands[-1]
    return command[command.index("--") + 1 :]


def test_it_names_its_own_lxcpath_and_clears_the_environment() -> None:
    outer = Fake()
    Container("node", outer, PLACE).run(["true"])
    command = outer.commands[0]
    assert command[:4] == ("lxc-attach", "--lxcpath=/lab/lxc", "--name=node", "--clear-env")
    assert _inner(outer) == ("true",)


def test_environment_directory_and_account_go_inside() -> None:
    outer = Fake()
    Container("node", outer, PLACE).run(["id"], env={"A": "b c"}, cwd=PurePath("/x"), user="git")
    inner = _inner(outer)
    assert inner[0] == "setpriv"
    assert "--reuid=git" in inner
    assert inner[-4:] == ("env", "--chdir=/x", "A=b c", "id")


def test_its_bounds_are_those_of_what_runs_inside() -> None:
    outer = Fake()
    Container("node", outer, PLACE).run(["true"], timeout=3, most=5)
    assert [(call.timeout, call.most) for call in outer.calls] == [(3, 5)]


def test_a_failure_inside_is_the_container_s() -> None:
    outer = Fake()
    outer.prepare_failure("false", code=1)
    with pytest.raises(CommandFailed):
        Container("node", outer, PLACE).run(["false"])


def test_an_absent_file() -> None:
    outer = Fake()
    outer.prepare_failure("cat", code=1)
    with pytest.raises(NotFound, match="in node"):
        Container("node", outer, PLACE).get(PurePath("/etc/none"))


def test_what_lxc_info_prints() -> None:
    assert lxc.parse_info("State:          RUNNING\nPID:            812\n") == ("RUNNING", 812)
    assert lxc.parse_info("State:          STOPPED\n") == ("STOPPED", None)
    assert lxc.parse_info("") == ("STOPPED", None)
