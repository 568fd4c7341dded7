"""Migration between pools of different kinds on the real kernel: nothing of a file is lost.

The nodes are directories of this machine. What they do to networks and guests is pretended; pools,
snapshots, rsync and what serves and fetches are real. SSH and guests are ``test_migration``'s.
"""

from __future__ import annotations

import json
import mmap
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from corpus.commands import loop
from corpus.hosts import connections, kernel, mounts, subvolumes
from corpus.hosts.base import Command, Result
from corpus.hosts.fake import Fake
from corpus.hosts.local import Local
from corpus.node.context import Node
from corpus.node.environments import guest, making, removal
from corpus.node.migration import channel, health, leaving, peers, recovery, sending
from corpus.node.migration.arriving import Arrival
from corpus.node.migration.peers import Peer
from corpus.node.records import Stage
from corpus.node.storage import images, pool
from linked import BARRIER, Forked
from moving import LOOK, SHAPES
from unit.node import nodes

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="mounts")

ID = nodes.ID
KINDS = {"quota": "quota", "other": "quota", "image": "image", "plain": "plain"}  # by nodes
KEYS = {node: f"ssh-ed25519 {letter * 68}" for node, letter in zip(KINDS, "ABCD", strict=True)}
SIZE = 300 << 20
LARGE = 8 << 20
REAL = ("blkid", "btrfs", "cp", "df", "du", "losetup", "mkfs.btrfs", "mount", "umount")


class Machine(Fake):
    """Does what storage needs once it is ``real``, and pretends the rest."""

    real = False

    def execute(self, command: Command) -> Result:
        if self.real and command.argv[0] in REAL:
            return Local().execute(command)
        return super().execute(command)


class Link(Forked):
    """A session with the node of the kind that its command names."""

    cluster: dict[str, Node]

    def answer(self, come: int, go: int) -> None:
        to, source = self._argv
        node = Link.cluster[to]
        Arrival(node, peers.find(node, source), come, go).serve()


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Node]]:
    """Return a node of each kind; all know each other, and have the same image."""
    folder = tmp_path_factory.mktemp("kinds")
    with pytest.MonkeyPatch.context() as patch, ExitStack() as stack:
        patch.setattr(peers, "AUTHORIZED", folder / "authorized_keys")
        patch.setattr(peers, "HOST_KEY", folder / "none")
        patch.setattr(peers, "ask", ask)
        patch.setattr(channel, "Session", Link)
        patch.setattr(health, "_answers", lambda node, record: True)
        patch.setattr(connections, "forget", lambda *_: 0)
        whole = os.urandom(LARGE)
        Link.cluster = {
            name: begin(folder / name, kind, whole, stack) for name, kind in KINDS.items()
        }
        yield Link.cluster
    assert mounts.below(folder) == []


def begin(folder: Path, kind: str, whole: bytes, stack: ExitStack) -> Node:
    """Make a node, whose image holds a file with ``whole`` in it."""
    host = Machine()
    node, _ = nodes.make(folder, host, storage=kind, pool_size="2G")
    host.real = True
    settings = node.settings
    shutil.rmtree(settings.pool)  # no pool is mounted over what there is
    pool.prepare(node)
    stack.callback(unmount, settings.pool)
    image = settings.images / ("ab" * 6)
    (image.mkdir if kind != "quota" else lambda: subvolumes.create(image))()
    (image / "etc").mkdir()
    (image / "etc/of-image").write_bytes(whole)
    os.utime(image / "etc/of-image", (1, 1))
    images.adopt(node, "environment", "ab" * 32, image)
    (settings.prefix / "node.toml").write_text(
        f'prefix = "{settings.prefix}"\nstorage = "{kind}"\n'
    )
    for number, other in enumerate(KINDS, 1):
        peer = Peer(other, f"192.0.2.{number}", 22, KEYS[other], KEYS[other])
        peers.add(node, other, asdict(peer))
    return node


def unmount(place: Path) -> None:
    for path in sorted(mounts.below(place), reverse=True):
        Local().run(loop.unmount(path))


def ask(node: Node, peer: Peer, request: str) -> list[str]:
    """Return the command that calls the other node, or what the session is begun with."""
    to, source = peer.name, node.settings.prefix.parent.name
    if request == "receive":
        return [to, source]
    settings = Link.cluster[to].settings.prefix / "node.toml"
    return ["env", f"SSH_ORIGINAL_COMMAND={request}", sys.executable, "-m", "corpus.node",
            "--settings", str(settings), "receive", source]  # fmt: skip


def script(text: str, home: Path) -> str:
    """Run a script of ``moving`` on an environment's place instead of within it."""
    text = text.replace('("/srv/shapes", "/etc", "/root")', '("/srv/shapes",)')
    text = text.replace("/srv/shapes", str(home / "srv/shapes"))
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=True)
    return done.stdout


def look(node: Node) -> dict[str, Any]:
    """Return all that files have, by their paths in the environment."""
    home = guest.home(node.settings, ID)
    found = json.loads(script(LOOK, home))
    return {path.removeprefix(str(home)): what for path, what in found.items()}


def limit(node: Node) -> int | None:
    used = pool.volumes(node).used(node.records.get(ID).group)
    return used.limit if used else None


