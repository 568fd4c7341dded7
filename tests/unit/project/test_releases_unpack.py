"""Releases: what was made comes out again."""

from __future__ import annotations

import os
from pathlib import Path

from corpus.project import releases
from projects import Scratch, ids

FACTS = {"commit": "c" * 40, "time": 1_700_000_000, "made_at": 1_700_000_009, "by": "ann"}
A, B = ids(2)


def described(folder: Path) -> dict[str, object]:
    found: dict[str, object] = {}
    for path in sorted(folder.rglob("*")):
        state = path.lstat()
        kind = (
            str(path.readlink())
            if path.is_symlink()
            else path.read_bytes()
            if path.is_file()
            else b""
        )
        found[str(path.relative_to(folder))] = (
            oct(state.st_mode),
            state.st_uid,
            state.st_gid,
            kind,
        )
    return found


def test_there_and_back(scratch: Scratch, tmp_path: Path) -> None:
    source = tmp_path / "source"
    (source / "static" / "deep").mkdir(parents=True)
    (source / "a").write_text("a")
    (source / "empty").write_text("")
    (source / "big").write_bytes(os.urandom((2 << 20) + 77))
    (source / "exact").write_bytes(os.urandom(1 << 20))
    (source / ("long" * 60)).write_text("long")
    (source / ("d" * 120)).mkdir()
    (source / ("d" * 120) / ("e" * 120)).write_text("deep")
    (source / "grüße").write_text("x")
    (source / "b").hardlink_to(source / "a")
    (source / "python").symlink_to("/usr/bin/python3")
    (source / "static/deep/up").symlink_to("../../a")
    (source / "uploads").symlink_to("../data/uploads")
    (source / "static/s.css").write_text("css")
    (source / "static/s.css").chmod(0o755)
    made = releases.make(scratch.project, A, source, FACTS, {"assets": ["static"]})
    assert [part.name for part in made.parts] == ["main", "assets"]
    verified = releases.verify(scratch.project, A)
    assert verified == made
    releases.unpack(scratch.project, verified, tmp_path / "target")
    assert described(tmp_path / "target") == described(source)
    assert (tmp_path / "target/a").stat().st_ino == (tmp_path / "target/b").stat().st_ino
    assert (tmp_path / "target/static").stat().st_mtime == FACTS["time"]
    assert releases.listed(scratch.project) == [made]
