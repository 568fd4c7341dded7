"""The kind image: a filesystem that failed is mounted anew where nobody uses it, and only there."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from corpus.hosts import mounts
from corpus.model.errors import Conflict
from corpus.node import boot
from corpus.node.context import Node
from corpus.node.environments import guest, lifecycle, making
from corpus.node.storage import pool
from corpus.node.storage.image import ImageVolumes
from corpus.node.storage.plain import PlainVolumes
from unit.node import nodes


class Disks(PlainVolumes):
    """Directories that are attached as disks are."""

    attach = ImageVolumes.attach
    detach = ImageVolumes.detach
    _disk = ImageVolumes._disk
    _disks = ImageVolumes._disks

    def _mount(self, disk: Path, home: Path) -> None:
        self._host.run(["mount", str(disk), str(home)])


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Node:
    """A node with an environment that runs, and whose filesystem failed."""
    made, host = nodes.make(tmp_path)
    making.create(made, id=nodes.ID, wait=0)
    home = guest.home(made.settings, nodes.ID)
    (made.settings.pool / "disks").mkdir()
    (made.settings.pool / "disks" / f"{nodes.ID}.img").touch()

    def mounted(path: Path) -> bool:
        last = [one for one in host.commands if one[0] in ("mount", "umount")][-1:]
        return path == home and [one[0] for one in last] != ["umount"]

    def failed(path: object) -> SimpleNamespace:
        flag = 0 if nodes.ran(host, "mount") else os.ST_RDONLY
        return SimpleNamespace(f_flag=flag)

    monkeypatch.setitem(pool._KINDS, "plain", Disks)
    monkeypatch.setattr(mounts, "is_point", mounted)
    monkeypatch.setattr(os, "statvfs", failed)
    host.calls[:] = [call for call in host.calls if "lxc-start" in call.argv]
    return made


def test_one_that_runs_keeps_its_filesystem_and_is_told_of(node: Node) -> None:
    for change in (
        lambda: lifecycle.start(node, nodes.ID),
        lambda: pool.volumes(node).attach(guest.home(node.settings, nodes.ID)),
    ):
        with pytest.raises(Conflict, match="failed: it is read-only") as caught:
            change()
        assert "stop it and start it" in str(caught.value.mend)
    assert "failed: it is read-only" in boot.boot(node)[nodes.ID]
    assert [one for one in node.host.commands if one[0] in ("umount", "mount")] == []  # type: ignore


def test_one_that_is_stopped_is_mounted_anew_when_it_starts(node: Node) -> None:
    lifecycle.stop(node, nodes.ID)
    lifecycle.start(node, nodes.ID)
    ran = [one[0] for one in node.host.commands if one[0] in ("umount", "mount")]  # type: ignore
    assert ran == ["umount", "mount"]


def test_at_boot_too_also_one_that_stays_stopped(node: Node) -> None:
    lifecycle.stop(node, nodes.ID)
    with node.lock(nodes.ID):  # somebody works on it
        assert "failed: it is read-only" in boot.boot(node)[nodes.ID]
    assert boot.boot(node)[nodes.ID] == "stopped, as it was"
    assert nodes.ran(node.host, "mount")  # type: ignore[arg-type]
