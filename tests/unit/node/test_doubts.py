"""Which files are compared by content, and how the other node is made to."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from corpus.hosts import kernel
from corpus.model.errors import InvalidInput
from corpus.node.environments import guest, making
from corpus.node.migration import doubts, fetching
from corpus.node.migration.doubts import Moment, Seen
from unit.node import nodes

LATER = 10.0  # seconds: a moment at which what was just made is old


def later() -> Moment:
    moment = doubts.now()
    return replace(moment, clock=moment.clock + LATER)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("one/twin", "other/twin", "set-back", "same", "replaced"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("x")
        os.utime(path, (1, 1))
    return tmp_path


def look(folder: Path, before: Seen | None) -> tuple[Seen | None, list[str] | None]:
    seen, doubted = doubts.look(folder, later(), {}, before)
    return seen, None if doubted is None else sorted(map(os.fsdecode, doubted))


def test_at_first_all_is_doubted_and_then_what_is_another_file(folder: Path) -> None:
    seen, doubted = look(folder, None)
    assert doubted is None
    assert look(folder, seen)[1] == []
    (folder / "set-back").write_text("y")
    os.utime(folder / "set-back", (1, 1))
    new = folder / "new"
    new.write_text("y")
    os.utime(new, (1, 1))
    new.rename(folder / "replaced")
    (folder / os.fsdecode(b"\xff \n")).write_text("")
    kernel.exchange(folder / "one", folder / "other")
    wanted = sorted(["one/twin", "other/twin", "set-back", "replaced", os.fsdecode(b"\xff \n")])
    again, doubted = look(folder, seen)
    assert doubted == wanted
    assert look(folder, again)[1] == []


def test_what_was_changed_as_the_pass_began_or_later_is_doubted_in_the_next(folder: Path) -> None:
    seen, _ = doubts.look(folder, doubts.now(), {}, None)
    assert seen is not None
    assert len(look(folder, seen)[1] or ()) == 5


def test_once_the_clock_was_set_nothing_is_known(folder: Path) -> None:
    seen, _ = look(folder, None)
    assert seen is not None
    moment = replace(seen.moment, ahead=seen.moment.ahead + 1)
    assert look(folder, replace(seen, moment=moment))[1] is None


def test_devices_whose_numbers_do_not_last_are_called_by_their_names(folder: Path) -> None:
    number = str(folder.stat().st_dev).encode()
    seen, _ = doubts.look(folder, later(), {number: b"volume"}, None)
    assert doubts.look(folder, later(), {number: b"volume"}, seen)[1] == []
    assert len(doubts.look(folder, later(), {}, seen)[1] or ()) == 5


def test_what_cannot_be_seen_or_is_too_much_is_all_doubted(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen, _ = look(folder, None)
    assert look(folder / "none", seen) == (None, None)
    with monkeypatch.context() as patch:
        patch.setattr(doubts, "_LONGEST", 8)
        kernel.exchange(folder / "one", folder / "other")
        again, doubted = look(folder, seen)
        assert doubted is None
        assert look(folder, again)[1] == []
    monkeypatch.setattr(doubts, "_MOST", 4)
    assert look(folder, seen) == (None, None)


def test_paths_are_told_in_portions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doubts, "_CHUNK", 20)
    paths = [b"a" * 5, b"b" * 5, b"\xff"]
    assert list(doubts.portions(paths)) == [["aaaaa", "bbbbb"], [os.fsdecode(b"\xff")]]
    assert list(doubts.portions([])) == []


def test_the_other_node_gives_them_a_time_that_is_none_of_theirs(tmp_path: Path) -> None:
    node, _ = nodes.make(tmp_path)
    making.create(node, id=nodes.ID, wait=0)
    record = node.records.get(nodes.ID)
    srv, outside = guest.srv(node.settings, record.id), tmp_path / "outside"
    outside.mkdir()
    for path in (srv / "own", outside / "file"):
        path.write_text("")
        os.utime(path, (1, 1))
    (srv / "link").symlink_to(outside / "file")
    (srv / "away").symlink_to(outside)
    told = ["own", "link", "away/file", "../srv/../../../outside/file", "none", "own/none"]
    fetching.doubt(node, record, "srv", told)
    assert (srv / "own").stat().st_mtime_ns != 10**9
    assert (outside / "file").stat().st_mtime_ns == 10**9
    with pytest.raises(InvalidInput):
        fetching.doubt(node, record, "..", ["own"])
