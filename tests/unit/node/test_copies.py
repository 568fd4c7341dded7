"""Snapshots, restores and copies of environments on a plain pool: what is there after each."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import pytest

from corpus.hosts import nested
from corpus.hosts.fake import Fake
from corpus.model.errors import CommandFailed, Conflict, CorpusError, InvalidInput, NotFound
from corpus.model.mode import Platform
from corpus.node import boot
from corpus.node.context import Node
from corpus.node.environments import (
    cloning,
    guest,
    lifecycle,
    listing,
    making,
    removal,
    renewing,
    snapshots,
)
from corpus.node.records import Allotment, Limits, Pair, Role, Share, Stage
from corpus.node.storage import pool
from corpus.node.storage.plain import PlainVolumes
from unit.node import nodes


class Killed(BaseException):
    """What no clearing-up sees: the process is gone."""


@pytest.fixture
def node(tmp_path: Path) -> Node:
    made, _ = nodes.make(tmp_path)
    making.create(made, id=nodes.ID, hosts=["a.example"], wait=0)
    write(made, "one")
    return made


def write(node: Node, text: str, id: str = nodes.ID) -> None:
    (guest.srv(node.settings, id) / "file").write_text(text)
    (guest.rootfs(node.settings, id) / "file").write_text(text)


def read(node: Node, id: str = nodes.ID) -> str:
    found = {
        (place / "file").read_text()
        for place in (guest.srv(node.settings, id), guest.rootfs(node.settings, id))
    }
    assert len(found) == 1
    return found.pop()


def held(node: Node) -> list[str]:
    """All names in the directory of the snapshots."""
    place = snapshots.folder(node.settings, nodes.ID)
    return sorted(path.name for path in place.iterdir()) if place.exists() else []


# -- snapshots


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


def test_a_plain_environment_goes_however_deep_its_root_has_made_it(node: Node) -> None:
    handle = os.open(guest.srv(node.settings, nodes.ID), os.O_RDONLY)
    for _ in range(1200):
        os.mkdir("d" * 10, dir_fd=handle)
        inner = os.open("d" * 10, os.O_RDONLY, dir_fd=handle)
        os.close(handle)
        handle = inner
    os.close(handle)
    assert removal.destroy(node, nodes.ID)
    assert nodes.left(node) == []


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


def test_a_front_that_was_put_back_takes_what_has_changed_since(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    snapshots.take(node, nodes.ID, "first")
    followed = list[str]()
    monkeypatch.setattr(lifecycle, "follow", lambda node, record: followed.append(record.id))
    snapshots.restore(node, nodes.ID, "first")
    assert followed == [nodes.ID]


def test_a_restore_brings_both_volumes_back_and_can_be_undone(node: Node) -> None:
    snapshots.take(node, nodes.ID, "first")
    write(node, "two")
    snapshots.restore(node, nodes.ID, "first")
    assert read(node) == "one"
    assert held(node) == ["before-restore", "first"]
    snapshots.restore(node, nodes.ID, snapshots.AUTOMATIC)
    assert read(node) == "two"
    assert held(node) == ["before-restore", "first"]
    snapshots.restore(node, nodes.ID, snapshots.AUTOMATIC)
    assert read(node) == "one"
    assert listing.inspect(node, nodes.ID)["state"] == "running"


def test_a_snapshot_tells_of_what_was(node: Node) -> None:
    made = snapshots.take(node, nodes.ID, "first", freeze=False)
    assert (made["name"], made["frozen"], made["image"]) == ("first", False, "ab" * 6)
    assert made["limits"]["size"] == 5 << 30
    assert snapshots.listed(node, nodes.ID) == [made]
    assert listing.inspect(node, nodes.ID)["snapshots"] == ["first"]


def test_the_image_is_put_back_and_the_rest_of_the_record_stays(node: Node) -> None:
    snapshots.take(node, nodes.ID, "first")
    node.change(nodes.ID, lambda now: now.changed(image="cd" * 6, ssh_port=22077))
    snapshots.restore(node, nodes.ID, "first")
    record = node.records.get(nodes.ID)
    assert (record.image, record.ssh_port) == ("ab" * 6, 22077)
    assert [route.host for route in record.routes] == ["a.example"]


def test_a_stopped_one_stays_stopped(node: Node) -> None:
    snapshots.take(node, nodes.ID, "first")
    lifecycle.stop(node, nodes.ID)
    snapshots.restore(node, nodes.ID, "first")
    assert listing.inspect(node, nodes.ID)["state"] == "stopped"


def test_deleting_a_snapshot_may_be_done_again(node: Node) -> None:
    snapshots.take(node, nodes.ID, "first")
    assert snapshots.plan_delete(node, nodes.ID, "first") != []
    assert snapshots.delete(node, nodes.ID, "first") is True
    assert snapshots.plan_delete(node, nodes.ID, "first") == []
    assert snapshots.delete(node, nodes.ID, "first") is False
    assert held(node) == []


@pytest.mark.parametrize("name", ["", ".new", "../x", "A", "a" * 64, "a/b", None, "before-restore"])
def test_names_are_checked(node: Node, name: str) -> None:
    for call in (snapshots.take, snapshots.plan_take):
        with pytest.raises(InvalidInput):
            call(node, nodes.ID, name)
    assert held(node) == []


def test_what_is_there_or_is_not(node: Node) -> None:
    snapshots.take(node, nodes.ID, "first")
    for take in (snapshots.take, snapshots.plan_take):
        with pytest.raises(Conflict, match="has a snapshot first"):
            take(node, nodes.ID, "first")
    for restore in (snapshots.restore, snapshots.plan_restore):
        with pytest.raises(NotFound, match="there: first"):
            restore(node, nodes.ID, "other")


def test_a_plan_of_a_restore_touches_nothing(node: Node) -> None:
    snapshots.take(node, nodes.ID, "first")
    said = snapshots.plan_restore(node, nodes.ID, "first")
    assert [line.split()[0] for line in said] == ["stop", "keep", "put", "start"]
    assert held(node) == ["first"]
    assert nodes.ran(_host(node), "lxc-stop") == []


def test_a_snapshot_that_fails_leaves_nothing_and_thaws(node: Node) -> None:
    _host(node).prepare_failure("cp", err="no space")
    with pytest.raises(CommandFailed, match="no space"):
        snapshots.take(node, nodes.ID, "first")
    assert held(node) == []
    assert listing.inspect(node, nodes.ID)["state"] == "running"


def test_a_restore_that_fails_before_the_exchange_leaves_all_as_it_was(node: Node) -> None:
    snapshots.take(node, nodes.ID, "first")
    write(node, "two")
    _host(node).prepare_failure("cp", err="no space")
    with pytest.raises(CommandFailed, match="no space"):
        snapshots.restore(node, nodes.ID, "first")
    assert (read(node), held(node)) == ("two", ["first"])
    assert node.records.get(nodes.ID).stage is Stage.READY


STEPS = range(24)


@pytest.mark.parametrize("again", ["settle", "boot", "create"])
def test_a_restore_killed_anywhere_ends_right(
    node: Node, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, again: str
) -> None:
    """Killed before each rename, save and start in turn, all of it is old, or all of it new."""
    snapshots.take(node, nodes.ID, "first")
    ends = set()
    for step in STEPS:
        write(node, "two")
        with monkeypatch.context() as patch:
            _die_at(patch, step)
            try:
                snapshots.restore(node, nodes.ID, "first")
                ends.add("whole")
            except Killed:
                ends.add(str(node.records.get(nodes.ID).stage))
        if again == "boot":
            assert not boot.boot(node)[nodes.ID].startswith(("failed", "removed"))
        elif again == "create":
            making.create(node, id=nodes.ID, wait=0)
        else:
            snapshots.settle(node, nodes.ID)
            lifecycle.start(node, nodes.ID)
        assert node.records.get(nodes.ID).stage is Stage.READY
        restored = snapshots.AUTOMATIC in held(node)
        assert read(node) == ("one" if restored else "two")
        if restored:
            snapshots.delete(node, nodes.ID, snapshots.AUTOMATIC)
        snapshots.tidy(node, nodes.ID)
        assert held(node) == ["first"]
    assert ends == {"ready", "restoring", "whole"}


def _die_at(patch: pytest.MonkeyPatch, step: int) -> None:
    """Have the ``step``-th of the moments at which something becomes visible never come."""
    left = [step]

    def counted(function: object) -> object:
        def call(*args: object, **kwargs: object) -> object:
            left[0] -= 1
            if left[0] < 0:
                raise Killed
            return function(*args, **kwargs)  # type: ignore[operator]

        return call

    patch.setattr(Path, "rename", counted(Path.rename))
    patch.setattr(snapshots.copies, "copy", counted(snapshots.copies.copy))
    patch.setattr(snapshots.copies, "delete", counted(snapshots.copies.delete))
    patch.setattr(lifecycle, "halt", counted(lifecycle.halt))
    patch.setattr(lifecycle, "bring_up", counted(lifecycle.bring_up))
    patch.setattr(Node, "change", counted(Node.change))


def test_one_left_half_way_is_not_used_meanwhile(node: Node) -> None:
    node.change(nodes.ID, lambda now: now.changed(stage=Stage.RESTORING))
    with pytest.raises(Conflict, match=r"half-way \(restoring\)(.|\n)*start"):
        lifecycle.stop(node, nodes.ID)


def test_snapshots_go_with_the_environment(node: Node) -> None:
    snapshots.take(node, nodes.ID, "first")
    assert removal.destroy(node, nodes.ID) != []
    assert nodes.left(node) == []


# -- copies


def keys_of(node: Node, id: str) -> None:
    """Put in place what speaks for an environment, as a running one has it."""
    root, srv = guest.rootfs(node.settings, id), guest.srv(node.settings, id)
    for path in renewing.SECRETS:
        (root / path).mkdir(parents=True, exist_ok=True)
        (root / path / "secret").write_text("speaks for the original")
    (root / "etc/ssh").mkdir(parents=True, exist_ok=True)
    for name in ("ssh_host_ed25519_key", "ssh_host_ed25519_key.pub", "sshd_config"):
        (root / "etc/ssh" / name).write_text(name)
    (root / "etc/corpus/keys/guestbook").parent.mkdir(parents=True, exist_ok=True)
    (root / "etc/corpus/keys/guestbook").write_text("a developer's")
    (root / "etc/machine-id").write_text("0123")
    state = srv / "projects/guestbook/.corpus"
    (state / "outbox").mkdir(parents=True)
    (state / "outbox/1.0").write_text("{}")
    (state / "notify.json").write_text("{}")
    (state / "ledger.jsonl").write_text("{}")


def test_a_copy_has_all_but_what_speaks_for_the_original(node: Node) -> None:
    keys_of(node, nodes.ID)
    node.change(nodes.ID, lambda now: now.changed(pairs=(Pair("guestbook", nodes.OTHER),)))
    made = cloning.clone(node, nodes.ID, new=nodes.OTHER, keys=[nodes.KEY], wait=0)
    assert read(node, nodes.OTHER) == "one"
    assert (made["id"], made["state"], made["routes"]) == (nodes.OTHER, "running", [])
    assert (made["pairs"], made["address"], made["ssh_port"]) == ([], "10.88.0.11", 22002)
    assert node.records.get(nodes.OTHER).slot == 1
    root = guest.rootfs(node.settings, nodes.OTHER)
    assert [path for path in renewing.SECRETS if (root / path).exists()] == []
    assert [path.name for path in (root / "etc/ssh").iterdir()] == ["sshd_config"]
    assert (root / "etc/machine-id").read_text() == ""
    assert (root / "etc/corpus/keys/guestbook").read_text() == "a developer's"
    assert (root / "etc/hostname").read_text() == "staging-99999999\n"
    assert (root / "etc/salt/minion_id").read_text() == f"{nodes.OTHER}\n"
    assert json.loads((root / "etc/corpus/environment.json").read_text())["id"] == nodes.OTHER
    assert (root / "root/.ssh/authorized_keys").read_text() == f"{nodes.KEY}\n"
    state = guest.srv(node.settings, nodes.OTHER) / "projects/guestbook/.corpus"
    assert [path.name for path in state.iterdir()] == ["ledger.jsonl"]
    for path in renewing.SECRETS:  # the original is as it was
        assert (guest.rootfs(node.settings, nodes.ID) / path / "secret").exists()


def test_a_copy_of_a_proxy_is_a_proxy(node: Node) -> None:
    node.change(nodes.ID, lambda now: now.changed(role=Role.PROXY, routes=(), front=True))
    with pytest.raises(InvalidInput, match="no host name leads to a proxy"):
        cloning.clone(node, nodes.ID, hosts=["b.example"], wait=0)
    cloning.clone(node, nodes.ID, new=nodes.OTHER, wait=0)
    copy = node.records.get(nodes.OTHER)
    assert (copy.role, copy.front) == (Role.PROXY, False)


def test_a_hostile_tree_leads_nowhere(node: Node, tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    for name in ("corpus", "ssh", "salt/pki", ".corpus/outbox"):
        (mine / name).mkdir(parents=True)
        (mine / name / "ssh_host_key").write_text("the node's")
    root, srv = guest.rootfs(node.settings, nodes.ID), guest.srv(node.settings, nodes.ID)
    (root / "etc/corpus/environment.json").unlink()
    (root / "etc/corpus").rmdir()
    (root / "etc/corpus").symlink_to(mine / "corpus")
    (root / "etc/ssh").symlink_to(mine / "ssh")
    (srv / "projects").mkdir()
    (srv / "projects/guestbook").symlink_to(mine)
    with pytest.raises(CorpusError, match="its own identity"):
        cloning.clone(node, nodes.ID, new=nodes.OTHER, wait=0)
    assert len(list(mine.rglob("ssh_host_key"))) == 4
    assert len([path for path in mine.rglob("*") if path.is_file()]) == 4
    assert node.records.find(nodes.OTHER) is None
    assert not guest.home(node.settings, nodes.OTHER).exists()


@pytest.mark.parametrize(
    ("original", "asked", "becomes"),
    [
        (Platform.PROD, "staging", Platform.STAGING),
        (Platform.PROD, None, Platform.PROD),
        (Platform.STAGING, "prod", None),
        (Platform.STAGING, "dev", None),
        (Platform.PROD, "dev", None),
        (Platform.DEV, "staging", None),
    ],
)
def test_which_type_a_copy_may_be_of(
    original: Platform, asked: str | None, becomes: Platform | None
) -> None:
    if becomes is None:
        with pytest.raises(InvalidInput, match="a copy of a"):
            cloning.type_of_copy(original, asked)
    else:
        assert cloning.type_of_copy(original, asked) is becomes


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"hosts": ["a.example"]}, "leads to environment"),
        ({"new": nodes.ID}, "is there"),
        ({"address": "10.88.0.10"}, "is taken by"),
        ({"ssh_port": 22001}, "is taken by"),
        ({"platform": "prod"}, "a copy of a staging"),
        ({"keys": ["rubbish"]}, "not an SSH public key"),
        ({"size": "1K"}, "too small"),
    ],
)
def test_what_is_refused_leaves_nothing(node: Node, given: dict[str, object], why: str) -> None:
    before = nodes.left(node)
    for call in (cloning.clone, cloning.changes):
        with pytest.raises(CorpusError, match=why):
            call(node, nodes.ID, **given)  # type: ignore[operator]
    assert nodes.left(node) == before


def test_what_shares_directories_has_no_copy(node: Node) -> None:
    share = Share("demo", "/home/ann/demo", 60514)
    node.change(nodes.ID, lambda now: now.changed(shares=(share,)))
    with pytest.raises(InvalidInput, match="shares directories"):
        cloning.clone(node, nodes.ID, wait=0)


def test_a_copy_that_fails_is_taken_away_and_the_original_goes_on(node: Node) -> None:
    _host(node).prepare_failure("cp", err="no space")
    with pytest.raises(CommandFailed, match="no space"):
        cloning.clone(node, nodes.ID, new=nodes.OTHER, wait=0)
    assert not any(nodes.OTHER in path for path in nodes.left(node))
    assert listing.inspect(node, nodes.ID)["state"] == "running"
    assert cloning.clone(node, nodes.ID, new=nodes.OTHER, wait=0)["state"] == "running"


def test_a_copy_that_was_killed_is_made_anew(node: Node) -> None:
    cloning.clone(node, nodes.ID, new=nodes.OTHER, wait=0)
    node.change(nodes.OTHER, lambda now: now.changed(stage=Stage.CREATING))
    write(node, "stale", nodes.OTHER)
    cloning.clone(node, nodes.ID, new=nodes.OTHER, wait=0)
    assert read(node, nodes.OTHER) == "one"


def test_a_copy_need_not_run(node: Node) -> None:
    made = cloning.clone(node, nodes.ID, start=False, hosts=["b.example"])
    assert (made["state"], made["wanted"]) == ("stopped", False)
    assert [route["host"] for route in made["routes"]] == ["b.example"]
    assert len(cloning.changes(node, nodes.ID, start=False)) == 1


def _host(node: Node) -> Fake:
    assert isinstance(node.host, Fake)
    return node.host


def test_a_copy_of_a_proxy_is_one_without_the_keys_of_the_sites(node: Node) -> None:
    making.create(node, id=nodes.OTHER, role="proxy", wait=0)
    root = guest.rootfs(node.settings, nodes.OTHER)
    pem = root / "etc/corpus/proxy/certificates/a.example.pem"
    pem.parent.mkdir(parents=True)
    pem.write_text("key")
    made = cloning.clone(node, nodes.OTHER, wait=0)
    assert (made["role"], made["front"]) == ("proxy", False)
    copy = guest.rootfs(node.settings, made["id"])
    assert (copy / "etc/corpus").exists()
    assert not (copy / pem.relative_to(root)).exists()
    with pytest.raises(InvalidInput, match="no host name leads to a proxy"):
        cloning.changes(node, nodes.OTHER, hosts=["b.example"])


def test_a_copy_may_be_without_a_limit_of_the_original(node: Node) -> None:
    node.change(nodes.ID, lambda now: now.changed(limits=Limits(5 << 30, pids=100, cpu=0.5)))
    made = cloning.clone(node, nodes.ID, pids="none", start=False)
    assert (made["pids"], made["cpu"]) == (None, 0.5)
