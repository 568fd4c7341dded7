"""The kind of storage: chosen by what the kernel has, and then remembered."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from corpus.model.errors import Conflict, CorpusError
from corpus.node.context import Node
from corpus.node.environments import making, removal
from corpus.node.storage import health, kinds, pool
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


def test_what_the_pool_remembers_may_be_damaged(tmp_path: Path) -> None:
    node = nodes.make(tmp_path)[0]
    for text in ("{", '{"colour": "red"}', "[]"):
        (node.settings.pool / "storage.json").write_text(text)
        with pytest.raises(CorpusError, match="damaged"):
            kinds.chosen(node)
