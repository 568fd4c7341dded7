"""Exports and imports on a plain pool, and what hostile files are told."""

from __future__ import annotations

import hashlib
import io
import json
import os
import stat
import subprocess
import tarfile
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from corpus.commands.cgroups import Layout
from corpus.hosts import subvolumes
from corpus.hosts.members import FILE, FOLDER, HARD_LINK, Member, Unfit
from corpus.model.errors import CommandFailed, Conflict, CorpusError, InvalidInput, Unsupported
from corpus.node.context import Node
from corpus.node.environments import (
    archives,
    controls,
    exporting,
    guest,
    importing,
    lifecycle,
    making,
    removal,
)
from corpus.node.network import ports
from corpus.node.proxy import routes
from corpus.node.records import Allotment, Record, Role, Route, Share, Stage
from corpus.node.storage import copies, packing, pool
from corpus.node.storage.packing import Packed
from corpus.node.storage.plain import PlainVolumes
from unit.node import nodes

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="owners and devices are made by root")


def silent(_: int) -> None:
    pass


@pytest.fixture
def node(tmp_path: Path) -> Node:
    made, _ = nodes.make(tmp_path)
    making.create(made, id=nodes.ID, hosts=["a.example"], size="1G", wait=0)
    (guest.srv(made.settings, nodes.ID) / "file").write_text("one")
    (guest.rootfs(made.settings, nodes.ID) / "etc/corpus/release_key").write_text("mine")
    return made


@pytest.fixture
def file(node: Node, tmp_path: Path) -> Path:
    path = tmp_path / "environment.tar"
    exporting.export(node, nodes.ID, path)
    return path


# -- a volume as a stream


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


Change = Callable[[tarfile.TarInfo], None]


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
        ("./a", b"0", {"pax_headers": {"SCHILY.xattr.user.x": "x" * 200}}),
    ],
    "too many": [(f"./{n}", b"0", {}) for n in range(4)],
    "too large": [("./a", b"0", {"size": 101})],
}  # fmt: skip


@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_stream_is_refused_and_nothing_is_written_elsewhere(
    tmp_path: Path, case: str
) -> None:
    target = tmp_path / "place/target"
    target.mkdir(parents=True)
    with pytest.raises((Unfit, CommandFailed)):
        packing.unpack([stream(*HOSTILE[case])], target, Packed(3, 100, {}), silent)
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


# -- an environment


def test_it_is_the_same_one_again(node: Node, file: Path) -> None:
    lifecycle.autostart(node, nodes.ID, order=7)
    strict = Route("a.example", 8080, 5, "redirect", 3600, proxy_protocol=True)
    node.change(nodes.ID, lambda now: now.changed(routes=(strict,), maintenance=True))
    file.unlink()
    exporting.export(node, nodes.ID, file)
    before = nodes.record_json(node, nodes.ID)
    removal.destroy(node, nodes.ID)
    made = importing.import_(node, file, wait=0)
    after = nodes.record_json(node, nodes.ID)
    assert made["state"] == "running"
    assert {**after, "made": ""} == {**before, "made": ""}
    root = guest.rootfs(node.settings, nodes.ID)
    assert (root / "etc/corpus/release_key").read_text() == "mine"
    assert (guest.srv(node.settings, nodes.ID) / "file").read_text() == "one"
    assert list((node.settings.pool / "import").iterdir()) == []


def test_the_same_one_has_all_that_led_to_it(node: Node, file: Path) -> None:
    new = routes.parse_route("a.example", 8000, 5, "redirect", 3600, proxy_protocol=True)
    routes.route(node, nodes.ID, new)
    routes.maintenance(node, nodes.ID, on=True)
    ports.open_(node, nodes.ID, 5432, to=["192.0.2.0/24"])
    ports.open_(node, nodes.ID, 53, protocol="udp")
    file.unlink()
    exporting.export(node, nodes.ID, file)
    before = nodes.record_json(node, nodes.ID)
    removal.destroy(node, nodes.ID)
    making.create(node, id=nodes.OTHER, address="10.88.0.99", ssh_port=22099, wait=0)
    ports.open_(node, nodes.OTHER, 80, node_port=23000)
    told = importing.changes(node, file)
    assert "open udp port 23000 of the node, to its port 53 for 0.0.0.0/0" in told
    assert "show its maintenance page" in told
    importing.import_(node, file, wait=0)
    after = nodes.record_json(node, nodes.ID)
    assert [one["protocol"] for one in after.pop("openings")] == ["udp"]  # type: ignore[attr-defined]
    del before["openings"]
    assert {**before, "made": "", "slot": 1} == {**after, "made": ""}
    assert nodes.front(node, "maintenance.map") == f"{nodes.ID} on\n"


