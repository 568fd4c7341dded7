"""Releases: an archive that a trusted key signed may still be an attack."""

from __future__ import annotations

import os
import tarfile
from pathlib import Path
from typing import Any

import pytest

from corpus.model.errors import ReleaseRefused
from corpus.project import releases, trees
from corpus.project.place import Project
from projects import place_at
from releasing import FACTS, A, member, put, tar, zstd

DIR, LINK, HARD = tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE
ROOT = member("./", DIR)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """Return a project that has a directory, and no more."""
    made = Project.at(place_at(tmp_path), "demo")
    made.paths.root.mkdir(parents=True)
    return made


def refuse(project: Project, archive: bytes, why: str, size: int = 1000, files: int = 50) -> None:
    """Expect that a release is refused when it is unpacked, and leaves nothing."""
    outside = sorted(str(path) for path in project.place.prefix.parent.rglob("*"))
    manifest = put(project, archive, size, files)
    target = project.paths.root / "target"
    with pytest.raises(ReleaseRefused, match=why):
        releases.unpack(project, manifest, target)
    assert not target.exists()
    left = {str(path) for path in project.place.prefix.parent.rglob("*")} - set(outside)
    assert all("/releases" in path or "/etc" in path for path in left), left


@pytest.mark.parametrize(
    "name",
    ["../up", "./../up", "./a/../../up", "/etc/x", "./", "./a//b", "./.", "././a", "a", "./a/./b",
     "./tab\tbed", "./new\nline", "./bell\x07", "./del\x7f", "./" + "n" * 256,
     "./" + "/".join("d" for _ in range(101))],
)  # fmt: skip
def test_names(project: Project, name: str) -> None:
    refuse(project, zstd(tar(ROOT, (member(name), b"x"))), "refused")


@pytest.mark.parametrize(
    "target",
    ["/etc/passwd", "/", "..", "../..", "../../../etc", "/usr/bin/python3/../sh", "/usr/bin/bash",
     "/usr/bin/python3x", "data/../../../x", "a/..", "./../..", "", "../datax", "../run2/x",
     "../git/project.git", "../../other/run", "x\ny"],
)  # fmt: skip
def test_links(project: Project, target: str) -> None:
    refuse(project, zstd(tar(ROOT, member("./a", LINK, linkname=target))), "link")


def test_links_into_other_projects(project: Project) -> None:
    root = project.paths.root
    for target in (root, root / ".corpus", f"{root}-two/run", f"{root}/run/../.corpus"):
        refuse(project, zstd(tar(ROOT, member("./a", LINK, linkname=str(target)))), "link")


def test_links_that_stay(project: Project, tmp_path: Path) -> None:
    good = [
        "b", "./b", "deep/er", "../data/uploads", "../data", "../run/b", ".",
        str(project.paths.run / "x"), str(project.paths.data),
        "/usr/bin/python3", "/usr/bin/python3.11",
    ]  # fmt: skip
    links = [member(f"./{n}", LINK, linkname=target) for n, target in enumerate(good)]
    manifest = put(project, zstd(tar(ROOT, *links)), 0, len(good) + 1)
    releases.unpack(project, manifest, tmp_path / "target")
    found = [os.readlink(tmp_path / f"target/{n}") for n in range(len(good))]  # noqa: PTH115
    assert found == good


def test_through_a_link(project: Project) -> None:
    link = member("./a", LINK, linkname="../data")
    project.paths.data.mkdir(parents=True, exist_ok=True)
    refuse(project, zstd(tar(ROOT, link, (member("./a/x"), b"x"))), "not in a directory")
    assert not (project.paths.data / "x").exists()


def test_a_link_and_then_the_directory_of_that_name(project: Project) -> None:
    link = member("./a", LINK, linkname="../data")
    refuse(project, zstd(tar(ROOT, link, member("./a", DIR), (member("./a/x"), b"x"))), "twice")


def test_a_directory_that_a_file_replaces(project: Project) -> None:
    refuse(project, zstd(tar(ROOT, (member("./a"), b"x"), (member("./a"), b"y"))), "twice")
    refuse(project, zstd(tar(ROOT, member("./a", DIR), (member("./a"), b"y"))), "twice")


@pytest.mark.parametrize("target", ["/etc/passwd", "../../x", "./link", "./absent", "./folder", ""])
def test_hard_links(project: Project, target: str) -> None:
    first = [ROOT, member("./link", LINK, linkname="../data/x"), member("./folder", DIR)]
    refuse(project, zstd(tar(*first, member("./b", HARD, linkname=target))), "hard link")


@pytest.mark.parametrize(
    "kind",
    [tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE, tarfile.CONTTYPE, tarfile.GNUTYPE_SPARSE,
     tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK, tarfile.XGLTYPE, b"V", b"M", b"D", b"s"],
)  # fmt: skip
def test_kinds(project: Project, kind: bytes) -> None:
    refuse(project, zstd(tar(ROOT, member("./a", kind, devmajor=8))), "refused")


@pytest.mark.parametrize("mode", [0o4755, 0o2755, 0o6711])
def test_lent_rights(project: Project, mode: int) -> None:
    refuse(project, zstd(tar(ROOT, (member("./a", mode=mode), b"x"))), "setuid")


