"""Commands on this machine."""

from __future__ import annotations

import os
import pwd
import time
from pathlib import Path

import pytest

from corpus.hosts.local import Local
from corpus.model.errors import CommandFailed, NotFound
from patience import wait_until

AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="changes the account: needs root")


def test_output_code_and_argv_come_back() -> None:
    result = Local().run(["sh", "-c", "echo out; echo err >&2; exit 3"], check=False)
    assert (result.code, result.out, result.err) == (3, "out\n", "err\n")
    assert result.argv[0] == "sh"


def test_no_shell_reads_the_arguments() -> None:
    assert Local().run(["printf", "%s", "$HOME; `id` *"]).out == "$HOME; `id` *"


def test_a_failure_carries_the_output() -> None:
    with pytest.raises(CommandFailed) as caught:
        Local().run(["sh", "-c", "echo half; echo broken >&2; exit 4"])
    assert caught.value.code == 4
    assert "half" in str(caught.value)
    assert "broken" in str(caught.value)


def test_a_command_that_is_not_there() -> None:
    with pytest.raises(CommandFailed) as caught:
        Local().run(["no-such-command-of-ours"])
    assert caught.value.code == 127


def test_past_its_time_it_is_ended_and_says_what_it_had_printed() -> None:
    begun = time.monotonic()
    with pytest.raises(CommandFailed) as caught:
        Local().run(["sh", "-c", "echo begun; exec sleep 60"], timeout=2, check=False)
    assert time.monotonic() - begun < 30
    assert caught.value.code is None
    assert "begun" in caught.value.output


def test_past_its_time_what_it_started_is_ended_too() -> None:
    with pytest.raises(CommandFailed) as caught:
        Local().run(["sh", "-c", "sleep 60 & echo $!; wait"], timeout=2)
    child = int(caught.value.output)

    def is_over() -> bool:
        try:
            state = Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            return True
        return state == "Z"

    wait_until(is_over, 20)


def test_past_its_time_what_has_left_it_and_holds_its_output_is_not_waited_for() -> None:
    begun = time.monotonic()
    with pytest.raises(CommandFailed) as caught:
        Local().run(["sh", "-c", "(setsid sleep 60 &); echo begun; sleep 60"], timeout=2)
    assert time.monotonic() - begun < 30
    assert caught.value.code is None
    assert "begun" in caught.value.output


def test_what_cannot_be_started_says_so(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("no program")
    with pytest.raises(CommandFailed) as caught:
        Local().run([str(tmp_path / "data")])
    assert caught.value.code == 126
    with pytest.raises(CommandFailed, match="absent"):
        Local().run(["true"], cwd=tmp_path / "absent")
    with pytest.raises(NotFound, match="no-such-account"):
        Local().run(["true"], user="no-such-account")


def test_much_input_and_output_at_once() -> None:
    text = "x" * (1 << 20)
    assert Local().run(["cat"], stdin=text).out == text


def test_what_prints_more_than_it_may_is_ended_and_says_so() -> None:
    begun = time.monotonic()
    with pytest.raises(CommandFailed, match="printed more than 100000 bytes") as caught:
        Local().run(["sh", "-c", "yes | head -c 60000; yes >&2"], check=False, most=100_000)
    assert time.monotonic() - begun < 30
    assert caught.value.code == -9
    assert len(caught.value.output) < 10_000
    with pytest.raises(CommandFailed, match="printed more"):
        Local().run(["sh", "-c", "setsid yes"], most=100_000)
    assert len(Local().run(["head", "-c", "100000", "/dev/zero"], most=100_000).out) == 100_000


def test_past_its_time_what_it_prints_meanwhile_is_bounded_too() -> None:
    with pytest.raises(CommandFailed) as caught:
        Local().run(["sh", "-c", "(setsid sh -c 'sleep 0.8; yes' &); sleep 20"], timeout=0.3,
                    most=100_000)  # fmt: skip
    assert caught.value.code is None
    assert len(caught.value.output) <= 100_000


def test_one_that_reads_no_input_or_not_all_of_it_is_fine() -> None:
    text = "x" * (1 << 20)
    assert Local().run(["true"], stdin=text).code == 0
    assert Local().run(["head", "-c", "1"], stdin=text).out == "x"
    assert Local().run(["cat"], stdin=b"").out == ""
    with pytest.raises(CommandFailed) as caught:
        Local().run(["sleep", "20"], stdin=text, timeout=0.3)
    assert caught.value.code is None


def test_a_signal_is_a_negative_code() -> None:
    assert Local().run(["sh", "-c", "kill -9 $$"], check=False).code == -9


def test_standard_input_is_empty_unless_given() -> None:
    assert Local().run(["cat"], timeout=5).out == ""
    assert Local().run(["cat"], stdin="tëxt").out == "tëxt"
    assert Local().run(["wc", "-c"], stdin=b"\xff\x00").out.strip() == "2"


def test_output_that_is_no_text_does_not_break_it() -> None:
    assert Local().run(["printf", r"a\377b"]).out == "a\ufffdb"


def test_environment_is_added_to_the_inherited_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CORPUS_TEST_HERE", "1")
    out = Local().run(["env"], env={"CORPUS_TEST_MORE": "2"}).out.splitlines()
    assert {"CORPUS_TEST_HERE=1", "CORPUS_TEST_MORE=2"} <= set(out)


def test_working_directory(tmp_path: Path) -> None:
    assert Local().run(["pwd"], cwd=tmp_path).out.strip() == str(tmp_path)


@AS_ROOT
def test_another_account_has_its_own_ids_groups_and_home() -> None:
    user = "nobody"
    account = pwd.getpwnam(user)
    shown = Local().run(["sh", "-c", 'id -u; id -G; echo "$HOME $USER"'], user=user, cwd=Path("/"))
    uid, groups, names = shown.out.splitlines()
    assert int(uid) == account.pw_uid
    assert set(map(int, groups.split())) == set(os.getgrouplist(user, account.pw_gid))
    assert names == f"{account.pw_dir} {user}"


@AS_ROOT
def test_another_account_cannot_read_what_is_root_s(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("x")
    secret.chmod(0o600)
    assert Local().run(["cat", str(secret)], user="nobody", cwd=Path("/"), check=False).code != 0


def test_put_and_get(tmp_path: Path) -> None:
    path = tmp_path / "new" / "file"
    Local().put(path, b"\x00data", 0o640)
    assert Local().get(path) == b"\x00data"
    assert path.stat().st_mode & 0o777 == 0o640
    with pytest.raises(NotFound):
        Local().get(tmp_path / "absent")
