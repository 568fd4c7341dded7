"""Sizes of projects and what is told of them, on a real btrfs with simple quotas; no guest runs."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from corpus.hosts import quota, subvolumes
from corpus.hosts.local import Local
from corpus.model.errors import Conflict, InvalidInput, NotFound, Unsupported
from corpus.model.mode import Platform
from corpus.node.context import Node
from corpus.node.doctor import storage as doctor
from corpus.node.environments import guest, listing, projects, room
from corpus.node.records import Limits, Record, group_of
from corpus.node.settings import Settings
from corpus.node.storage import health, pool, usage

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="mounts a filesystem: needs root")

MIB, GIB = 1 << 20, 1 << 30
ID = "11111111-2222-4333-8444-555555555555"
NEIGHBOUR = "33333333-2222-4333-8444-555555555555"


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """A node whose pool is a btrfs of 4 GiB in a file; no guest runs on it."""
    host, folder = Local(), tmp_path_factory.mktemp("node")
    settings = Settings(prefix=folder, storage="quota", pool_size="4G", minimum_free="512M")
    for path in (settings.records, settings.lxcpath):
        path.mkdir(parents=True)
    made = Node(settings, host)
    try:
        pool.prepare(made)
    except Unsupported as error:
        pytest.skip(str(error))
    # The kernel cleans removed subvolumes up at a commit, which is else every 30 s.
    host.run(["mount", "-o", "remount,commit=1", str(settings.pool)])
    subvolumes.create(settings.images / "abababababab")
    yield made
    host.run(["umount", "--lazy", str(settings.pool)])
    assert str(settings.pool) not in Path("/proc/self/mountinfo").read_text()
    (folder / "pool.img").unlink()


@pytest.fixture
def record(node: Node) -> Iterator[Record]:
    """An environment of 512 MiB that may grow to 1 GiB; it never starts."""
    limits = Limits(512 * MIB, size_limit=GIB)
    made = Record(ID, Platform.DEV, "abababababab", "10.88.0.12", 22003, 2, limits)
    node.records.save(made)
    home = guest.home(node.settings, ID)
    volumes = pool.volumes(node)
    volumes.make(home, made.group, limits.size, node.settings.images / "abababababab")
    yield made
    volumes.remove(home, made.group)
    node.records.remove(ID)
    deadline = time.monotonic() + 30
    while left := node_groups(made) & set(quota.groups(node.settings.pool)):
        volumes.prune(set())
        assert time.monotonic() < deadline, left
        time.sleep(0.1)


def node_groups(record: Record) -> set[str]:
    return {record.group, *(record.project_group(name) for name in ("demo", "shop", "other"))}


def root(node: Node, name: str = "demo") -> Path:
    return guest.srv(node.settings, ID) / "projects" / name


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


# -- names that a guest gives


@pytest.mark.parametrize("replaced", [False, True])
def test_asking_for_ever_more_projects_leaves_no_more_groups(
    node: Node, record: Record, monkeypatch: pytest.MonkeyPatch, replaced: bool
) -> None:
    monkeypatch.setattr(projects, "MOST", 5)
    folder, done, deadline = root(node).parent, 0, time.monotonic() + 60
    while done < 30 and time.monotonic() < deadline:
        one = folder / f"a{done}"
        try:
            assert projects.make(node, ID, one.name)
            subvolumes.delete(one)
            if replaced:
                one.mkdir()
                assert projects.make(node, ID, one.name) is False
                one.rmdir()
            done += 1
        except Conflict:  # the kernel still cleans up the last ones
            time.sleep(0.2)
        there = [one for one in quota.groups(node.settings.pool) if one.startswith("1/")]
        noted = list((node.settings.pool / "groups").glob("1_*"))
        assert max(len(there), len(noted), len(node.records.get(ID).projects)) <= 5
    assert done == 30


def test_projects_that_are_moved_away_count_on(
    node: Node, record: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(projects, "MOST", 2)
    for name in ("a", "b"):
        assert projects.make(node, ID, name)
        root(node, name).rename(guest.srv(node.settings, ID) / name)
    with pytest.raises(Conflict, match="has 2 projects"):
        projects.make(node, ID, "c")


def test_many_groups_go_in_a_moment(node: Node, record: Record) -> None:
    volumes = pool.volumes(node)
    for number in range(2000):
        volumes.join(f"1/{number + 1}", record.group)
    begun = time.perf_counter()
    volumes.prune({record.group})
    assert "1/2000" in quota.groups(node.settings.pool)
    volumes.prune(set())
    seconds = time.perf_counter() - begun
    print(f"2,000 groups: {seconds:.2f} s")
    assert not [one for one in quota.groups(node.settings.pool) if one.startswith("1/")]
    assert seconds < 5


@pytest.mark.parametrize(
    ("folder", "name"),
    [
        ("a\n0", "1 x y z"),
        ("a\n2", f"{group_of(NEIGHBOUR).removeprefix('2/')} 999999999999 0 5 z"),
        ("deep", "end"),
    ],
)
def test_names_of_subvolumes_are_no_figures(
    node: Node, record: Record, folder: str, name: str
) -> None:
    """As lines of a listing they would be a figure that is none, a neighbour's, or too long."""
    neighbour = replace(record, id=NEIGHBOUR, address="10.88.0.13", slot=3)
    node.records.save(neighbour)
    place = guest.srv(node.settings, ID) / folder
    place.mkdir()
    handle = os.open(place, os.O_RDONLY)
    try:
        for _ in range(30 if folder == "deep" else 0):
            os.mkdir("d" * 200, dir_fd=handle)
            within = os.open("d" * 200, os.O_RDONLY, dir_fd=handle)
            os.close(handle)
            handle = within
        subvolumes.create_in(handle, name, record.group)
    finally:
        os.close(handle)
    try:
        listed = {one["id"]: one["used"] for one in listing.listed(node)}
        assert (listed[ID] is not None, listed[NEIGHBOUR]) == (True, None)
        own = health.health(node)["shared"]["environments"]
        assert own == listed[ID]
        assert not [one for one in doctor.pool_health(node) if "not be looked" in one.what]
        pool.volumes(node).prune({record.group})
    finally:
        node.records.remove(NEIGHBOUR)


# -- it stays quick


def test_a_list_takes_no_longer_with_many_volumes(node: Node, record: Record) -> None:
    """50 environments, of which one has 2,000 subvolumes."""
    others = [replace(record, id=f"{n:08}{ID[8:]}", address=f"10.88.1.{n}") for n in range(49)]
    place = guest.srv(node.settings, ID) / "many"
    place.mkdir()
    handle = os.open(place, os.O_RDONLY)
    for number in range(2000):
        subvolumes.create_in(handle, str(number), record.group)
    os.close(handle)
    for other in others:
        node.records.save(other)
    try:
        taken = {}
        for name, what in (
            ("list", lambda: listing.listed(node)),
            ("health", lambda: health.health(node)),
            ("prune", lambda: pool.volumes(node).prune({record.group})),
        ):
            begun = time.perf_counter()
            what()
            taken[name] = time.perf_counter() - begun
        print(", ".join(f"{name}: {seconds * 1e3:.0f} ms" for name, seconds in taken.items()))
        assert max(taken.values()) < 1
    finally:
        for other in others:
            node.records.remove(other.id)


def test_usage_takes_as_long_with_many_files_and_grows_little_with_volumes(
    node: Node, record: Record
) -> None:
    place = project(node)

    def seconds() -> float:
        taken = []
        for _ in range(5):
            begun = time.perf_counter()
            usage.usage(node, ID)
            taken.append(time.perf_counter() - begun)
        return min(taken)

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
