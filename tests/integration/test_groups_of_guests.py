"""What an environment's root may do to quota groups: their names, their number, their figures."""

from __future__ import annotations

import os
import time
from dataclasses import replace

import pytest

from accounted import ID, root
from accounted import node as node
from accounted import record as record
from corpus.hosts import quota, subvolumes
from corpus.model.errors import Conflict
from corpus.node.context import Node
from corpus.node.doctor import storage as doctor
from corpus.node.environments import guest, listing, projects
from corpus.node.records import Record, group_of
from corpus.node.storage import health, pool

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="mounts a filesystem: needs root")

NEIGHBOUR = "33333333-2222-4333-8444-555555555555"


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