@pytest.fixture(scope="module")
def moving(cluster: dict[str, Node]) -> dict[str, Node]:
    """Have an environment in the pool ``quota``."""
    node = cluster["quota"]
    making.create(node, id=ID, size=SIZE, wait=0)
    home = guest.home(node.settings, ID)
    script(SHAPES, home)
    (home / "rootfs/etc/own").write_text("own")
    (home / "rootfs/etc/of-image").rename(home / "rootfs/etc/renamed")
    return cluster


@pytest.mark.parametrize(
    ("source", "target"),
    [
        ("quota", "other"),
        ("other", "quota"),
        ("quota", "image"),
        ("image", "quota"),
        ("quota", "plain"),
        ("plain", "quota"),
    ],
)
def test_nothing_of_a_file_is_lost(moving: dict[str, Node], source: str, target: str) -> None:
    here, there = moving[source], moving[target]
    before = look(here)
    with BARRIER:
        done = leaving.migrate(here, ID, target)
    record = there.records.get(ID)
    assert (record.stage, record.limits.size) == (Stage.READY, SIZE)
    after = look(there)
    kept = {"sealed", "subvolumes"} if "plain" in (source, target) else set()
    assert {**after, **dict.fromkeys(kept)} == {**before, **dict.fromkeys(kept)}
    assert after["/srv/shapes/able"][-1] != []
    if {source, target} == {"quota", "other"}:  # the image is there already
        assert sum(one["bytes"] for one in done["passes"]) < LARGE
    if target != "plain":
        assert after["subvolumes"] == before["subvolumes"]
    root = guest.rootfs(there.settings, ID)
    assert (root / "etc/own").read_text() == "own"
    assert not (root / "etc/of-image").exists()
    image = images.volume(there, images.find(there))
    assert (root / "etc/renamed").read_bytes() == (image / "etc/of-image").read_bytes()
    assert limit(there) == (None if target == "plain" else pytest.approx(SIZE, rel=0.01))
    assert not guest.home(here.settings, ID).exists()
    assert not recovery.left(there, ID)


class Writer:
    """Does to files at a place what their times and sizes do not tell."""

    SIZE = 1 << 16

    def __init__(self, home: Path) -> None:
        self.folder, self.number = home / "srv/written", 0
        for name in ("one", "other"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
            self.put(f"{name}/twin", name[:2])
        for name in ("mapped", "set-back", "replaced"):
            self.put(name, "")
        kernel.sync(self.folder)
        with (self.folder / "mapped").open("r+b") as file:
            self.mapped = mmap.mmap(file.fileno(), 0)
        self.mapped[:1] = b"-"  # from here on this page waits to be written to the disk

    def put(self, name: str, text: str) -> Path:
        """Write a file whose time is always the same, and its size."""
        path = self.folder / name
        path.write_bytes(text.encode().ljust(self.SIZE))
        os.utime(path, (1, 1))
        return path

    def write(self) -> None:
        """Change all of them."""
        self.number += 1
        text = str(self.number)
        self.mapped[:1] = text.encode()
        self.put("set-back", text)
        self.put("new", text).rename(self.folder / "replaced")
        kernel.exchange(self.folder / "one", self.folder / "other")


def written(node: Node) -> dict[str, str]:
    folder = guest.srv(node.settings, ID) / "written"
    found = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return {str(path.relative_to(folder)): path.read_text().strip() for path in found}


def changed(node: Node) -> bytes:
    """Have a file in place of the image's that is like it by time and size; return what it has."""
    of_image = images.volume(node, images.find(node)) / "etc/of-image"
    content = os.urandom(of_image.stat().st_size)
    own = guest.rootfs(node.settings, ID) / "etc/of-image"
    own.write_bytes(content)
    os.utime(own, (1, 1))
    return content


@pytest.mark.parametrize(
    ("source", "target"), [("quota", "plain"), ("plain", "image"), ("image", "quota")]
)
def test_what_is_written_is_there_whatever_times_and_sizes_say(
    moving: dict[str, Node], source: str, target: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, there = moving[source], moving[target]
    if there.records.find(ID):  # it has moved from there to another node than this one
        removal.destroy(there, ID)
    writer = Writer(guest.home(here.settings, ID))
    content = changed(here)
    wanted: dict[str, str] = {}
    take, send = sending.Mirror.take, sending.Mirror.send

    def then_write(way: sending.Mirror, taken: dict[str, bool]) -> sending.Pass:
        done = send(way, taken)
        if not wanted:
            writer.write()
        return done

    def stopped(way: sending.Mirror, *, last: bool = False) -> dict[str, bool]:
        if last:
            writer.mapped.close()
            wanted.update(written(here))
        return take(way, last=last)

    monkeypatch.setattr(sending.Mirror, "send", then_write)
    monkeypatch.setattr(sending.Mirror, "take", stopped)
    with BARRIER:
        leaving.migrate(here, ID, target)
    assert written(there) == wanted
    assert wanted["mapped"] == wanted["set-back"] == wanted["replaced"] == str(writer.number)
    assert (guest.rootfs(there.settings, ID) / "etc/of-image").read_bytes() == content
