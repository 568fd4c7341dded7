"""The log: for the file and for who listens, without secrets, whatever happens to either."""

from __future__ import annotations

from pathlib import Path

from corpus.project.log import Log


def test_titles_lines_and_alarms(tmp_path: Path) -> None:
    heard: list[str] = []
    log = Log(tmp_path / "logs" / "x.log", heard.append)
    log.title("build")
    log.line("one\ntwo")
    log.line("")
    log.alarm("it failed\nbadly")
    log.close()
    assert heard == [
        "-----> build",
        "       one",
        "       two",
        "       ",
        " !     it failed",
        " !     badly",
    ]
    assert (tmp_path / "logs" / "x.log").read_text().splitlines() == heard
    assert (tmp_path / "logs" / "x.log").stat().st_mode & 0o777 == 0o600


def test_secrets_are_masked_in_both(tmp_path: Path) -> None:
    heard: list[str] = []
    log = Log(tmp_path / "x.log", heard.append)
    log.secrets = ["hunter22", "abc"]
    log.line("password=hunter22 abc")
    log.alarm("hunter22")
    log.close()
    assert heard == ["       password=******** abc", " !     ********"]
    assert "hunter22" not in (tmp_path / "x.log").read_text()


def test_a_listener_that_went_away_is_forgotten(tmp_path: Path) -> None:
    calls = []

    def gone(line: str) -> None:
        calls.append(line)
        raise BrokenPipeError

    log = Log(tmp_path / "x.log", gone)
    log.line("one")
    log.line("two")
    log.close()
    assert len(calls) == 1
    assert (tmp_path / "x.log").read_text() == "       one\n       two\n"


def test_a_full_disk_ends_nothing() -> None:
    heard: list[str] = []
    log = Log(Path("/dev/full"), heard.append)
    log.line("one")
    log.close()
    assert heard == ["       one"]


def test_what_is_no_text_is_shown_somehow(tmp_path: Path) -> None:
    log = Log(tmp_path / "x.log")
    log.line("a\udcffb")
    log.close()
    assert (tmp_path / "x.log").read_text() == "       a?b\n"
