"""Data whose record is lost, and a pool that is not there: nothing is made in their place."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from corpus.hosts import mounts, subvolumes
from corpus.model.errors import Conflict
from corpus.node import boot, foreseen
from corpus.node.context import Node
from corpus.node.doctor import storage as doctor
from corpus.node.environments import cloning, exporting, guest, importing, making, removal
from corpus.node.migration import checking
from corpus.node.records import dump
from corpus.node.storage import ground, pool
from unit.node import nodes

PLACES: tuple[Callable[..., Path], ...] = (guest.home, guest.disk, guest.staged)


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return nodes.make(tmp_path)[0]


def lose(node: Node, id: str, place: Callable[..., Path] = guest.home) -> Path:
    """Leave data of an environment, and no record."""
    there = place(node.settings, id)
    if place is guest.disk:
        there.parent.mkdir(exist_ok=True)
        there.write_text("all that it has")
        return there
    there.mkdir(parents=True, exist_ok=True)
    (there / "kept").write_text("all that it has")
    return there / "kept"


@pytest.mark.parametrize("place", PLACES)
def test_an_environment_is_not_made_over_data(node: Node, place: Callable[..., Path]) -> None:
    kept = lose(node, nodes.ID, place)
    for test in (True, False):
        with pytest.raises(Conflict, match=f"data of an environment {nodes.ID}") as caught:
            making.create(node, id=nodes.ID, wait=0, test=test)
        assert f"{nodes.ID}.json back" in str(caught.value.mend)
    assert kept.read_text() == "all that it has"
    assert node.records.all() == []
    (found,) = doctor.places(node)
    assert str(found.mend) in str(caught.value.mend)
    making.create(node, id=nodes.OTHER, wait=0)


def test_neither_is_a_copy_nor_one_from_a_file(node: Node, tmp_path: Path) -> None:
    making.create(node, id=nodes.ID, wait=0)
    kept = lose(node, nodes.OTHER)
    for act in (cloning.changes, cloning.clone):
        with pytest.raises(Conflict, match="and no record of it"):
            act(node, nodes.ID, new=nodes.OTHER)
    file = tmp_path / "it.tar"
    exporting.export(node, nodes.ID, file)
    for act in (importing.changes, importing.import_):
        with pytest.raises(Conflict, match="and no record of it"):
            act(node, file, id=nodes.OTHER)
    (node.settings.records / f"{nodes.ID}.json").unlink()
    own = lose(node, nodes.ID)
    with pytest.raises(Conflict, match="and no record of it"):
        importing.import_(node, file)
    assert kept.exists()
    assert own.exists()


def test_neither_is_one_that_arrives(node: Node) -> None:
    making.create(node, id=nodes.ID, wait=0)
    record = node.records.get(nodes.ID)
    asked: dict[str, Any] = {"record": dump(record).decode(), "image": record.image}
    (node.settings.records / f"{nodes.ID}.json").unlink()
    with pytest.raises(Conflict, match="and no record of it"):
        checking.check(node, asked, "peer")
    removal.unconfigure(node.settings.lxcpath / nodes.ID)
    shutil.rmtree(guest.home(node.settings, nodes.ID))
    assert checking.check(node, asked, "peer")["method"] == "rsync"


def test_the_record_goes_when_the_rest_is_gone_for_good(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    making.create(node, id=nodes.ID, wait=0)
    record, real, synced = node.settings.records / f"{nodes.ID}.json", os.fsync, []

    def fsync(handle: int) -> None:
        synced.append((Path(f"/proc/self/fd/{handle}").readlink(), record.exists()))
        real(handle)

    monkeypatch.setattr(os, "fsync", fsync)
    removal.destroy(node, nodes.ID)
    assert (node.settings.pool / "env", True) in synced
    assert not record.exists()


def without_pool(node: Node) -> None:
    """As after a boot at which the pool was not mounted."""
    shutil.rmtree(node.settings.pool)


@pytest.mark.parametrize("kind", ["plain", "image", "quota", "auto"])
def test_no_pool_is_made_where_there_are_environments(node: Node, kind: str) -> None:
    making.create(node, id=nodes.ID, wait=0)
    without_pool(node)
    asking = Node(replace(node.settings, storage=kind), node.host)
    for act in (foreseen.prepare, foreseen.boot, boot.prepare, boot.boot):
        with pytest.raises(Conflict, match="is not mounted at the pool") as caught:
            act(asking)
    assert "/etc/fstab" in str(caught.value.mend)
    assert list(node.settings.pool.iterdir()) == []
    assert not ground.file(node.settings).exists()
    removal.destroy(asking, nodes.ID)
    pool.prepare(node)
    assert (node.settings.pool / "env").is_dir()


def test_no_filesystem_is_made_on_a_device_where_there_are_environments(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    making.create(node, id=nodes.ID, wait=0)
    without_pool(node)
    monkeypatch.setattr("stat.S_ISBLK", lambda _: True)
    asking = Node(replace(node.settings, storage="quota", pool_device="/dev/null"), node.host)
    with pytest.raises(Conflict, match="is not mounted at the pool"):
        pool.prepare(asking)
    assert nodes.ran(node.host, "mkfs.btrfs") == []  # type: ignore[arg-type]


def test_no_pool_is_mounted_over_what_lies_there(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mounts, "is_point", lambda _: False)
    monkeypatch.setattr(subvolumes, "is_btrfs", lambda _: False)
    asking = Node(replace(node.settings, storage="quota"), node.host)
    with pytest.raises(Conflict, match="over what is there already"):
        pool.prepare(asking)
    assert not ground.file(node.settings).exists()
