"""What differs from the records is found, and what can be mended is, once."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from corpus.hosts.fake import Fake
from corpus.model.finding import State
from corpus.node.context import Node
from corpus.node.doctor.examine import CHECKS, examine
from corpus.node.environments import guest, lifecycle
from corpus.node.records import Pair, Stage
from unit.node import nodes
from unit.node.doctored import found
from unit.node.doctored import made as made
from unit.node.nodes import THIRD


def checks(node: Node) -> set[str]:
    return {one["check"] for one in found(node)}


def test_one_that_is_well(made: tuple[Node, Fake]) -> None:
    node, host = made
    before = len(host.commands)
    told = examine(node, mend=True)
    assert [one for one in told if one["state"] != State.OK] == []
    assert {one["check"] for one in told} == set(CHECKS)
    changing = {"lxc-start", "lxc-stop", "nft", "sysctl", "rm"}
    assert not changing & {command[0] for command in host.commands[before:]}


def half_way(node: Node) -> None:
    node.records.save(node.records.get(nodes.OTHER).changed(stage=Stage.CREATING))


def lost_config(node: Node) -> None:
    lifecycle.config(node, node.records.get(nodes.ID)).write_text("lxc.idmap = u 0 0 65536\n")


def pair_with_nobody(node: Node) -> None:
    record = node.records.get(nodes.OTHER)
    node.records.save(record.changed(pairs=(Pair("demo", THIRD),)))


def unwanted(node: Node) -> None:
    node.records.save(node.records.get(nodes.ID).changed(wanted=False))


def not_running(node: Node) -> None:
    node.records.save(node.records.get(nodes.OTHER).changed(wanted=True))


def container_of_nobody(node: Node) -> None:
    (node.settings.lxcpath / THIRD).mkdir()
    (node.settings.lxcpath / THIRD / "config").write_text("# of one that is gone\n")


def socket_of_nobody(node: Node) -> None:
    (node.settings.asks / THIRD).mkdir()


def socket_missing(node: Node) -> None:
    guest.asks(node.settings, nodes.ID).rmdir()


def lock_of_nobody(node: Node) -> None:
    (node.settings.locks / THIRD).touch()


def half_written(node: Node) -> None:
    for folder in (node.settings.records, node.settings.lxcpath / nodes.ID, node.settings.images):
        (folder / ".a.json.abcd_123").touch()


def half_unpacked(node: Node) -> None:
    (node.settings.images / ".abcdef012345-2.partial").mkdir()


def half_snapshot(node: Node) -> None:
    (guest.home(node.settings, nodes.ID) / "snapshots" / ".new").mkdir(parents=True)


def proxy_file_gone(node: Node) -> None:
    del node.host.files[str(node.settings.proxy / "hosts.map")]  # type: ignore[attr-defined]


def user_ids_gone(node: Node) -> None:
    node.host.files["/etc/subuid"] = b""  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("spoil", "check"),
    [
        (half_way, "half_way"),
        (lost_config, "configuration"),
        (pair_with_nobody, "pairs"),
        (unwanted, "running"),
        (not_running, "running"),
        (container_of_nobody, "containers"),
        (socket_of_nobody, "sockets"),
        (socket_missing, "sockets"),
        (lock_of_nobody, "locks"),
        (half_written, "temporary"),
        (half_unpacked, "images"),
        (half_snapshot, "copies"),
        (proxy_file_gone, "proxy"),
        (user_ids_gone, "user_ids"),
    ],
)
def test_it_is_found_and_mended(
    made: tuple[Node, Fake], spoil: Callable[[Node], None], check: str
) -> None:
    node, _ = made
    spoil(node)
    assert check in checks(node)
    assert check in checks(node), "looking mends nothing"
    assert all(one["mended"] for one in found(node, mend=True))
    assert found(node) == []


def test_one_that_is_worked_on_is_left(made: tuple[Node, Fake]) -> None:
    node, _ = made
    half_way(node)
    with node.lock(nodes.OTHER):
        assert found(node, mend=True) == []
    assert node.records.get(nodes.OTHER).stage is Stage.CREATING


def test_a_check_that_trips_hides_no_other(
    made: tuple[Node, Fake], monkeypatch: pytest.MonkeyPatch
) -> None:
    node, host = made
    lock_of_nobody(node)
    host.prepare_failure("netns", err="no network namespaces")
    host.prepare_failure("add", err="no network namespaces")
    told = {one["check"]: one for one in found(node)}
    assert "could not be looked at" in told["firewall"]["what"]
    assert "locks" in told
