"""Sizes of projects and what is told of them, on a real btrfs with simple quotas; no guest runs."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from accounted import GIB, ID, MIB, root
from accounted import node as node
from accounted import record as record
from corpus.hosts import subvolumes
from corpus.hosts.local import Local
from corpus.model.errors import Conflict, InvalidInput, NotFound
from corpus.node.context import Node
from corpus.node.environments import projects, room
from corpus.node.records import Record
from corpus.node.storage import usage
from patience import quickest

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="mounts a filesystem: needs root")


def fill(path: Path, size: int) -> int:
    """Write until ``size`` bytes or the limit; return what went in."""
    written = 0
    try:
        with path.open("wb", buffering=0) as file:
            while written < size:
                written += file.write(os.urandom(MIB))
            os.fsync(file.fileno())
    except OSError as error:
        if error.errno not in (errno.EDQUOT, errno.ENOSPC):
            raise
    return written


def project(node: Node, name: str = "demo") -> Path:
    """Make a project with its parts, as an environment does."""
    assert projects.make(node, ID, name)
    place = root(node, name)
    for part in ("data", "run", "releases"):
        subvolumes.create(place / part)
    (place / "archives/one").mkdir(parents=True)
    return place


def told(node: Node) -> dict[str, Any]:
    os.sync()
    return usage.usage(node, ID)[0]


def test_a_project_is_accounted_with_all_that_is_made_in_it(node: Node, record: Record) -> None:
    place = project(node)
    assert projects.make(node, ID, "demo")  # again, as after a crash
    for part, size in (("data", 20), ("run", 10), ("releases", 5), ("", 3)):
        assert fill(place / part / "file", size * MIB) == size * MIB
    subvolumes.snapshot(place / "data", place / "archives/one/data")
    assert fill(place / "archives/one/data/more", 4 * MIB) == 4 * MIB
    found = told(node)["projects"]["demo"]
    for part, size in (("data", 20), ("run", 10), ("releases", 5), ("archives", 4), ("other", 3)):
        assert size * MIB <= found[part] < (size + 1) * MIB, (part, found)
    assert 42 * MIB <= found["used"] < 44 * MIB
    assert (found["accounted"], found["size"], found["shared"]) == (True, None, 0)
    used = room.room(node, node.records.get(ID), "demo").used
    assert used is not None
    assert abs(used - found["used"]) < MIB


def test_what_a_removed_volume_wrote_and_a_copy_holds_is_shared(node: Node, record: Record) -> None:
    place = project(node)
    fill(place / "run/file", 30 * MIB)
    subvolumes.snapshot(place / "run", place / "archives/one/run")
    subvolumes.delete(place / "run")
    Local().run(["btrfs", "subvolume", "sync", str(node.settings.pool)])
    found = told(node)["projects"]["demo"]
    assert found["run"] == 0
    assert 30 * MIB <= found["shared"] < 31 * MIB
    assert found["used"] >= 30 * MIB


def test_neither_limit_is_passed_and_the_tighter_one_is_told(node: Node, record: Record) -> None:
    place, other = project(node), project(node, "other")
    room.allot(node, ID, "demo", "100M")
    subvolumes.create(place / "deeper")
    assert 90 * MIB < fill(place / "data/file", 200 * MIB) <= 100 * MIB
    assert fill(place / "deeper/file", 50 * MIB) < 5 * MIB
    assert fill(other / "data/file", 150 * MIB) == 150 * MIB
    now = node.records.get(ID)
    assert room.tighter(node, now, "demo").size == 100 * MIB
    assert room.tighter(node, now, "other").size == 512 * MIB
    assert fill(other / "data/more", 500 * MIB) < 300 * MIB
    room.allot(node, ID, "demo", "900M")
    assert room.tighter(node, now, "demo").size == 512 * MIB
    room.allot(node, ID, "demo", "none")
    assert node.records.get(ID).allotment("demo").size is None  # type: ignore[union-attr]
    assert room.room(node, node.records.get(ID), "demo").size == 512 * MIB


def test_trim_to_what_is_used_and_no_further(node: Node, record: Record) -> None:
    place = project(node)
    fill(place / "data/file", 200 * MIB)
    os.sync()
    for name in ("", "demo"):
        if name:
            room.allot(node, ID, name, "480M")
        with pytest.raises(Conflict, match=r"20\d(\.\d)?M are used already, and 32M are kept"):
            room.trim(node, ID, "220M", name)
        assert room.trim(node, ID, "300M", name, test=True).changes
        assert room.room(node, node.records.get(ID), name).size != 300 * MIB
        room.trim(node, ID, "300M", name)
        assert room.room(node, node.records.get(ID), name).size == 300 * MIB
    assert 60 * MIB < fill(place / "data/more", 200 * MIB) <= 100 * MIB
    with pytest.raises(Conflict) as refused:
        room.trim(node, ID, "100M")
    assert "demo: " in str(refused.value.mend)
    assert "in archives and releases" in str(refused.value.mend)


def test_a_deployment_raises_both_sizes_up_to_their_limits(node: Node, record: Record) -> None:
    place = project(node)
    room.allot(node, ID, "demo", "100M")
    fill(place / "data/file", 60 * MIB)
    assert room.make_room(node, ID, 600 * MIB, "demo").free >= 600 * MIB
    now = node.records.get(ID)
    assert now.limits.size == GIB
    assert now.allotment("demo").size == GIB  # type: ignore[union-attr]
    with pytest.raises(Conflict, match="may have 1G at the most"):
        room.make_room(node, ID, GIB, "demo")
    room.trim(node, ID, "128M", "demo")
    room.allot(node, ID, "demo", size_limit="200M")
    with pytest.raises(Conflict, match="this project may have 200M at the most"):
        room.make_room(node, ID, 300 * MIB, "demo")
    assert room.make_room(node, ID, 100 * MIB, "demo").size == 200 * MIB


# -- what stands in the way


def test_a_plain_directory_stays_one_and_is_said_to_be(node: Node, record: Record) -> None:
    root(node).mkdir(parents=True)
    assert projects.make(node, ID, "demo") is False
    subvolumes.create(root(node, "shop"))  # made by the guest itself: its group is another
    assert projects.make(node, ID, "shop") is False
    fill(root(node, "shop") / "file", 5 * MIB)
    found = told(node)["projects"]["shop"]
    assert (found["accounted"], found["other"] >= 5 * MIB) == (False, True)
    assert node.records.get(ID).projects == ()
    with pytest.raises(NotFound, match=r"no project shop .* accounted by itself"):
        room.allot(node, ID, "shop", "100M")


@pytest.mark.parametrize("trap", ["projects", "name", "dangling", "file"])
def test_links_of_a_guest_lead_nowhere(
    node: Node, record: Record, tmp_path: Path, trap: str
) -> None:
    victim = node.settings.pool / f"victim-{trap}"
    victim.mkdir()
    folder = root(node).parent
    if trap == "projects":
        folder.symlink_to(victim)
        with pytest.raises(InvalidInput, match="no directory"):
            projects.make(node, ID, "demo")
    else:
        folder.mkdir()
        if trap == "file":
            root(node).touch()
        else:
            root(node).symlink_to(victim if trap == "name" else victim / "absent")
        assert projects.make(node, ID, "demo") is False
    assert list(victim.iterdir()) == []
    victim.rmdir()


# -- it stays quick


def test_usage_takes_as_long_with_many_files_and_grows_little_with_volumes(
    node: Node, record: Record
) -> None:
    place = project(node)

    def seconds() -> float:
        return quickest(lambda: usage.usage(node, ID), 25)

    few = seconds()
    for number in range(2000):
        (place / f"data/{number}").write_bytes(b"x" * 100)
    os.sync()
    files = seconds()
    for number in range(40):
        subvolumes.create(place / f"archives/one/{number}")
    volumes = seconds()
    print(
        f"usage: {few * 1e3:.1f} ms, 2,000 files {files * 1e3:.1f}, 40 volumes {volumes * 1e3:.1f}"
    )
    assert files < 2 * few + 0.005
    assert volumes < few + 0.04
    assert len(usage.usage(node)) == 1
