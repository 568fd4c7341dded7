"""Every kind of storage on the real kernel, without guests: volumes, sizes, what a crash leaves."""

from __future__ import annotations

import errno
import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from corpus.commands import btrfs, loop
from corpus.hosts import kernel, loops, mounts, nested, quota, subvolumes
from corpus.hosts.local import Local
from corpus.model.errors import CommandFailed, Conflict, InvalidInput
from corpus.model.mode import Platform
from corpus.node.context import Node
from corpus.node.environments import lifecycle, snapshots
from corpus.node.records import Limits, Record, group_of
from corpus.node.settings import Settings
from corpus.node.storage import ground, growth, health, image, pool, templates
from corpus.node.storage.volumes import Volumes
from patience import wait_until

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="mounts")

MIB = 1 << 20


@dataclass
class Pool:
    node: Node

    @property
    def volumes(self) -> Volumes:
        return pool.volumes(self.node)

    @property
    def kind(self) -> str:
        return self.volumes.kind

    def make(self, size: int = 300 * MIB) -> Path:
        """An environment of its own: the kernel accounts to the group of one that was removed
        until it has cleaned up behind it."""
        home = self.node.settings.pool / "env" / str(uuid4())
        self.volumes.make(home, group(home), size, self.node.settings.images / "tiny")
        return home

    def remove(self, home: Path) -> None:
        self.volumes.remove(home, group(home))
        assert not home.exists()


def group(home: Path) -> str:
    return group_of(home.name)


def left(folder: Path) -> list[str]:
    """What stays mounted below a folder, and the loop devices of its files."""
    found = loop.parse_loops(Local().run(loop.list_loops()).out)
    devices = [name for name, file in found.items() if file.startswith(f"{folder}/")]
    return [*map(str, mounts.below(folder)), *devices]


def assert_nothing_left(folder: Path) -> None:
    """A container that starts at this moment has a copy of all mounts until it has its own root."""
    wait_until(lambda: left(folder) == [], told=lambda: left(folder))


@pytest.fixture(scope="module", params=["quota", "image", "plain"])
def made(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Pool]:
    folder = tmp_path_factory.mktemp(request.param)
    node = Node(Settings(prefix=folder, storage=request.param, pool_size="2G"), Local())
    node.settings.records.mkdir()
    pool.prepare(node)
    yield from _with_image(Pool(node))
    assert_nothing_left(folder)


def _with_image(made: Pool) -> Iterator[Pool]:
    root = made.node.settings.images / "tiny"
    (root.mkdir if made.kind != "quota" else lambda: subvolumes.create(root))()
    (root / "etc").mkdir()
    (root / "etc/hostname").write_text("tiny\n")
    (root / "etc/big").write_bytes(os.urandom(20 * MIB))
    yield made
    for home in (made.node.settings.pool / "env").iterdir():
        made.remove(home)
    if mounts.is_point(made.node.settings.pool):
        made.node.host.run(loop.unmount(made.node.settings.pool))


@pytest.fixture
def one(made: Pool) -> Iterator[Path]:
    home = made.make()
    yield home
    made.remove(home)
    assert list(made.node.settings.pool.glob(f"disks/*{home.name}*")) == []


def fill(path: Path) -> int:
    """Write until it is refused; return the bytes that went in."""
    size, block = 0, os.urandom(MIB)
    try:
        with path.open("wb", 0) as file:
            while size < 1024 * MIB:
                size += file.write(block)
            os.fsync(file.fileno())
    except OSError as error:
        if error.errno not in (errno.EDQUOT, errno.ENOSPC):
            raise
    return size


def test_an_environment_has_its_image_and_an_empty_volume(made: Pool, one: Path) -> None:
    assert (one / "rootfs/etc/hostname").read_text() == "tiny\n"
    assert list((one / "srv").iterdir()) == []
    if made.kind == "plain":
        assert made.volumes.used(group(one)) is None
        return
    used = made.volumes.used(group(one))
    assert used is not None
    assert (used.limit, used.used < MIB) == (300 * MIB, True)


def test_the_size_is_enforced_and_a_full_one_can_be_removed(made: Pool) -> None:
    if made.kind == "plain":
        pytest.skip("nothing enforces sizes in directories")
    home = made.make()
    subvolumes.create(home / "srv/own")
    written = fill(home / "srv/own/file")
    assert 240 * MIB < written <= 301 * MIB
    made.remove(home)


