"""The journal: what recovery can rely on after a crash or a power cut."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corpus.project import journal
from corpus.project.journal import History, Journal

HEADER = {"id": "x", "commit": "c"}


def written(path: Path) -> Journal:
    book = Journal(path)
    book.open(HEADER)
    book.begin("checkout")
    book.facts(runtime={"ports": [80]})
    book.begin("build", durable=False)
    book.facts(runtime={"ports": [81]}, other=1)
    return book


def test_it_is_read_as_it_was_written(tmp_path: Path) -> None:
    written(tmp_path / "journal")
    history = journal.read(tmp_path / "journal")
    assert history == History(
        HEADER, ["checkout", "build"], {"runtime": {"ports": [81]}, "other": 1}
    )
    assert not history.live


def test_past_the_point_of_no_return(tmp_path: Path) -> None:
    written(tmp_path / "journal").begin("live")
    history = journal.read(tmp_path / "journal")
    assert history is not None
    assert history.live


def test_none_when_closed_or_empty(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    assert journal.read(path) is None
    written(path).close()
    assert journal.read(path) is None
    Journal(path).close()
    path.write_text("")
    assert journal.read(path) is None


def test_it_is_for_root_alone(tmp_path: Path) -> None:
    written(tmp_path / "journal")
    assert (tmp_path / "journal").stat().st_mode & 0o777 == 0o600


@settings(max_examples=40, deadline=None)
@given(cut=st.integers(min_value=0, max_value=400))
def test_a_cut_journal_tells_a_beginning_of_the_truth(
    tmp_path_factory: pytest.TempPathFactory, cut: int
) -> None:
    path = tmp_path_factory.mktemp("cut") / "journal"
    written(path)
    data = path.read_bytes()
    path.write_bytes(data[:cut])
    whole = data[: data.rfind(b"\n", 0, cut) + 1].count(b"\n")
    history = journal.read(path)
    told = 0 if history is None else 1 + len(history.begun)
    # Two lines are facts; a last line that lacks nothing but its end counts as well.
    assert whole - 2 <= told <= whole + 1
    assert history is None or history.begun == ["checkout", "build"][: len(history.begun)]


def test_what_follows_a_cut_line_is_not_lost(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    book = written(path)
    with path.open("ab") as file:
        file.write(b'{"begin": "sw')
    book.begin("live")
    book.facts(after=1)
    history = journal.read(path)
    assert history is not None
    assert history.begun == ["checkout", "build", "live"]
    assert history.facts["after"] == 1


def test_a_step_is_on_the_disk_before_it_begins(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    book = Journal(path)
    book.open(HEADER)
    for name in ("hold", "data"):
        book.begin(name)
        assert json.loads(path.read_text().splitlines()[-1]) == {"begin": name}
