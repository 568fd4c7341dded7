"""A machine over SSH: words arrive as they are given, through one pinned connection."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path, PurePath

import pytest

from corpus.hosts.base import Command, Result
from corpus.hosts.fake import Fake
from corpus.hosts.ssh import SSH, connected
from corpus.model.errors import CommandFailed, NotFound

ODD = ["a b", "it's", '"$HOME"', "`id`", "$(id)", "*", "", "a\nb", "\\", "-n", "ü", ";", "&& x"]


class Shell(Fake):
    """Do with the last word what sshd does: give it to a shell. ``code``: ssh's own failure."""

    code = 0

    def execute(self, command: Command) -> Result:
        self.calls.append(command)
        if self.code or "exit" in command.argv:
            return Result(command.argv, self.code, "", "ssh: no route")
        done = subprocess.run(
            ["/bin/sh", "-c", command.argv[-1]],
            input=command.stdin,
            capture_output=True,
            timeout=command.timeout,
        )
        return Result(command.argv, done.returncode, done.stdout.decode(), done.stderr.decode())


@pytest.fixture
def outer() -> Shell:
    return Shell()


@pytest.fixture
def host(outer: Shell) -> SSH:
    return SSH(["ssh", "-i", "key"], "root", "web.example", 2222, outer)


def test_every_word_arrives_as_it_is_given(host: SSH) -> None:
    script = "import json, sys; print(json.dumps(sys.argv[1:], ensure_ascii=False))"
    told = host.run(["python3", "-c", script, *ODD]).out
    assert json.loads(told) == ODD


def test_where_it_goes(host: SSH, outer: Shell) -> None:
    host.run(["true"])
    assert outer.commands[0][:-2] == (
        "ssh", "-i", "key", "-T", "-p", "2222", "-l", "root", "--",
    )  # fmt: skip
    assert outer.commands[0][-2] == "web.example"


def test_environment_directory_and_input(host: SSH, tmp_path: Path) -> None:
    script = 'printf "%s %s " "$A" "$PWD"; cat'
    told = host.run(["sh", "-c", script], env={"A": "b c"}, cwd=tmp_path, stdin="in")
    assert told.out == f"b c {tmp_path} in"


def test_what_runs_past_its_time_is_ended_there(host: SSH, tmp_path: Path) -> None:
    script = f"sleep 30; touch {tmp_path}/late"
    with pytest.raises(CommandFailed) as failed:
        host.run(["sh", "-c", script], timeout=0.2)
    assert failed.value.code is None
    assert not (tmp_path / "late").exists()


def test_a_lost_connection_is_no_result_of_the_command(host: SSH, outer: Shell) -> None:
    outer.code = 255
    with pytest.raises(CommandFailed, match="no route") as failed:
        host.run(["true"], check=False)
    assert "run it again" in (failed.value.mend or "")


def test_files_of_any_bytes(host: SSH, tmp_path: Path) -> None:
    path, data = tmp_path / "a folder" / "it's", bytes(range(256))
    host.put(path, data, 0o600)
    assert path.read_bytes() == data
    assert path.stat().st_mode & 0o777 == 0o600
    assert [entry.name for entry in path.parent.iterdir()] == ["it's"]
    assert host.get(path) == data
    with pytest.raises(NotFound, match="no such file on web"):
        host.get(PurePath("/no/such"))


def test_the_connection_trusts_the_pinned_key_alone(outer: Shell) -> None:
    with connected(Path("/k"), "ssh-ed25519 AAAA", "root", "a", 22, outer) as (host, known):
        host.run(["true"])
        assert known.read_text() == "machine ssh-ed25519 AAAA\n"
        folder = known.parent
        argv = outer.commands[0]
        for option in (
            "-oStrictHostKeyChecking=yes", f"-oUserKnownHostsFile={known}", "-oControlMaster=auto",
            "-oBatchMode=yes", f"-oControlPath={folder}/socket", "-oHostKeyAlias=machine",
        ):  # fmt: skip
            assert option in argv
    assert outer.commands[-1][-4:] == ("-O", "exit", "--", "a")
    assert not folder.exists()


def test_an_unknown_key_is_taken_only_where_that_is_said(outer: Shell) -> None:
    with connected(Path("/k"), None, "root", "a", 22, outer) as (host, known):
        host.run(["true"])
        assert known.read_text() == ""
    assert "-oStrictHostKeyChecking=accept-new" in outer.commands[0]
