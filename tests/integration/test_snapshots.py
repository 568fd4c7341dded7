"""Deployments on a real btrfs: run/ and data/ are snapshots, and come back by exchange."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from corpus.hosts import kernel, subvolumes
from corpus.hosts.local import Local
from corpus.model.errors import Conflict
from corpus.project import trees
from corpus.project.trees import Way
from projects import Phases, Scratch, copy_to_run, digest, fail, fork

HOST = Local()


@pytest.fixture
def place(btrfs: Path, request: pytest.FixtureRequest) -> Iterator[Path]:
    """Return a subvolume of this test's own."""
    path = btrfs / request.node.name
    subvolumes.create(path)
    yield path
    trees.remove(path)
    assert not path.exists()


def test_a_snapshot_is_the_way(place: Path) -> None:
    assert trees.way_of(place, HOST) is Way.SNAPSHOT
    source, target = place / "source", place / "target"
    trees.make(source)
    assert subvolumes.is_subvolume(source)
    (source / "db").write_text("one")
    trees.copy(source, target, Way.SNAPSHOT, HOST)
    assert subvolumes.is_subvolume(target)
    assert digest(target) == digest(source)
    (source / "db").write_text("two")
    assert (target / "db").read_text() == "one"


@pytest.mark.parametrize("way", [Way.SNAPSHOT, Way.REFLINK])
def test_a_plain_directory_becomes_a_subvolume_by_reflinks(place: Path, way: Way) -> None:
    source, target = place / "source", place / "target"
    source.mkdir()
    (source / "big").write_bytes(os.urandom(1 << 20))
    trees.copy(source, target, way, HOST)
    assert subvolumes.is_subvolume(target)
    assert digest(target) == digest(source)
    assert not (place / "target.partial").exists()


def test_live_then_rolled_back(place: Path) -> None:
    scratch = Scratch(place)
    assert subvolumes.is_subvolume(scratch.paths.data)
    (scratch.paths.data / "db").write_text("of version 1\n")
    first = scratch.commit({"app": "version 1\n", ".salt/top.sls": ""})
    done = scratch.deploy(first, Phases(build=copy_to_run))
    assert done.outcome == "live", done.text
    assert "data backed up by snapshot" in done.text
    before = scratch.digests()

    def damage(common: dict[str, Any]) -> None:
        Path(common["paths"]["data"], "db").write_text("damaged\n")
        fail(common)

    second = scratch.commit({"app": "version 2\n"})
    done = scratch.deploy(second, Phases(build=copy_to_run, post_install=damage))
    assert done.outcome == "rolled_back", done.text
    assert scratch.digests() == before
    assert subvolumes.is_subvolume(scratch.paths.data)
    assert subvolumes.is_subvolume(scratch.paths.run)
    scratch.assert_clean()


def test_data_that_a_snapshot_would_lack_is_refused(place: Path) -> None:
    scratch = Scratch(place)
    subvolumes.create(scratch.paths.data / "own")
    (scratch.paths.data / "own" / "db").write_text("kept\n")
    done = scratch.deploy(scratch.commit({"app": "1", ".salt/top.sls": ""}), Phases())
    assert done.outcome == "refused", done.text
    assert "subvolumes of its own" in done.text
    assert (scratch.paths.data / "own" / "db").read_text() == "kept\n"


def test_what_is_mounted_in_a_subvolume_is_neither_exchanged_nor_emptied(place: Path) -> None:
    scratch = Scratch(place)
    first = scratch.commit({"app": "1", ".salt/top.sls": ""})
    assert scratch.deploy(first, Phases(build=copy_to_run)).outcome == "live"
    disk, media = place / "disk", scratch.paths.data / "media"
    disk.mkdir()
    media.mkdir()
    (disk / "precious").write_text("kept\n")
    kernel.bind_mount(disk, media)
    try:
        second = scratch.commit({"app": "2"})
        done = scratch.deploy(second, Phases(build=copy_to_run, post_install=fail))
        assert done.outcome == "refused", done.text
        assert (media / "precious").read_text() == "kept\n"
        with pytest.raises(Conflict, match="something is mounted"):
            trees.remove(scratch.paths.data)
    finally:
        kernel.unmount(media)
    assert (disk / "precious").read_text() == "kept\n"


def test_killed_after_the_exchange_of_data(place: Path) -> None:
    """The label that recovery knows the restored data by is on the snapshot, not on its source."""
    scratch = Scratch(place)
    (scratch.paths.data / "db").write_text("of version 1\n")
    first = scratch.commit({"app": "version 1\n", ".salt/top.sls": ""})
    scratch.deploy(first, Phases(build=copy_to_run))
    before = scratch.digests()
    second = scratch.commit({"app": "version 2\n"})
    exchange = kernel.exchange

    def deadly(one: Path, other: Path) -> None:
        exchange(one, other)
        if other.name == "data":
            os.kill(os.getpid(), signal.SIGKILL)

    def damage(common: dict[str, Any]) -> None:
        Path(common["paths"]["data"], "db").write_text("damaged\n")
        fail(common)

    def work() -> None:
        kernel.exchange = deadly
        scratch.deploy_here(second, Phases(build=copy_to_run, post_install=damage))

    _, status = os.waitpid(fork(work), 0)
    assert status == signal.SIGKILL
    ending = scratch.recover(Phases())
    assert ending is not None
    assert ending.outcome == "rolled_back"
    assert scratch.digests() == before
    archive = scratch.paths.archive(scratch.ledger[-1].deployment)
    assert (archive.data_failed / "db").read_text() == "damaged\n"
    scratch.assert_clean()


def test_pruning_removes_snapshots(place: Path) -> None:
    scratch = Scratch(place)
    runner = Phases({"retention": {"good": 1, "failed": 0}}, build=copy_to_run)
    for number in range(3):
        commit = scratch.commit({"app": f"{number}", ".salt/top.sls": ""})
        assert scratch.deploy(commit, runner).outcome == "live"
    listed = HOST.run(["btrfs", "subvolume", "list", "-o", str(place)]).out
    stay = [entry.id for entry in scratch.ledger[-2:]]  # the live one, and what one goes back to
    kept = [line for line in listed.splitlines() if "/archives/" in line or "/deploy/" in line]
    assert kept
    assert all(any(identity in line for identity in stay) for line in kept)
