"""A volume as a stream: all that files have comes out again, and a hostile one leads nowhere."""

from __future__ import annotations

import hashlib
import io
import os
import stat
import subprocess
import tarfile
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from corpus.hosts.members import FILE, FOLDER, HARD_LINK, Member, Unfit
from corpus.model.errors import CommandFailed
from corpus.node.storage import packing
from corpus.node.storage.packing import Packed

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="owners and devices are made by root")


def silent(_: int) -> None:
    pass


def full(folder: Path) -> Path:
    """Make a directory with everything that a file can be."""
    folder.mkdir()
    (folder / "sub").mkdir(mode=0o2750)
    (folder / "sub/empty").mkdir()
    (folder / "a").write_bytes(os.urandom(3000))
    os.link(folder / "a", folder / "sub/b")
    (folder / "su").write_text("x")
    (folder / "su").chmod(0o4755)
    os.chown(folder / "su", 33, 44)
    (folder / "link").symlink_to("/etc/passwd")
    os.link(folder / "link", folder / "link2", follow_symlinks=False)
    os.mkfifo(folder / "fifo")
    os.mknod(folder / "gone", stat.S_IFCHR, os.makedev(0, 0))
    with (folder / "sparse").open("wb") as sparse:
        for offset in (1 << 20, 9 << 20, 40 << 20):
            sparse.seek(offset)
            sparse.write(b"x" * 5000)
        sparse.truncate(64 << 20)
    with (folder / "all-holes").open("wb") as sparse:
        sparse.truncate(64 << 20)
    long = folder / ("n" * 200) / ("m" * 200)
    long.mkdir(parents=True)
    (long / os.fsdecode(b"\xff\n odd")).write_text("odd")
    os.setxattr(folder / "a", "trusted.note%=", b"\x00=\n")
    os.setxattr(folder / "sub", "security.capability", (b"\x01\x00\x00\x02" + bytes(16)))
    os.utime(folder / "a", ns=(1, 1234567890123456789))
    os.utime(folder / "sub", ns=(1, -1500000001))
    return folder


def told(folder: Path) -> dict[str, Any]:
    found = {}
    for path in [folder, *folder.rglob("*")]:
        s = path.lstat()
        text = b""
        if stat.S_ISREG(s.st_mode):
            with path.open("rb") as file:
                text = hashlib.file_digest(file, "sha256").digest()
        if stat.S_ISLNK(s.st_mode):
            text = os.fsencode(path.readlink())
        names = os.listxattr(path, follow_symlinks=False)
        found[str(path.relative_to(folder))] = (
            s.st_mode, s.st_uid, s.st_gid, s.st_mtime_ns, s.st_rdev, s.st_size, text,
            0 if path.is_dir() else s.st_nlink,
            {name: os.getxattr(path, name, follow_symlinks=False) for name in names},
        )  # fmt: skip
    return found


def packed(folder: Path, stream: Path) -> Packed:
    handle = os.open(stream, os.O_RDWR | os.O_CREAT | os.O_TRUNC)
    try:
        return packing.pack(folder, handle, silent)
    finally:
        os.close(handle)


def test_all_that_files_have_goes_there_and_back(tmp_path: Path) -> None:
    source, stream, target = full(tmp_path / "source"), tmp_path / "stream", tmp_path / "target"
    what = packed(source, stream)
    assert stream.stat().st_size < 100_000  # holes are not written
    target.mkdir()
    found = packing.unpack([stream.read_bytes()], target, what, silent)
    assert found == hashlib.sha256(stream.read_bytes()).hexdigest()
    assert told(target) == told(source)
    assert (target / "sparse").lstat().st_blocks * 512 < 1 << 20


def stream(*entries: tuple[str, bytes, dict[str, Any]], pax: bool = True) -> bytes:
    """A packed volume whose members are the root directory and ``entries``."""
    raw = io.BytesIO()
    form = tarfile.PAX_FORMAT if pax else tarfile.GNU_FORMAT
    with tarfile.open(fileobj=raw, mode="w", format=form) as tar:
        for name, kind, values in [("./", b"5", {}), *entries]:
            member = tarfile.TarInfo(name)
            member.type, member.mode = kind, 0o755
            for key, value in values.items():
                setattr(member, key, value)
            tar.addfile(member, io.BytesIO(b"x" * member.size))
    return subprocess.run(
        ["zstd", "--quiet"], input=raw.getvalue(), capture_output=True, check=True
    ).stdout


