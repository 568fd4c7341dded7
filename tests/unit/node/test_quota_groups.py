"""Quota groups on a btrfs that others use too: theirs are never taken, changed or removed."""

from __future__ import annotations

import errno
import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from corpus.commands.btrfs import Usage
from corpus.hosts import quota, subvolume_names, subvolumes
from corpus.hosts.subvolumes import group_number
from corpus.model.errors import Conflict
from corpus.node import boot
from corpus.node.context import Node
from corpus.node.doctor import storage as doctor
from corpus.node.environments import guest, making
from corpus.node.records import Allotment, Stage
from corpus.node.storage import copies, pool
from corpus.node.storage.quota import QuotaVolumes
from unit.node import nodes

OURS, PROJECT, THEIRS, WITHIN = "2/77", "1/7", "2/100", "1/100"


class Kernel:
    """The groups of a filesystem, and which are in which."""

    def __init__(self) -> None:
        self.groups: dict[str, int | None] = {THEIRS: 5, WITHIN: 6}
        self.pairs = {(WITHIN, THEIRS)}
        self.volumes: set[int] = set()
        self.late: set[str] = set()
        self.dies = False

    def make(self, _: Path, group: str) -> None:
        if self.dies:
            self.dies = False
            raise KeyboardInterrupt
        taken = group in self.groups.keys() | self.late
        self.groups.setdefault(group, None)
        if taken:
            raise FileExistsError(errno.EEXIST, "File exists")

    def remove(self, _: Path, group: str) -> None:
        if any(above == group for _, above in self.pairs):
            raise OSError(errno.EBUSY, "Device or resource busy")
        self.groups.pop(group)
        self.pairs = {pair for pair in self.pairs if pair[0] != group}

    def assign(self, _: Path, group: str, parent: str) -> None:
        self.pairs.add((group, parent))

    def limit(self, _: Path, group: str, size: int | None) -> None:
        if group not in self.groups:
            raise FileNotFoundError(errno.ENOENT, "No such file or directory")
        self.groups[group] = size

    def usage(self, _: Path, group: str) -> Usage | None:
        return Usage(0, self.groups[group]) if group in self.groups else None

    def related(self, _: int, id: int) -> set[str]:
        above = {other for one, other in self.pairs if group_number(one) == id}
        return above | {one for one, other in self.pairs if group_number(other) == id}


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Kernel:
    found = Kernel()
    monkeypatch.setattr(subvolumes, "is_btrfs", lambda _: True)
    monkeypatch.setattr(quota, "exists", lambda _, group: group in found.groups)
    monkeypatch.setattr(quota, "groups", lambda _: list(found.groups))
    for change in ("make", "remove", "assign", "limit", "usage"):
        monkeypatch.setattr(quota, change, getattr(found, change))
    monkeypatch.setattr(subvolume_names, "groups_of", found.related)
    monkeypatch.setattr(subvolume_names, "exists", lambda _, id: id in found.volumes)
    return found


@pytest.fixture
def node(kernel: Kernel, tmp_path: Path) -> Node:
    return nodes.make(tmp_path)[0]


@pytest.fixture
def volumes(node: Node) -> QuotaVolumes:
    return QuotaVolumes(node)


def theirs(kernel: Kernel) -> bool:
    untouched = (kernel.groups.get(THEIRS), kernel.groups.get(WITHIN)) == (5, 6)
    return untouched and (WITHIN, THEIRS) in kernel.pairs


def test_only_what_the_node_made_is_removed(volumes: QuotaVolumes, kernel: Kernel) -> None:
    volumes.limit(OURS, 1000)
    volumes.join(PROJECT, OURS)
    assert (kernel.groups[OURS], (PROJECT, OURS) in kernel.pairs) == (1000, True)
    volumes.prune({OURS})
    assert {OURS, PROJECT} <= kernel.groups.keys()
    assert volumes.strays({OURS}) == []
    assert volumes.strays(set()) == [PROJECT, OURS]
    volumes.prune(set())
    assert kernel.groups == {THEIRS: 5, WITHIN: 6}
    assert theirs(kernel)
    assert volumes.strays(set()) == []


def test_a_group_of_the_same_number_is_not_taken(volumes: QuotaVolumes, kernel: Kernel) -> None:
    with pytest.raises(Conflict, match="2/100 is there already") as caught:
        volumes.limit(THEIRS, 1000)
    assert "another id" in str(caught.value.mend)
    with pytest.raises(Conflict, match="1/100"):
        volumes.join(WITHIN, OURS)
    volumes.unlimit(THEIRS)
    volumes.remove(volumes._pool / "env/absent", THEIRS)
    volumes.prune(set())
    assert theirs(kernel)


def test_a_project_whose_number_is_taken_has_a_plain_directory(
    volumes: QuotaVolumes, kernel: Kernel, tmp_path: Path
) -> None:
    folder = os.open(tmp_path, os.O_RDONLY)
    try:
        assert volumes.allot(folder, "demo", WITHIN, OURS) is False
    finally:
        os.close(folder)
    assert not (tmp_path / "demo").exists()
    assert theirs(kernel)


