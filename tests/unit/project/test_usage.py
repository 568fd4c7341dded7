"""What uses the disk, and what would be free."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from corpus.hosts.extents import Extents
from corpus.model.deployment import Outcome
from corpus.project import survey, usage
from corpus.project.ledger import Ledger
from corpus.project.survey import ELSEWHERE, Holding, Survey, _count, _Piece
from projects import Scratch, entry, ids

MEGA = 1 << 20


def write(path: Path, size: int = MEGA) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(os.urandom(size))
    return path


def surveyed(**folders: Path) -> dict[frozenset[str], int]:
    found = Survey()
    os.sync()
    for holder, path in folders.items():
        found.add(holder, path, Holding())
    return found.shared()


@pytest.mark.parametrize("told", [True, False])
def test_a_report(scratch: Scratch, monkeypatch: pytest.MonkeyPatch, told: bool) -> None:
    if not told:
        monkeypatch.setattr(Extents, "of", lambda _self, _path: None)
    paths, (old, live) = scratch.paths, ids(2)
    for identity in (old, live):
        Ledger(paths.ledger).append(entry(identity, Outcome.LIVE))
        write(paths.archive(identity).data / "db")
        write(paths.deployment(identity) / "app" / "code")
    write(paths.release(live))
    write(paths.data / "db", 2 * MEGA)
    (paths.archive(live).run / "app").mkdir(parents=True)
    os.link(paths.deployment(old) / "app/code", paths.archive(live).run / "app/code")
    (paths.data / "link").symlink_to("db")
    os.mkfifo(paths.data / "fifo")
    write(paths.archives / "mine" / "file")
    paths.current.symlink_to(str(live))
    found = usage.report(scratch.project)
    assert json.dumps(found)
    assert found["told_by"] == ("extents" if told else "files")
    assert found["parts"]["data"]["size"] == pytest.approx(2 * MEGA, abs=10)
    assert (found["parts"]["data"]["files"], found["parts"]["data"]["freed"]) == (3, 2 * MEGA)
    assert found["parts"]["archives"] == {"size": MEGA, "files": 1, "freed": MEGA}
    assert found["parts"]["records"]["freed"] >= 4 * MEGA  # the reserve
    first, second = found["deployments"]
    assert (first["id"], first["live"], first["outcome"]) == (str(old), False, "live")
    assert first["parts"] == {"data": MEGA, "deploy": MEGA}
    assert first["freed"] == MEGA
    assert second["live"]
    assert second["parts"] == {"data": MEGA, "run": MEGA, "deploy": MEGA, "releases": MEGA}
    assert second["freed"] == 3 * MEGA
    assert found["kept"] == 5 * MEGA  # the code that both have goes with the last of them
    assert found["on_disk"] >= 12 * MEGA


def test_a_deployment_that_went_gives_its_share_to_the_others(scratch: Scratch) -> None:
    one, two = (str(identity) for identity in ids(2))
    shared = write(scratch.paths.archives / one / "run" / "x")
    (scratch.paths.archives / two / "run").mkdir(parents=True)
    os.link(shared, scratch.paths.archives / two / "run" / "x")
    found = usage.measure(scratch.project)
    assert (found.freed([one]), found.freed([two]), found.freed([one, two])) == (0, 0, MEGA)
    assert found.without(one).freed([two]) == MEGA
    assert one not in found.without(one).parts


def test_what_is_linked_elsewhere_is_not_free(tmp_path: Path) -> None:
    inside = write(tmp_path / "in" / "x")
    (tmp_path / "out").mkdir()
    os.link(inside, tmp_path / "out" / "x")
    assert surveyed(a=tmp_path / "in") == {frozenset({"a", ELSEWHERE}): MEGA}
    both = surveyed(a=tmp_path / "in", b=tmp_path / "out")
    assert both == {frozenset({"a", "b"}): MEGA}


def test_a_file_that_goes_meanwhile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "in" / "x")
    monkeypatch.setattr(survey, "_files", lambda _path: iter([str(tmp_path / "gone")]))
    assert surveyed(a=tmp_path / "in") == {}


def test_a_sparse_file_has_only_what_was_written(tmp_path: Path) -> None:
    path = tmp_path / "in" / "x"
    write(path)
    with path.open("r+b") as file:
        file.truncate(1 << 30)
    assert surveyed(a=tmp_path / "in") == {frozenset({"a"}): MEGA}


def test_a_file_of_many_extents(tmp_path: Path) -> None:
    path = tmp_path / "in" / "x"
    path.parent.mkdir()
    with path.open("wb") as file:
        for number in range(300):
            file.seek(number * 3 * 4096)
            file.write(os.urandom(4096))
            file.flush()
    assert surveyed(a=tmp_path / "in") == {frozenset({"a"}): 300 * 4096}


def test_pieces_that_overlap() -> None:
    """One file has an extent whole; another overwrote its middle and has both ends of it."""
    a, b, c = 2, 4, 8
    pieces = [
        (0, 100, _Piece(a, 1, True)),
        (0, 40, _Piece(b, 1, True)),
        (60, 100, _Piece(b | c, 2, True)),
    ]
    found: survey.Counter[int] = survey.Counter()
    _count(pieces, found)
    assert found == {a | b: 40, a: 20, a | b | c: 40}


def test_a_piece_that_somebody_else_shares() -> None:
    found: survey.Counter[int] = survey.Counter()
    _count([(0, 10, _Piece(2, 1, True))], found)
    _count([(20, 30, _Piece(2, 2, True))], found)
    assert found == {3: 10, 2: 10}


def test_a_directory_that_goes_meanwhile(scratch: Scratch, monkeypatch: pytest.MonkeyPatch) -> None:
    """A deployment is under way, and has renamed what it copied."""
    gone = ("build", "run", scratch.paths.build / "run-x.partial")
    found = [*usage._parts(scratch.project), gone]
    monkeypatch.setattr(usage, "_parts", lambda _project: found)
    assert "run" not in usage.measure(scratch.project).parts.get("build", {})