HOSTILE: dict[str, list[tuple[str, bytes, dict[str, Any]]]] = {
    "upwards": [("./../out", b"0", {})],
    "upwards within": [("./a", b"5", {}), ("./a/../../out", b"0", {})],
    "absolute": [("/tmp/out", b"0", {})],
    "through a link": [("./a", b"2", {"linkname": "/tmp"}), ("./a/out", b"0", {})],
    "over a link": [("./a", b"2", {"linkname": "/tmp/out"}), ("./a", b"0", {"size": 1})],
    "a directory over a link": [("./a", b"2", {"linkname": "/tmp"}), ("./a", b"5", {})],
    "hard link outside": [("./a", b"1", {"linkname": "/etc/passwd"})],
    "hard link upwards": [("./a", b"1", {"linkname": "./../../etc/passwd"})],
    "block device": [("./a", b"4", {"devmajor": 8})],
    "character device": [("./a", b"3", {"devmajor": 1, "devminor": 3})],
    "a foreign owner": [("./a", b"0", {"uid": 1_000_000})],
    "no directory": [("./a/b", b"0", {})],
    "an unknown record": [("./a", b"0", {"pax_headers": {"comment": "x"}})],
    "a foreign attribute": [("./a", b"0", {"pax_headers": {"SCHILY.xattr.security.ima": "x"}})],
    "a bad time": [("./a", b"0", {"pax_headers": {"mtime": "now"}})],
    "a bad sparse map": [
        ("./a", b"0", {"size": 512, "pax_headers": {
            "GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.name": "./a",
            "GNU.sparse.realsize": "9"}}),
    ],
    "attributes that nobody counted": [
        ("./a", b"0", {"pax_headers": {"SCHILY.xattr.user.x": "x" * 700}}),
    ],
    "too many": [(f"./{n}", b"0", {}) for n in range(4)],
    "too large": [("./a", b"0", {"size": 601})],
}  # fmt: skip
WHY = {
    "upwards": "leads out", "upwards within": "leads out", "absolute": "begin with ./",
    "through a link": "not in a directory", "over a link": "twice",
    "a directory over a link": "twice", "hard link outside": "leads out",
    "hard link upwards": "leads out", "block device": "of a kind", "character device": "a device",
    "a foreign owner": "owner", "no directory": "not in a directory",
    "an unknown record": "header", "a foreign attribute": "header", "a bad time": "time",
    "a bad sparse map": "map", "attributes that nobody counted": "holds more",
    "too many": "holds more", "too large": "holds more",
}  # fmt: skip


@pytest.mark.parametrize(("case", "why"), WHY.items())
def test_a_hostile_stream_is_refused_and_nothing_is_written_elsewhere(
    tmp_path: Path, case: str, why: str
) -> None:
    target = tmp_path / "place/target"
    target.mkdir(parents=True)
    with pytest.raises(Unfit, match=why):
        packing.unpack([stream(*HOSTILE[case])], target, Packed(3, 600, {}), silent)
    assert [path.name for path in target.parent.iterdir()] == ["target"]
    assert not Path("/tmp/out").exists()


def test_what_is_remembered_of_members_does_not_grow_with_their_number(tmp_path: Path) -> None:
    """The kernel holds what was made: so may millions come, of which each is checked."""
    (tmp_path / "target").mkdir()
    tree = packing.Volume(tmp_path / "target", {})
    tree.begin(Packed(10**6, 0, {}))

    def fill(first: int, last: int) -> None:
        for number in range(first, last):
            folder = b"folder-of-a-long-name-%09d" % (number // 20)
            if number % 20 == 0:
                tree.add(member(folder, FOLDER), io.BytesIO())
            tree.add(member(folder + b"/a-file-of-a-long-name-%09d" % number), io.BytesIO())
        tree.add(member(b"link-%09d" % last, HARD_LINK, folder + b"/" + name), io.BytesIO())

    def member(path: bytes, kind: bytes = FILE, target: bytes = b"") -> Member:
        return Member(path, kind, target, 0o755, 0, 0, b"", b"", 0, 1)

    name = b"a-file-of-a-long-name-%09d" % 199
    fill(0, 200)
    tracemalloc.start()
    try:
        name = b"a-file-of-a-long-name-%09d" % 3999
        fill(200, 4000)
        grown = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert grown < 20_000
    tree.finish()
    assert len(list((tmp_path / "target").glob("*/*"))) == 4000
    assert (tmp_path / "target/link-000004000").stat().st_nlink == 2
    assert {path.stat().st_mtime for path in (tmp_path / "target").glob("f*")} == {1.0}


def test_a_directory_is_filled_at_a_stretch(tmp_path: Path) -> None:
    """As tar(1) does it: what is left has its own permissions and times from then on."""
    (tmp_path / "target").mkdir()
    back = [("./a", b"5", {}), ("./b", b"5", {}), ("./a/c", b"0", {})]
    with pytest.raises(Unfit, match="not in a directory"):
        packing.unpack([stream(*back)], tmp_path / "target", Packed(4, 0, {}), silent)


@pytest.mark.parametrize(
    ("told", "why"), [("99999999999", "more parts"), ("1\n9999999999999999999", "is wrong")]
)
def test_a_map_of_a_sparse_file_is_bounded(told: str, why: str) -> None:
    text = f"{told}\n".encode().ljust(512, b"\0")
    with pytest.raises(Unfit, match=why):
        packing._map(io.BytesIO(text), 1 << 40)


@pytest.mark.parametrize("cut", [10, 200])
def test_a_stream_that_ends_early_is_refused(tmp_path: Path, cut: int) -> None:
    (tmp_path / "target").mkdir()
    data = stream(("./a", b"0", {"size": 5}))
    with pytest.raises((Unfit, CommandFailed)):
        packing.unpack([data[:-cut]], tmp_path / "target", Packed(2, 5, {}), silent)


def test_it_must_hold_as_much_as_it_says(tmp_path: Path) -> None:
    (tmp_path / "target").mkdir()
    with pytest.raises(Unfit, match="holds less"):
        packing.unpack([stream()], tmp_path / "target", Packed(2, 0, {}), silent)