def test_limits_that_this_machine_cannot_hold_are_refused(
    node: Node, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    removal.destroy(node, nodes.ID)
    limited = rewritten(file, lambda m: m["record"]["limits"].update(pids=100))
    monkeypatch.setattr(controls, "layout", lambda: Layout(1, 1, 0))
    for call in (importing.import_, importing.changes):
        with pytest.raises(Unsupported, match="no control groups for pids"):
            call(node, limited)


def test_with_another_id_it_is_a_copy(node: Node, file: Path) -> None:
    made = importing.import_(node, file, id=nodes.OTHER, keys=[nodes.KEY], start=False)
    assert (made["id"], made["routes"], made["state"]) == (nodes.OTHER, [], "stopped")
    root = guest.rootfs(node.settings, nodes.OTHER)
    assert not (root / "etc/corpus/release_key").exists()
    assert json.loads((root / "etc/corpus/environment.json").read_text())["id"] == nodes.OTHER
    assert importing.import_(node, file, id="new", wait=0)["id"] not in (nodes.ID, nodes.OTHER)


def test_a_proxy_stays_a_proxy(node: Node, tmp_path: Path) -> None:
    making.create(node, id=nodes.OTHER, role="proxy", wait=0)
    file = tmp_path / "proxy.tar"
    exporting.export(node, nodes.OTHER, file)
    made = importing.import_(node, file, id="new", wait=0)
    assert node.records.get(made["id"]).role is Role.PROXY
    removal.destroy(node, nodes.OTHER)
    importing.import_(node, file, wait=0)
    assert node.records.get(nodes.OTHER).role is Role.PROXY
    with pytest.raises(InvalidInput, match="no host name leads to a proxy"):
        importing.plan(node, file, id="new", hosts=["b.example"])


def test_projects_are_accounted_as_they_were(
    node: Node, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, limits = list[tuple[str, str]](), dict[str, int]()

    class Accounted(PlainVolumes):
        kind = "quota"
        apart = True

        def join(self, group: str, within: str) -> None:
            pass

        def limit(self, group: str, size: int) -> None:
            limits[group] = size

    def create_in(folder: int, name: str, group: str) -> None:
        made.append((name, group))
        os.mkdir(name, dir_fd=folder)

    monkeypatch.setitem(pool._KINDS, "plain", Accounted)
    monkeypatch.setattr(subvolumes, "create_in", create_in)
    (guest.srv(node.settings, nodes.ID) / "projects/demo/data").mkdir(parents=True)
    node.change(nodes.ID, lambda now: now.changed(projects=(Allotment("demo", 1 << 30),)))
    exporting.export(node, nodes.ID, tmp_path / "a.tar")
    file = rewritten(
        tmp_path / "a.tar", lambda m: m["parts"][1].update(subvolumes={"projects/demo": False})
    )
    importing.import_(node, file, id=nodes.OTHER, wait=0)
    copy = node.records.get(nodes.OTHER)
    assert copy.projects == (Allotment("demo", 1 << 30),)
    assert made == [("demo", copy.project_group("demo"))]
    assert limits[copy.project_group("demo")] == 1 << 30
    for bad in ({"project": "../x"}, {"project": "demo", "size": "all"}):
        hostile = rewritten(file, lambda m, bad=bad: m["record"].update(projects=[bad]))
        with pytest.raises(InvalidInput):
            importing.plan(node, hostile, id="new")


def test_what_a_record_leaves_unsaid_is_as_in_a_new_one(node: Node, file: Path) -> None:
    bad = rewritten(file, lambda told: told["record"].update(order=None, autostart=None))
    made = importing.import_(node, bad, id=nodes.OTHER, wait=0)
    assert (made["order"], made["autostart"]) == (0, True)


def test_the_file_is_private_and_nothing_else_is_left(node: Node, file: Path) -> None:
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [path.name for path in file.parent.glob(".*")] == []
    assert not exporting.staged(node, nodes.ID).exists()
    assert [p for p in node.settings.locks.iterdir() if "export" in p.name] == []
    with tarfile.open(file) as tar:
        assert tar.getnames() == ["rootfs.tar.zst", "srv.tar.zst", "manifest.json"]


def test_what_cannot_be_exported_is_refused(node: Node, file: Path, tmp_path: Path) -> None:
    for call in (exporting.export, exporting.changes):
        with pytest.raises(Conflict, match="there is a file"):
            call(node, nodes.ID, file)
        for place in ("relative.tar", tmp_path / "absent/x.tar", tmp_path / ".."):
            with pytest.raises(InvalidInput, match="not a place"):
                call(node, nodes.ID, place)
        node.change(nodes.ID, lambda now: now.changed(shares=(Share("demo", "/x", 60514),)))
        with pytest.raises(InvalidInput, match="shares directories"):
            call(node, nodes.ID, tmp_path / "new.tar")
        node.change(nodes.ID, lambda now: now.changed(shares=()))


def test_an_export_that_fails_leaves_nothing(
    node: Node, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = copies.put_aside

    def with_a_disk(node: Node, source: Path, target: Path, record: Record) -> None:
        copy(node, source, target, record)
        os.mknod(target / "srv/disk", stat.S_IFBLK, os.makedev(7, 0))

    monkeypatch.setattr(copies, "put_aside", with_a_disk)
    before = sorted(tmp_path.iterdir())
    with pytest.raises(CorpusError, match="cannot be exported: a member of a kind"):
        exporting.export(node, nodes.ID, tmp_path / "new.tar")
    assert sorted(tmp_path.iterdir()) == before
    assert not exporting.staged(node, nodes.ID).exists()


def test_two_exports_at_once_are_one_too_many(node: Node, tmp_path: Path) -> None:
    with node.lock(f"export-{nodes.ID}"), pytest.raises(Conflict, match="busy"):
        exporting.export(node, nodes.ID, tmp_path / "new.tar")


def test_two_environments_may_go_to_one_name_and_neither_is_in_the_others_file(
    node: Node, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    making.create(node, id=nodes.OTHER, wait=0)
    file, write, inner = tmp_path / "new.tar", archives.write_manifest, list[str]()

    def slow(handle: int, record: Record, *rest: Any) -> str:
        if record.id == nodes.ID:  # meanwhile, the other one begins and ends
            inner.append(exporting.export(node, nodes.OTHER, file)["digest"])
        return write(handle, record, *rest)

    monkeypatch.setattr(archives, "write_manifest", slow)
    with pytest.raises(Conflict, match="there is a file"):
        exporting.export(node, nodes.ID, file)
    assert [archives.read(file).digest] == inner
    assert archives.read(file).record.id == nodes.OTHER
    assert [path.name for path in tmp_path.glob(".*")] == []


def test_what_a_killed_export_left_goes_at_boot(node: Node) -> None:
    left = exporting.staged(node, nodes.ID)
    left.mkdir()
    record = node.records.get(nodes.ID)
    with node.lock(f"export-{nodes.ID}"):
        exporting.tidy(node, record)
    assert left.exists()  # one is under way
    exporting.tidy(node, record)
    assert not left.exists()


def test_a_killed_import_is_made_anew(node: Node, file: Path) -> None:
    importing.import_(node, file, id=nodes.OTHER, wait=0)
    node.change(nodes.OTHER, lambda now: now.changed(stage=Stage.CREATING))
    staged = guest.staged(node.settings, nodes.OTHER)
    staged.mkdir()
    (staged / "half").write_text("x")
    assert importing.import_(node, file, id=nodes.OTHER, wait=0)["state"] == "running"
    assert not staged.exists()
    node.change(nodes.OTHER, lambda now: now.changed(stage=Stage.CREATING))
    staged.mkdir()
    removal.destroy(node, nodes.OTHER)
    assert not staged.exists()


def rewritten(file: Path, change: Callable[[dict[str, Any]], object]) -> Path:
    """Return the file with another manifest, whose digests are right."""
    found = archives.read(file)
    text = file.read_bytes()
    end = found.parts[-1].offset + found.parts[-1].length
    start = end + -end % 512
    manifest = json.loads(text[start + 512 :].rstrip(b"\0"))
    change(manifest)
    new = json.dumps(manifest).encode()
    member = archives.header(archives.MANIFEST, len(new)) + new
    bad = file.with_name("bad.tar")
    bad.write_bytes(text[:start] + member + bytes(-len(member) % 512 + 1024))
    return bad


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda m: m.update(format=2), "format"),
        (lambda m: m.pop("record"), "damaged"),
        (lambda m: m["record"].update(id="../../x"), "not an environment id"),
        (lambda m: m["record"].update(id=5), "not an environment id"),
        (lambda m: m["record"].update(platform="root"), "damaged"),
        (lambda m: m["record"].update(more=1), "damaged"),
        (lambda m: m["record"].update(routes=[{"host": "-", "port": 80, "hold": 1}]), "host name"),
        (lambda m: m["record"].update(pairs=[{"project": "/", "staging": "x"}]), "project name"),
        (lambda m: m["record"]["limits"].update(size=1), "too small"),
        (lambda m: m["record"]["limits"].update(cpu=[]), "damaged"),
        (lambda m: m["record"].update(order="first"), "not an order"),
        (lambda m: m["record"].update(role="king"), "damaged"),
        (lambda m: m["record"].update(role="proxy"), "no host name leads"),
        (
            lambda m: m["record"].update(
                openings=[{"protocol": "tcp", "port": 1, "node_port": 1, "sources": ["x"]}]
            ),
            "not an IPv4 network",
        ),
        (lambda m: m["parts"].pop(), "other parts"),
        (lambda m: m["parts"][0].update(digest="0" * 64), "not what the manifest says"),
        (lambda m: m["parts"][0].update(digest=None), "damaged"),
        (lambda m: m["parts"][0].update(length=5), "longer or shorter"),
        (lambda m: m["parts"][0].update(size=-1), "damaged"),
        (lambda m: m["parts"][1].update(files=1), "more than its manifest"),
        (lambda m: m["parts"][1].update(size=1 << 43), "free"),
        (lambda m: m.update(image="../x"), "damaged"),
        (lambda m: m.update(parts=5), "damaged"),
    ],
)
def test_a_hostile_manifest_is_refused_and_leaves_nothing(
    node: Node, file: Path, change: Callable[[dict[str, Any]], object], why: str
) -> None:
    removal.destroy(node, nodes.ID)
    bad = rewritten(file, change)
    with pytest.raises(CorpusError, match=why):
        importing.import_(node, bad, wait=0)
    assert nodes.left(node) == []
    staged = node.settings.pool / "import"
    assert not staged.exists() or list(staged.iterdir()) == []


@pytest.mark.parametrize("size", [0, 100, 512, 2000, -1100, -4000])
def test_a_file_that_was_cut_off_is_refused_at_once(node: Node, file: Path, size: int) -> None:
    whole = file.read_bytes()
    file.write_bytes(whole[: size if size >= 0 else len(whole) + size - 1024])
    with pytest.raises(InvalidInput, match=r"not an exported environment|manifest is damaged"):
        importing.changes(node, file, id="new")


def test_what_is_in_the_way_is_told(node: Node, file: Path) -> None:
    for call in (importing.import_, importing.changes):
        with pytest.raises(Conflict, match="is there"):
            call(node, file)
        with pytest.raises(InvalidInput, match="digest"):
            call(node, file, id="new", digest="0" * 64)
        with pytest.raises(Conflict, match="leads to"):
            call(node, file, id="new", hosts=["a.example"])
        with pytest.raises(InvalidInput, match="a copy of a staging"):
            call(node, file, id="new", platform="prod")
    assert importing.changes(node, file, id="new")[0].startswith("make a staging environment")


def test_only_a_copy_is_of_another_type(node: Node, tmp_path: Path) -> None:
    making.create(node, id=nodes.OTHER, platform="prod", wait=0)
    exporting.export(node, nodes.OTHER, tmp_path / "prod.tar")
    removal.destroy(node, nodes.OTHER)
    with pytest.raises(InvalidInput, match="only a copy"):
        importing.import_(node, tmp_path / "prod.tar", platform="staging", wait=0)
    made = importing.import_(node, tmp_path / "prod.tar", id="new", platform="staging", wait=0)
    assert made["platform"] == "staging"


def test_a_taken_port_is_no_hindrance(node: Node, file: Path) -> None:
    removal.destroy(node, nodes.ID)
    making.create(node, id=nodes.OTHER, wait=0)  # has address and port of the other one now
    made = importing.import_(node, file, wait=0)
    assert (made["address"], made["ssh_port"]) == ("10.88.0.11", 22002)


def test_people_are_told_how_far_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr(exporting, "_EVERY", 0.0)
    tell = exporting.progress(said.append, "srv", 10 << 20)
    tell(1 << 20)
    assert said == ["srv: 1M of 10M"]
