"""Releases: the same files give the same bytes."""

from __future__ import annotations

import hashlib
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from corpus.model.manifest import Manifest
from corpus.project import releases
from projects import Scratch, ids
from releasing import FACTS

A, B = ids(2)


def tree(folder: Path, names: list[str]) -> Path:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"content of {name}\n")
        path.chmod(0o644)
    (folder / "link").symlink_to("a")
    return folder


def make(scratch: Scratch, source: Path, identity: Any = A, **parts: list[str]) -> Manifest:
    return releases.make(scratch.project, identity, source, FACTS, parts)


def digest(manifest: Manifest) -> str:
    return manifest.parts[0].sha256


def test_the_same_files_the_same_digest(scratch: Scratch, tmp_path: Path) -> None:
    names = ["a", "b/c", "b/d", "z"]
    one = make(scratch, tree(tmp_path / "one", names))
    other = tree(tmp_path / "other", list(reversed(names)))
    for path in other.rglob("*"):  # made at another time, read meanwhile
        os.utime(path, (1_800_000_000, 1_900_000_000), follow_symlinks=False)
    two = make(scratch, other, B)
    assert digest(one) == digest(two)
    assert one.parts[0].archive != two.parts[0].archive


def test_the_order_is_not_the_directorys(scratch: Scratch, tmp_path: Path) -> None:
    """Names hash differently on every filesystem, so its own order is no order."""
    make(scratch, tree(tmp_path / "one", [f"{n:02}" for n in range(40)]))
    listed = subprocess.run(
        ["tar", "--list", "--zstd", "-f", str(scratch.paths.release(A))],
        capture_output=True, text=True, check=True,
    ).stdout.splitlines()  # fmt: skip
    assert len(listed) == 42
    assert listed == sorted(listed)


@pytest.mark.parametrize("change", ["content", "mode", "name"])
def test_other_files_another_digest(scratch: Scratch, tmp_path: Path, change: str) -> None:
    source = tree(tmp_path / "one", ["a", "b"])
    before = digest(make(scratch, source))
    if change == "content":
        (source / "a").write_text("other\n")
    elif change == "mode":
        (source / "a").chmod(0o755)
    else:
        (source / "a").rename(source / "aa")
    assert digest(make(scratch, source, B)) != before


def test_the_manifest_tells_the_truth(scratch: Scratch, tmp_path: Path) -> None:
    manifest = make(scratch, tree(tmp_path / "one", ["a", "b/c"]))
    archive = scratch.paths.release(A)
    (part,) = manifest.parts
    assert scratch.paths.manifest(A).read_bytes() == manifest.to_bytes()
    assert part.sha256 == hashlib.sha256(archive.read_bytes()).hexdigest()
    assert part.archive_size == archive.stat().st_size
    assert part.archive == f"demo-{A}.tar.zst"
    assert manifest.files == 5  # two files, the link, two directories
    assert manifest.size == len("content of a\n") + len("content of b/c\n")
    assert (manifest.project, manifest.commit) == ("demo", "c" * 40)
    listed = subprocess.run(
        ["tar", "--list", "--zstd", "-f", str(archive)], capture_output=True, text=True, check=True
    ).stdout
    assert "./b/c" in listed.splitlines()


def test_a_release_half_made_is_none(scratch: Scratch, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        make(scratch, tmp_path / "absent")
    assert not scratch.paths.release(A).exists()
    assert not scratch.paths.manifest(A).exists()
    releases.remove(scratch.project, A)
    assert not scratch.paths.releases.exists() or not list(scratch.paths.releases.iterdir())


def test_remove(scratch: Scratch, tmp_path: Path) -> None:
    make(scratch, tree(tmp_path / "one", ["a"]))
    make(scratch, tmp_path / "one", B)
    releases.remove(scratch.project, A)
    releases.remove(scratch.project, A)
    assert sorted(p.name for p in scratch.paths.releases.iterdir()) == [
        f"demo-{B}.manifest.json",
        f"demo-{B}.manifest.json.sig",
        f"demo-{B}.tar.zst",
    ]
