"""The kind of storage: chosen by what the kernel has, and then remembered."""

from __future__ import annotations

import os
import shutil
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from corpus.hosts import loops, subvolumes
from corpus.model.errors import Conflict, CorpusError
from corpus.node import foreseen
from corpus.node.context import Node
from corpus.node.environments import making, removal
from corpus.node.storage import ground, growth, health, kinds, pool
from corpus.node.storage.ground import Ground
from corpus.node.storage.kinds import Choice
from unit.node import nodes


@pytest.fixture
def kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What the kernel shows: files that a test removes to take a feature away."""
    folder = tmp_path / "kernel"
    for name in ("features/simple_quota", "loop-control"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    (folder / "filesystems").write_text("nodev\tproc\n\text4\n\tbtrfs\n")
    monkeypatch.setattr(kinds, "FEATURES", folder / "features")
    monkeypatch.setattr(kinds, "LOOPS", folder / "loop-control")
    monkeypatch.setattr(kinds, "FILESYSTEMS", folder / "filesystems")
    return folder


def asking(node: Node, storage: str) -> Node:
    return Node(replace(node.settings, storage=storage), node.host)


def test_auto_takes_the_best_that_the_kernel_can_do(tmp_path: Path, kernel: Path) -> None:
    node = asking(nodes.make(tmp_path)[0], "auto")
    assert kinds.chosen(node).kind == "quota"
    (kernel / "features/simple_quota").unlink()
    found = kinds.chosen(node)
    assert (found.kind, "no simple quotas" in found.why) == ("image", True)
    (kernel / "loop-control").unlink()
    found = kinds.chosen(node)
    assert (found.kind, "no loop devices" in found.why) == ("plain", True)
    (kernel / "filesystems").write_text("\text4\n")
    assert kinds.chosen(node) == Choice("plain", "this kernel has no btrfs")


def test_the_setting_goes_before_the_kernel(tmp_path: Path, kernel: Path) -> None:
    node = nodes.make(tmp_path)[0]
    for kind in ("quota", "image", "plain"):
        assert kinds.chosen(asking(node, kind)) == Choice(kind, f"the setting storage is {kind}")


def test_a_pool_keeps_its_kind(tmp_path: Path, kernel: Path) -> None:
    node = nodes.make(tmp_path)[0]
    pool.prepare(node)
    assert pool.support(asking(node, "auto")).storage == "plain"
    assert kinds.chosen(asking(node, "image")).kind == "image"  # nothing lies there yet
    making.create(node, id=nodes.ID, wait=0)
    with pytest.raises(Conflict, match=r'storage is "image".* of the kind "plain"') as caught:
        kinds.chosen(asking(node, "image"))
    assert 'storage = "plain"' in str(caught.value.mend)
    removal.destroy(node, nodes.ID)
    assert kinds.chosen(asking(node, "image")).kind == "image"


def test_disks_that_may_outgrow_what_is_free_are_told(tmp_path: Path) -> None:
    node = asking(nodes.make(tmp_path)[0], "image")  # of 50 GiB
    disks = node.settings.pool / "disks"
    disks.mkdir()
    for name, size in (("a.img", 40 << 30), ("b.part", 90 << 30)):
        (disks / name).touch()
        os.truncate(disks / name, size)
    assert health.health(node)["warnings"] == []
    os.truncate(disks / "a.img", 51 << 30)
    (warning,) = health.health(node)["warnings"]
    assert "may take 51G more, and 50G are free" in warning


def test_a_disk_that_goes_while_it_is_looked_at_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = asking(nodes.make(tmp_path)[0], "image")
    glob = Path.glob
    gone = node.settings.pool / "disks/gone.img"
    monkeypatch.setattr(
        Path, "glob", lambda self, what: [gone] if what == "disks/*.img" else glob(self, what)
    )
    assert health.health(node)["warnings"] == []


def beneath(monkeypatch: pytest.MonkeyPatch, free: int) -> None:
    """Have so many GiB be free on the disk beneath."""
    monkeypatch.setattr(
        shutil, "disk_usage", lambda _: SimpleNamespace(total=99 << 30, used=0, free=free << 30)
    )


@pytest.mark.parametrize("storage", ["quota", "auto"])
def test_a_file_is_made_as_large_as_the_disk_beneath_can_hold(
    tmp_path: Path, kernel: Path, monkeypatch: pytest.MonkeyPatch, storage: str
) -> None:
    plain, host = nodes.make(tmp_path)
    shutil.rmtree(plain.settings.pool)
    node = asking(plain, storage)
    beneath(monkeypatch, 12)
    for act in (foreseen.prepare, pool.prepare):
        with pytest.raises(
            Conflict, match=r"a pool of 24G .* has 11G for it, and keeps 1G"
        ) as caught:
            act(node)
        assert 'pool_size = "11G"' in str(caught.value.mend)
    assert nodes.ran(host, "mkfs.btrfs") == []
    monkeypatch.setattr(loops, "attached", lambda _: nullcontext(Path("/dev/loop9")))
    monkeypatch.setattr(subvolumes, "enable_simple_quotas", lambda _: None)
    pool.prepare(Node(replace(node.settings, pool_size="11G"), host))
    assert ground.file(node.settings).stat().st_size == 11 << 30


@pytest.fixture
def filed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Node:
    """A node whose pool of 24 GiB, of which 20 are free, lies in a file that is nearly empty."""
    node, host = nodes.make(tmp_path)
    image = ground.file(node.settings)
    image.touch()
    os.truncate(image, 24 << 30)
    monkeypatch.setattr(ground, "of", lambda _: Ground("file", image, Path("/dev/loop9")))
    monkeypatch.setattr(health, "filesystems", lambda _: [])
    host.answer("df", f"1B-blocks Avail\n {24 << 30} {20 << 30}\n")
    return node


def test_of_a_file_no_more_is_free_than_beneath_it(
    filed: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    for free, found, warned in ((99, 20, False), (25, 20, False), (12, 7, True), (0, 0, True)):
        beneath(monkeypatch, free)
        assert pool.volumes(filed).space() == (24 << 30, found << 30)
        told = health.health(filed)
        assert told["beneath"] == max(0, free - 1) << 30
        assert [one for one in told["warnings"] if "may take 24G more" in one] == (
            told["warnings"] if warned else []
        )
        assert bool(told["warnings"]) == warned
    beneath(monkeypatch, 12)
    with pytest.raises(Conflict, match="beneath has 11G for the pool"):
        growth.grow(filed, "25G")


def test_a_file_that_has_all_its_blocks_needs_nothing_of_the_disk(
    filed: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = ground.file(filed.settings)
    with image.open("wb") as full:
        full.write(bytes(1 << 20))
    beneath(monkeypatch, 0)
    assert pool.volumes(filed).space()[1] == 20 << 30


def test_what_the_pool_remembers_may_be_damaged(tmp_path: Path) -> None:
    node = nodes.make(tmp_path)[0]
    for text in ("{", '{"colour": "red"}', "[]"):
        (node.settings.pool / "storage.json").write_text(text)
        with pytest.raises(CorpusError, match="damaged"):
            kinds.chosen(node)