def test_a_setuid_directory(project: Project) -> None:
    refuse(project, zstd(tar(ROOT, member("./a", DIR, mode=0o4755))), "setuid")


@pytest.mark.parametrize(
    "headers",
    [{"GNU.sparse.size": "9999999"}, {"SCHILY.xattr.security.capability": "x"}, {"charset": "x"},
     {"SCHILY.acl.access": "user::rwx"}, {"GNU.sparse.name": "../x"}, {"path": "../up"},
     {"path": "/etc/x"}, {"linkpath": "x"} | {"mtime": "1.5"}, {"size": "-1"}, {"size": "x"}],
)  # fmt: skip
def test_extended_headers(project: Project, headers: dict[str, str]) -> None:
    given = member("./a", pax_headers=headers)
    refuse(project, zstd(tar(ROOT, (given, b"x"))), "refused")


@pytest.mark.parametrize(
    "what", ["gnu", "checksum", "nothing", "half", "no end", "more", "base256"]
)
def test_forms(project: Project, what: str) -> None:
    plain = tar(ROOT, (member("./a"), b"x" * 600))
    changed = {
        "gnu": tar(ROOT, (member("./a"), b"x"), format=tarfile.GNU_FORMAT),
        "checksum": plain[:600] + b"!" + plain[601:],
        "nothing": b"",
        "half": plain[:1300],
        "no end": plain[: 512 * 4],
        "more": plain + tar(ROOT),
        "base256": tar(ROOT, (member("./a", uid=1 << 40), b"x"), format=tarfile.GNU_FORMAT),
    }[what]
    refuse(project, zstd(changed), "refused")


def test_what_is_not_compressed(project: Project) -> None:
    refuse(project, tar(ROOT), "refused")
    refuse(project, zstd(tar(ROOT))[:-3], "refused")
    refuse(project, zstd(tar(ROOT)) + b"more", "refused")


def test_more_bytes_than_told(project: Project) -> None:
    refuse(project, zstd(tar(ROOT, (member("./a"), b"x" * 500_000))), "more", size=499_999)


def test_fewer_than_told(project: Project) -> None:
    refuse(project, zstd(tar(ROOT, (member("./a"), b"x" * 500))), "less", size=501, files=2)
    refuse(project, zstd(tar(ROOT, (member("./a"), b"x" * 500))), "less", size=500, files=3)


def test_more_members_than_told(project: Project) -> None:
    many = [member(f"./{n}", DIR) for n in range(60)]
    refuse(project, zstd(tar(ROOT, *many)), "more", files=50)


def test_a_bomb_behind_the_end(project: Project) -> None:
    refuse(project, zstd(tar(ROOT) + bytes(64 << 20)), "follows the end")


def test_a_bomb_that_is_told(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is written when the manifest alone says that there is no room."""
    written: list[Any] = []
    monkeypatch.setattr(trees, "make", written.append)
    refuse(project, zstd(tar(ROOT)), "are free", size=1 << 44)
    assert written == []


def test_a_disk_that_gets_full(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_handle: int, _data: bytes) -> int:
        raise OSError(28, "No space left on device")

    archive = zstd(tar(ROOT, (member("./a"), b"x")))
    manifest = put(project, archive, 1, 2)
    monkeypatch.setattr("corpus.hosts.extracting.write_all", full)
    with pytest.raises(ReleaseRefused, match="No space left"):
        releases.unpack(project, manifest, project.paths.root / "target")
    assert not (project.paths.root / "target").exists()


def test_another_archive_after_it_was_verified(project: Project) -> None:
    archive = zstd(tar(ROOT, (member("./a"), b"x")))
    manifest = put(project, archive, 1, 2)
    other = zstd(tar(ROOT, (member("./a"), b"y")))
    project.paths.release(A).write_bytes(other)
    assert len(other) == len(archive)
    with pytest.raises(ReleaseRefused, match="damaged"):
        releases.unpack(project, manifest, project.paths.root / "target")
    assert not (project.paths.root / "target").exists()


def test_owners(project: Project) -> None:
    if os.geteuid() != 0:
        pytest.skip("owners: needs root")
    archive = zstd(tar(ROOT, (member("./a", uid=3_000_000_000, gid=0), b"x")))
    refuse(project, archive, "owner", size=1, files=2)
    archive = zstd(tar(ROOT, (member("./a", uid=4321, gid=1234, uname="root"), b"x")))
    manifest = put(project, archive, 1, 2)
    releases.unpack(project, manifest, project.paths.root / "target")
    state = (project.paths.root / "target/a").stat()
    assert (state.st_uid, state.st_gid) == (4321, 1234)


@pytest.mark.parametrize("what", ["fifo", "setuid", "link", "control"])
def test_what_production_would_refuse_is_not_made(project: Project, what: str) -> None:
    source = project.paths.root / "source"
    source.mkdir()
    (source / "a").write_text("a")
    if what == "fifo":
        os.mkfifo(source / "pipe")
    elif what == "setuid":
        (source / "a").chmod(0o4755)
    elif what == "link":
        (source / "b").symlink_to("/etc/passwd")
    else:
        (source / "new\nline").write_text("x")
    with pytest.raises(ReleaseRefused, match="no release can be made"):
        releases.make(project, A, source, FACTS, {})
    assert not project.paths.release(A).exists()
