"""Directories of developers: which ones may be shared, as whom, and what is left of it."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from corpus.hosts import idmap, mounts
from corpus.hosts.idmap import Range
from corpus.model.errors import Conflict, InvalidInput
from corpus.node import boot
from corpus.node.context import Node
from corpus.node.environments import guest, making, removal, shares
from corpus.node.records import Share
from unit.node.nodes import ID, left, make

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="gives files away: needs root")


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return make(tmp_path)[0]


@pytest.fixture
def laptop(tmp_path: Path) -> Path:
    """Return a directory of the developer's, whose ids are 1234 and 1235."""
    path = tmp_path / "home of ann" / "demo"
    path.mkdir(parents=True)
    os.chown(path, 1234, 1235)
    return path


@pytest.fixture
def pinned(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Path, object, object]]:
    """Return what was pinned; nothing is, really."""
    found: list[tuple[Path, object, object]] = []

    def pin(path: Path, users: object, groups: object) -> None:
        path.touch()
        found.append((path, users, groups))

    monkeypatch.setattr(idmap, "pin", pin)
    return found


def test_an_environment_begins_with_the_directory(
    node: Node, laptop: Path, pinned: list[tuple[Path, object, object]]
) -> None:
    made = making.create(
        node, id=ID, platform="dev", share={"demo": str(laptop)}, wait=0, size="1G"
    )
    assert made["share"] == {"demo": str(laptop)}
    (record,) = node.records.all()
    assert record.shares == (Share("demo", str(laptop), 60514),)
    file = guest.ids(node.settings, ID, record.shares[0])
    ((path, users, groups),) = pinned
    assert path == file
    assert users == shares.ranges(1_000_000, 1234, 60514)
    assert groups == shares.ranges(1_000_000, 1235, 60514)
    config = (node.settings.lxcpath / ID / "config").read_text()
    assert (guest.srv(node.settings, ID) / "projects/demo/run").is_dir()
    source = str(laptop).replace(" ", "\\040")
    line = (
        f"lxc.mount.entry = {source} srv/projects/demo/project none bind,nosuid,nodev,idmap={file}"
    )
    assert f"{line} 0 0\n" in config
    assert config.index(" srv none ") < config.index(line)
    assert f"{line} 0 0\n".replace("/project none", "/run none") in config
    root = guest.rootfs(node.settings, ID)
    told = json.loads((root / "etc/corpus/environment.json").read_text())
    assert told["shares"] == {"demo": 60514}
    assert (guest.srv(node.settings, ID) / "projects/demo/project").is_dir()
    removal.destroy(node, ID)
    assert left(node) == []
    assert laptop.is_dir()


def test_another_directory_of_one_that_is_there_is_a_conflict(
    node: Node, laptop: Path, pinned: object
) -> None:
    making.create(node, id=ID, platform="dev", share={"demo": str(laptop)}, wait=0)
    making.create(node, id=ID, platform="dev", wait=0)
    with pytest.raises(Conflict, match="shares"):
        making.create(node, id=ID, platform="dev", share={"other": str(laptop)}, wait=0)


@pytest.mark.parametrize("platform", ["staging", "prod"])
def test_only_developers_share(node: Node, laptop: Path, platform: str) -> None:
    with pytest.raises(InvalidInput, match="shares no directory"):
        making.create(node, platform=platform, share={"demo": str(laptop)}, wait=0)
    assert left(node) == []


@pytest.mark.parametrize(
    ("directory", "why"),
    [
        ("relative", "is no directory"),
        ("{tmp}/absent", "is no directory"),
        ("{tmp}/file", "is no directory"),
        ("{tmp}/link", "is no directory"),
        ("{tmp}/link/demo", "is no directory"),
        ("{laptop}/../demo", "is no directory"),
        ("{laptop}/", "is no directory"),
        ("{laptop}\n", "is no directory"),
        ("/", "belongs to the system"),
        ("/etc", "belongs to the system"),
        ("/usr/share", "belongs to the system"),
        ("{tmp}/corpus/pool", "is the node's own"),
        ("{tmp}", "is the node's own"),
        ("{tmp}/roots", "belongs to the user 0"),
        ("{tmp}/group", "belongs to the group 42"),
        ("{tmp}/guests", "belongs to the user 1000000"),
    ],
)
def test_what_is_not_shared(
    node: Node, tmp_path: Path, laptop: Path, directory: str, why: str
) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to(laptop.parent)
    for name, user, group in (("roots", 0, 0), ("group", 1234, 42), ("guests", 1_000_000, 1234)):
        (tmp_path / name).mkdir()
        os.chown(tmp_path / name, user, group)
    given = directory.format(tmp=tmp_path, laptop=laptop)
    with pytest.raises(InvalidInput, match=why):
        shares.parse(node.settings, "dev", {"demo": given})


def test_a_home_is_not_shared_whole(
    node: Node, laptop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Account:
        pw_dir = str(laptop)

    monkeypatch.setattr(shares.pwd, "getpwall", lambda: [Account])
    with pytest.raises(InvalidInput, match="somebody's home"):
        shares.parse(node.settings, "dev", {"demo": str(laptop)})


def test_names_are_those_of_projects(node: Node, laptop: Path) -> None:
    with pytest.raises(InvalidInput, match="not a project name"):
        shares.parse(node.settings, "dev", {"../x": str(laptop)})
    many = {f"p{number}": str(laptop) for number in range(65)}
    with pytest.raises(InvalidInput, match="too many"):
        shares.parse(node.settings, "dev", many)


def test_each_project_has_an_id_of_its_own(node: Node, laptop: Path) -> None:
    found = shares.parse(node.settings, "dev", {"b": str(laptop), "a": str(laptop)})
    assert [(share.project, share.id) for share in found] == [("a", 60514), ("b", 60515)]


def test_a_directory_that_became_something_else_keeps_one_environment_from_starting(
    node: Node, laptop: Path, pinned: object
) -> None:
    making.create(node, id=ID, platform="dev", share={"demo": str(laptop)}, wait=0)
    laptop.rename(laptop.with_name("moved"))
    laptop.symlink_to("/etc")
    host = make(laptop.parents[1])[1]
    outcome = boot.boot(Node(node.settings, host))
    assert "is no directory" in outcome[ID]


def test_links_in_the_environment_are_not_followed(
    node: Node, laptop: Path, pinned: object, tmp_path: Path
) -> None:
    making.create(node, id=ID, platform="dev", share={"demo": str(laptop)}, wait=0)
    (record,) = node.records.all()
    volume = guest.srv(node.settings, ID)
    (volume / "projects").rename(volume / "aside")
    (volume / "projects").symlink_to(tmp_path)
    with pytest.raises(InvalidInput, match="is no directory"):
        shares.offer(node, record)
    assert not (tmp_path / "demo").exists()


def test_ids() -> None:
    found = shares.ranges(1_000_000, 1234, 60514)
    assert idmap.text(found) == ("1234 1060514 1\n1000000 1000000 60514\n1060515 1060515 5021\n")
    assert sum(one.count for one in found) == guest.IDS


def test_a_pin_holds_until_it_is_let_go(tmp_path: Path) -> None:
    path = tmp_path / "ids"
    idmap.pin(path, [Range(1234, 5678)], [Range(0, 7, 3)])
    try:
        assert mounts.is_point(path)
        idmap.pin(path, [Range(1, 1)], [Range(1, 1)])
        points = mounts.parse(Path("/proc/self/mountinfo").read_text())
        assert points.count(path) == 1
    finally:
        idmap.unpin(path)
    assert not mounts.is_point(path)
    assert not path.exists()
    idmap.unpin(path)
