"""What copies hold is accounted to whose it is, and no limit keeps one from being removed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import pytest

from corpus.hosts import nested
from corpus.node import boot
from corpus.node.context import Node
from corpus.node.environments import cloning, snapshots
from corpus.node.records import Allotment
from corpus.node.storage import pool
from corpus.node.storage.plain import PlainVolumes
from unit.node import nodes
from unit.node.copied import node as node


class Accounted(PlainVolumes):
    """Directories, with what would be accounted to which group, and the limits at each moment."""

    kind = "quota"
    apart = True
    groups: ClassVar[list[tuple[str, dict[bytes, str]]]]
    limits: ClassVar[dict[str, int]]
    deleted: ClassVar[list[dict[str, int]]]

    def clone(
        self, source: Path, target: Path, group: str | None = None,
        apart: Mapping[bytes, str] = nested.NONE,
    ) -> None:  # fmt: skip
        super().clone(source, target, group, apart)
        self.groups.append((str(group), dict(apart)))

    def join(self, group: str, within: str) -> None:
        self.limits.setdefault(within, 0)

    def limit(self, group: str, size: int) -> None:
        self.limits[group] = size

    def delete(self, path: Path) -> None:
        if path.exists():
            self.deleted.append(dict(self.limits))
        super().delete(path)


@pytest.fixture
def accounted(node: Node, monkeypatch: pytest.MonkeyPatch) -> type[Accounted]:
    monkeypatch.setitem(pool._KINDS, "plain", Accounted)
    for name, value in (("groups", []), ("limits", {}), ("deleted", [])):
        monkeypatch.setattr(Accounted, name, value, raising=False)
    projects = (Allotment("demo", 1 << 30), Allotment("free"))
    node.change(nodes.ID, lambda now: now.changed(projects=projects))
    return Accounted


def test_what_a_restore_brings_back_counts_for_its_project(
    node: Node, accounted: type[Accounted]
) -> None:
    record = node.records.get(nodes.ID)
    apart = {f"projects/{p}".encode(): record.project_group(p) for p in ("demo", "free")}
    snapshots.take(node, nodes.ID, "first")
    assert accounted.groups == [(record.group, {})] * 2
    snapshots.restore(node, nodes.ID, "first")
    assert accounted.groups[2:] == [(record.group, {}), (record.group, apart)]


def test_a_full_project_does_not_keep_a_snapshot_from_being_removed(
    node: Node, accounted: type[Accounted]
) -> None:
    record = node.records.get(nodes.ID)
    snapshots.take(node, nodes.ID, "first")
    snapshots.restore(node, nodes.ID, "first")
    accounted.deleted.clear()
    snapshots.restore(node, nodes.ID, "first")  # what the first one took the place of goes
    assert accounted.deleted
    for limits in accounted.deleted:
        assert limits[record.project_group("demo")] > 1 << 30
        assert limits[record.group] > record.limits.size
    assert accounted.limits[record.project_group("demo")] == 1 << 30
    assert accounted.limits[record.group] == record.limits.size


def test_room_that_a_killed_copy_had_is_taken_back_at_boot(
    node: Node, accounted: type[Accounted]
) -> None:
    record = node.records.get(nodes.ID)
    accounted.limits.update({record.group: 1 << 50, record.project_group("demo"): 1 << 50})
    boot.boot(node)
    assert accounted.limits == {
        record.group: record.limits.size,
        record.project_group("demo"): 1 << 30,
    }


def test_a_copy_has_its_projects_accounted_to_itself(
    node: Node, accounted: type[Accounted]
) -> None:
    cloning.clone(node, nodes.ID, new=nodes.OTHER, wait=0)
    copy = node.records.get(nodes.OTHER)
    assert copy.projects == node.records.get(nodes.ID).projects
    apart = {f"projects/{p}".encode(): copy.project_group(p) for p in ("demo", "free")}
    assert accounted.groups[-1] == (copy.group, apart)
    assert accounted.limits[copy.project_group("demo")] == 1 << 30
    assert copy.project_group("free") not in accounted.limits