def test_it_grows_and_shrinks_while_it_is_used(made: Pool, one: Path) -> None:
    if made.kind == "plain":
        pytest.skip("nothing enforces sizes in directories")
    (one / "srv/kept").write_bytes(os.urandom(100 * MIB))  # and not yet on the disk
    with (one / "srv/open").open("wb") as held:
        for size in (600 * MIB, 400 * MIB):
            made.volumes.limit(group(one), size)
            held.write(b"x")
            found = made.volumes.used(group(one))
            assert found is not None
            assert abs((found.limit or 0) - size) <= MIB
            assert 100 * MIB <= found.used < 110 * MIB
    assert 230 * MIB < fill(one / "srv/more") < 300 * MIB


def test_an_image_is_not_shrunk_below_what_is_in_it(made: Pool, one: Path) -> None:
    if made.kind != "image":
        pytest.skip("of the kind image alone: else the caller checks")
    made.volumes.limit(group(one), 900 * MIB)
    (one / "srv/kept").write_bytes(os.urandom(600 * MIB))
    os.sync()
    with pytest.raises(Conflict, match="cannot be made as small"):
        made.volumes.limit(group(one), 300 * MIB)
    (one / "srv/more").write_bytes(os.urandom(MIB))
    os.sync()


def squeeze(folder: Path) -> None:
    """Fill data and metadata to the last: large files, then small ones, then the smallest."""
    folder.mkdir()
    for name, size in (("large", 4 * MIB), ("small", 4096), ("tiny", 1000)):
        block, number = os.urandom(size), 0
        with suppress(OSError):
            while True:
                (folder / f"{name}-{number}").write_bytes(block)
                number += 1
        with suppress(OSError):
            kernel.sync(folder)


@pytest.mark.parametrize("small", [True, False])
def test_a_disk_that_is_full_to_the_last_can_be_enlarged(
    made: Pool, monkeypatch: pytest.MonkeyPatch, small: bool
) -> None:
    """Data and metadata share their room in it, or each has its own, as in those above 4 GiB."""
    if made.kind != "image":
        pytest.skip("of filesystems of their own")
    if not small:
        monkeypatch.setattr(image, "SMALL", 0)
        monkeypatch.setattr(templates, "SMALL", 512 * MIB)
    home = made.make(300 * MIB)
    kinds = {path.name for path in allocation_of(home).iterdir() if path.is_dir()}
    assert ("mixed" in kinds, "metadata" in kinds) == (small, not small)
    squeeze(home / "srv/full")
    with pytest.raises(OSError, match="No space left"):
        fill_exactly(home / "srv/more", 4 * MIB)
    made.volumes.limit(group(home), 450 * MIB)
    fill_exactly(home / "srv/more", 100 * MIB)
    made.volumes.detach(home)
    made.volumes.attach(home)
    assert (home / "srv/more").stat().st_size == 100 * MIB
    squeeze(home / "srv/again")
    for path in (home / "srv/full").iterdir():
        path.unlink()
    kernel.sync(home)
    fill_exactly(home / "srv/after", 20 * MIB)
    made.remove(home)


def test_a_filesystem_that_failed_on_a_full_disk_is_mounted_anew(tmp_path: Path) -> None:
    host, disk = Local(), tmp_path / "disk.img"
    loops.make_file(disk, 300 * MIB)
    host.run(loop.make_ext4(disk, "small"))
    node = Node(Settings(prefix=tmp_path / "node", storage="image"), host)
    made = Pool(node)
    node.settings.prefix.mkdir()
    host.run(loop.mount_ext4(disk, node.settings.prefix))
    try:
        pool.prepare(node)
        (node.settings.images / "tiny").mkdir()
        home = made.make()
        (home / "srv/kept").write_text("here")
        kernel.sync(home)
        ballast = node.settings.prefix / "ballast"
        ballast.write_bytes(bytes(100 * MIB))
        kernel.sync(node.settings.prefix)
        with suppress(OSError):  # the kernel may find out while it is written, or afterwards
            fill(home / "srv/file")
        wait_until(lambda: failed(home), 30)
        ballast.unlink()
        with pytest.raises(OSError, match=r"error|Read-only"):
            (home / "srv/new").write_text("new")
        with pytest.raises(Conflict, match="stop it and start it"):
            made.volumes.attach(home)
        argv = ["unshare", "--mount", "--propagation", "private", "sh", "-c", "echo; exec sleep 2"]
        with subprocess.Popen(argv, stdout=subprocess.PIPE) as elsewhere:  # has it mounted as well
            assert elsewhere.stdout
            elsewhere.stdout.readline()
            made.volumes.attach(home, stopped=True)
        fill_exactly(home / "srv/new", 10 * MIB)
        assert (home / "srv/kept").read_text() == "here"
        made.remove(home)
    finally:
        for home in (node.settings.pool / "env").glob("*"):
            made.volumes.detach(home)
        made.volumes.detach(node.settings.prefix)  # the loop device may need it a little longer
    assert_nothing_left(tmp_path)