def test_one_that_others_make_just_now_is_theirs(volumes: QuotaVolumes, kernel: Kernel) -> None:
    kernel.late.add(OURS)
    with pytest.raises(FileExistsError):
        volumes.limit(OURS, 1000)
    volumes.prune(set())
    assert OURS in kernel.groups


def test_what_a_crash_left_between_note_and_group_goes_on(
    volumes: QuotaVolumes, kernel: Kernel
) -> None:
    kernel.dies = True
    with pytest.raises(KeyboardInterrupt):
        volumes.limit(OURS, 1000)
    volumes.limit(OURS, 2000)
    assert kernel.groups[OURS] == 2000
    assert theirs(kernel)


def test_the_group_of_a_removed_volume_goes_where_it_was_in_one_of_ours(
    volumes: QuotaVolumes, kernel: Kernel
) -> None:
    volumes.limit(OURS, 1000)
    kernel.volumes = {259}
    for one, above in (("0/257", OURS), ("0/258", THEIRS), ("0/259", OURS), ("0/260", None)):
        kernel.groups[one] = None
        if above:
            kernel.pairs.add((one, above))
    volumes.prune({OURS})
    assert {group for group in kernel.groups if group.startswith("0/")} == {
        "0/258", "0/259", "0/260",
    }  # fmt: skip


def test_a_project_s_group_goes_with_what_is_left_in_it_and_not_before(
    volumes: QuotaVolumes, kernel: Kernel
) -> None:
    volumes.join(PROJECT, OURS)
    kernel.groups["0/257"] = None
    kernel.pairs.add(("0/257", PROJECT))
    kernel.volumes = {257}
    assert volumes.drop(PROJECT) is False
    assert volumes._claims.has(PROJECT)
    kernel.volumes = set()
    assert volumes.drop(PROJECT) is True
    assert not kernel.groups.keys() & {PROJECT, "0/257"}
    assert not volumes._claims.has(PROJECT)
    assert volumes.drop(WITHIN) is True  # nothing of ours is of that number
    assert theirs(kernel)


def test_an_id_that_would_share_a_group_is_refused(node: Node) -> None:
    making.create(node, id=nodes.ID, wait=0)
    with pytest.raises(Conflict, match="share one quota group"):
        making.create(node, id=f"{nodes.ID[:-1]}6", wait=0)
    assert [record.id for record in node.records.all()] == [nodes.ID]


class Made(QuotaVolumes):
    """The same where the subvolumes are directories."""

    def create(self, path: Path, group: str) -> None:
        path.mkdir()

    def clone(
        self, source: Path, target: Path, group: str | None = None, apart: object = None
    ) -> None:
        target.mkdir()


def test_groups_whose_notes_are_lost_are_found_by_the_records(
    node: Node, kernel: Kernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(pool._KINDS, "plain", Made)
    making.create(node, id=nodes.ID, wait=0)
    record = node.change(nodes.ID, lambda now: now.allotted(Allotment("demo", 500)))
    project = record.project_group("demo")
    pool.volumes(node).join(project, record.group)
    newcomer = replace(record, id=nodes.OTHER, stage=Stage.CREATING, address="10.9.9.9")
    node.records.save(newcomer)
    guest.home(node.settings, nodes.OTHER).mkdir()
    kernel.groups[newcomer.group] = 7  # another's, of that number
    shutil.rmtree(node.settings.pool / "groups")
    with pytest.raises(Conflict, match="is there already"):
        copies.settle(node, record)
    found = [one for one in doctor.groups(node) if "no note" in one.what]
    assert [one.where for one in found] == [record.group, project]
    assert found[0].mended_now().as_dict()["mended"] is True
    assert list(doctor.groups(node)) == []

    shutil.rmtree(node.settings.pool / "groups")
    assert boot.boot(node)[nodes.ID] == "started"
    copies.settle(node, record)
    assert (kernel.groups[project], kernel.groups[newcomer.group]) == (500, 7)


def test_a_project_group_in_another_s_is_not_claimed(volumes: QuotaVolumes, kernel: Kernel) -> None:
    kernel.groups[OURS] = 1
    assert volumes.unclaimed(OURS, [WITHIN, PROJECT]) == [OURS]


def test_the_groups_of_volumes_without_a_group_go_with_them(
    volumes: QuotaVolumes, kernel: Kernel, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(subvolume_names, "below", lambda _: {"": 300, "inner": 301})
    volumes.clone(tmp_path, tmp_path / "image")
    kernel.volumes = {301}
    kernel.groups |= {"0/300": None, "0/301": None, "0/302": None}
    assert volumes.strays(set()) == []
    volumes.prune(set())
    assert {group for group in kernel.groups if group.startswith("0/")} == {"0/301", "0/302"}
    kernel.volumes = set()
    volumes.prune(set())
    assert "0/301" not in kernel.groups
    assert volumes._claims.all() == []
