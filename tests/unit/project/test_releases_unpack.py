"""Releases: what was made comes out again."""

from __future__ import annotations

import grp
import os
import pwd
from pathlib import Path
from types import SimpleNamespace

import pytest

from corpus.project import releases
from corpus.project.place import Project
from projects import Scratch, ids
from releasing import FACTS

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


def test_owners(scratch: Scratch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Numbers stay, also large ones; the application's own account is found by its name."""
    if os.geteuid() != 0:
        pytest.skip("owners: needs root")
    source = tmp_path / "source"
    source.mkdir()
    for name, owner in (("mine", 1), ("root", 0), ("large", 3_000_000), ("more", 4321)):
        (source / name).write_text(name)
        os.chown(source / name, owner, owner)
    (source / "link").symlink_to("mine")
    os.chown(source / "link", 1, 1, follow_symlinks=False)
    made = releases.make(scratch.project, A, source, FACTS, {})
    # Of the same name, and of another number than where the release was made.
    monkeypatch.setattr(Project, "application", "daemon")
    monkeypatch.setattr(pwd, "getpwnam", lambda name: SimpleNamespace(pw_uid=len(name) + 500))
    monkeypatch.setattr(grp, "getgrnam", lambda name: SimpleNamespace(gr_gid=len(name) + 600))
    releases.unpack(scratch.project, made, tmp_path / "target")
    found = {path.name: (path.lstat().st_uid, path.lstat().st_gid)
             for path in (tmp_path / "target").iterdir()}  # fmt: skip
    assert found == {"mine": (506, 606), "root": (0, 0), "large": (3_000_000, 3_000_000),
                     "more": (4321, 4321), "link": (506, 606)}  # fmt: skip


def test_it_is_readable_for_who_serves_it(scratch: Scratch, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    if os.geteuid() == 0:
        os.chown(scratch.paths.releases, 0, 4321)
    releases.make(scratch.project, A, source, FACTS, {"empty": ["nothing"]})
    releases.offer(scratch.project, A, offered=True)
    files = list(scratch.paths.releases.iterdir())
    assert len(files) == 4
    for path in files:
        assert path.stat().st_mode & 0o777 == 0o640
        assert path.stat().st_gid == scratch.paths.releases.stat().st_gid


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
