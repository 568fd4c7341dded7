"""A copy of an environment: all of it but what speaks for the original, or nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from corpus.model.errors import CommandFailed, CorpusError, InvalidInput
from corpus.model.mode import Platform
from corpus.node.context import Node
from corpus.node.environments import cloning, guest, listing, making, renewing
from corpus.node.records import Limits, Pair, Role, Share, Stage
from unit.node import nodes
from unit.node.copied import node as node
from unit.node.copied import read, write
from unit.node.nodes import host_of


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
    host_of(node).prepare_failure("cp", err="no space")
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


def test_a_copy_may_be_without_a_limit_of_the_original(node: Node) -> None:
    node.change(nodes.ID, lambda now: now.changed(limits=Limits(5 << 30, pids=100, cpu=0.5)))
    made = cloning.clone(node, nodes.ID, pids="none", start=False)
    assert (made["pids"], made["cpu"]) == (None, 0.5)