def failed(home: Path) -> bool:
    """Write anew; return whether the filesystem has failed: once its metadata finds no room."""
    with suppress(OSError):
        (home / "srv/again").unlink(missing_ok=True)
    with suppress(OSError):
        (home / "srv/again").write_bytes(os.urandom(MIB))
    with suppress(OSError):
        kernel.sync(home)
    return bool(os.statvfs(home).f_flag & os.ST_RDONLY)


def allocation_of(home: Path) -> Path:
    return Path("/sys/fs/btrfs", quota.filesystem(home), "allocation")


def fill_exactly(path: Path, size: int) -> None:
    with path.open("wb", 0) as file:
        for _ in range(size // MIB):
            file.write(os.urandom(MIB))
        os.fsync(file.fileno())


def test_disks_begin_as_copies_of_a_template(made: Pool) -> None:
    if made.kind != "image":
        pytest.skip("the other kinds have no disks")
    homes = [made.make() for _ in range(2)]
    ids = {quota.filesystem(home) for home in homes}
    assert len(ids) == 2
    for home in homes:
        disk = made.node.settings.pool / f"disks/{home.name}.img"
        assert disk.stat().st_blocks * 512 < 60 * MIB
        (home / "srv/own").write_text(home.name)
    assert [(home / "srv/own").read_text() for home in homes] == [home.name for home in homes]
    folder = made.node.settings.pool / "templates"
    assert (folder / "tiny.mixed.img").stat().st_blocks * 512 < 40 * MIB
    assert loops.of(folder / "tiny.mixed.img") is None
    for home in homes:
        made.remove(home)


def test_what_a_crash_left_of_a_template_and_those_of_images_that_are_gone_go(made: Pool) -> None:
    if made.kind != "image":
        pytest.skip("the other kinds have no templates")
    folder = made.node.settings.pool / "templates"
    made.remove(made.make())
    (folder / "tiny.mixed.img").rename(folder / "tiny.mixed.part")
    (folder / "gone.img").touch()
    with loops.attached(folder / "tiny.mixed.part") as device:
        made.node.host.run(btrfs.mount(device, folder / "mounted"))
    home = made.make()
    assert (home / "rootfs/etc/hostname").read_text() == "tiny\n"
    made.remove(home)
    left = {path.name for path in folder.iterdir()} - {"tiny.img"}
    assert left == {"mounted", "tiny.mixed.img"}
    assert not mounts.is_point(folder / "mounted")


def test_a_clone_has_what_lies_in_volumes_within(made: Pool, one: Path) -> None:
    create: Callable[[Path], None] = Path.mkdir if made.kind == "plain" else subvolumes.create
    (one / "srv/projects").mkdir()
    for name in ("srv/projects/a", "srv/projects/a/run", "srv/projects/b"):
        create(one / name)
        (one / name / "file").write_text(name)
    (one / "srv/trap").symlink_to("/etc")
    made.volumes.clone(one / "srv", one / "kept", group(one))
    (one / "srv/projects/a/run/file").write_text("changed")
    other = made.make()
    try:
        made.volumes.delete(other / "srv")
        made.volumes.clone(one / "srv", other / "srv", group(other))
        assert (other / "srv/projects/a/run/file").read_text() == "changed"
        assert (other / "srv/trap").is_symlink()
        if made.kind != "plain":
            assert subvolumes.is_subvolume(other / "srv/projects/a/run")
        made.volumes.clone(one / "kept", one / "back", group(one))
        kernel.exchange(one / "back", one / "srv")
        made.volumes.delete(one / "back")
        made.volumes.delete(one / "kept")
        for name in ("srv/projects/a", "srv/projects/a/run", "srv/projects/b"):
            assert (one / name / "file").read_text() == name
        (one / "srv/projects/a/run/new").write_text("may be written again")
    finally:
        made.remove(other)


def test_a_guest_that_swaps_a_folder_for_a_link_gains_nothing(
    made: Pool, one: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if made.kind == "plain":  # cp(1) would follow the link: nothing is copied while it runs
        limits = Limits(300 * MIB)
        record = Record(one.name, Platform.DEV, "tiny", "10.88.0.12", 22003, 2, limits)
        made.node.records.save(record)
        monkeypatch.setattr(lifecycle, "state", lambda *_: ("RUNNING", 1))
        with pytest.raises(Conflict, match="files are copied one by one"):
            snapshots.take(made.node, record.id, "now", freeze=False)
        made.node.records.remove(record.id)
        assert list((one / "snapshots").iterdir()) == []
        return
    secret, folder = one / "secret", one / "srv/folder"
    for place in (secret, folder):
        place.mkdir()
        subvolumes.create(place / "sub")
        (place / "sub/file").write_text(place.name)
    inner = nested.inner

    def late(source: int, *more: Any) -> list[nested.Inner]:
        found = list(inner(source, *more))
        if folder.is_dir() and not folder.is_symlink():
            folder.rename(one / "srv/former")
            folder.symlink_to(secret)
        return found

    monkeypatch.setattr(nested, "inner", late)
    with pytest.raises(Conflict, match="changes too fast"):
        made.volumes.clone(one / "srv", one / "copy", group(one))
    assert list((one / "copy").rglob("file")) == []


def test_volumes_are_detached_and_attached_again(made: Pool, one: Path) -> None:
    (one / "srv/file").write_text("here")
    made.volumes.detach(one)
    for _ in range(2):
        made.volumes.attach(one)
        assert (one / "srv/file").read_text() == "here"
    assert len([point for point in mounts.below(one) if point == one]) <= 1


def test_what_a_killed_make_left_is_removed(made: Pool, one: Path) -> None:
    home = made.make()
    if made.kind == "image":
        (home / "base").unlink()
    made.remove(home)
    made.remove(home)
    made.volumes.prune({group(one)})
    assert (one / "rootfs/etc/hostname").exists()


def test_the_pool_grows_while_it_is_used(made: Pool) -> None:
    before = made.volumes.space()[0]
    if made.kind != "quota":
        with pytest.raises(Conflict, match="is a directory"):
            growth.grow(made.node, "3G")
        return
    assert growth.grow(made.node, "2560M", test=True)["changes"]
    assert made.volumes.space()[0] == before
    for _ in range(2):
        growth.grow(made.node, "2560M")
        assert made.volumes.space()[0] == 2560 * MIB
    assert growth.grow(made.node, "2560M", test=True)["changes"] == []
    for asked, why in ((None, "grows to a size"), ("1G", "does not shrink"), ("9T", "beneath has")):
        with pytest.raises((InvalidInput, Conflict), match=why):
            growth.grow(made.node, asked)


def scrubbed(made: Pool) -> str:
    filesystem = health.health(made.node)["filesystems"][str(made.node.settings.pool)]
    return str(filesystem["scrub"]["status"])


def test_the_pool_tells_of_its_health(made: Pool, one: Path) -> None:
    found = health.health(made.node)
    if made.kind == "quota":
        assert found["ground"] == "file"
        own = found["filesystems"][str(made.node.settings.pool)]
        assert own["unallocated"] + own["allocated"] == own["size"] == found["size"]
        assert set(own["errors"].values()) == {0}
        assert health.scrub(made.node, test=True)["changes"]
        assert own["scrub"] is None
        health.scrub(made.node)
        found = health.health(made.node)
        own = found["filesystems"][str(made.node.settings.pool)]
        assert own["scrub"]["status"] in ("running", "finished")
        wait_until(lambda: scrubbed(made) == "finished", 60, told=lambda: scrubbed(made))
        assert found["shared"]["shared"] > 20 * MIB
    else:
        assert found["ground"] == "directory"
    assert found["warnings"] == []


def test_a_pool_on_a_device_is_made_mounted_and_grown(tmp_path: Path) -> None:
    backing = tmp_path / "partition.img"
    loops.make_file(backing, 512 * MIB)
    with loops.attached(backing) as device:
        settings = Settings(prefix=tmp_path / "node", storage="quota", pool_device=str(device))
        node = Node(settings, Local())
        node.settings.records.mkdir(parents=True)
        try:
            pool.prepare(node)
            assert ground.of(node).kind == "device"
            Local().run(loop.unmount(settings.pool))
            pool.prepare(node)
            os.truncate(backing, 768 * MIB)
            loops.refresh(device)
            growth.grow(node)
            assert pool.volumes(node).space()[0] == 768 * MIB
        finally:
            if mounts.is_point(settings.pool):
                Local().run(loop.unmount(settings.pool))
        Local().run(["mkfs.btrfs", "--quiet", "--force", str(device)])
        Local().run(["wipefs", "--quiet", "--all", str(device)])
        Local().run(["mkfs.ext4", "-q", str(device)])
        foreign = Node(replace(settings, prefix=tmp_path / "other"), Local())
        foreign.settings.records.mkdir(parents=True)
        with pytest.raises(CommandFailed, match="filesystem"):
            pool.prepare(foreign)
    assert_nothing_left(tmp_path)
