"""Create and destroy: idempotent, nothing half-made is left, wherever it fails."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from corpus.hosts.base import Command, Result
from corpus.hosts.local import Local
from corpus.model.errors import CommandFailed, Conflict, CorpusError, InvalidInput, NotFound
from corpus.node.context import Node
from corpus.node.environments import guest, lifecycle, listing, making, removal
from corpus.node.proxy import replica
from corpus.node.records import Limits, Route, Stage
from unit.node import nodes
from unit.node.nodes import host_of


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return nodes.make(tmp_path)[0]


def test_create_makes_a_running_environment_of_what_was_asked(node: Node) -> None:
    made = making.create(
        node, id=nodes.ID, platform="prod", size="1G", memory="256M", cpu=0.5, pids=200,
        hosts=["a.example"], keys=[nodes.KEY], wait=0,
    )  # fmt: skip
    assert made["state"] == "running"
    assert (made["address"], made["ssh_port"]) == ("10.88.0.10", 22001)
    assert (made["size"], made["memory"], made["cpu"], made["pids"]) == (1 << 30, 1 << 28, 0.5, 200)
    assert made["routes"] == [vars(Route("a.example"))]
    assert nodes.record_json(node, nodes.ID)["stage"] == "ready"


def test_the_files_of_a_new_environment(node: Node) -> None:
    making.create(node, id=nodes.ID, keys=[nodes.KEY], wait=0)
    root = guest.rootfs(node.settings, nodes.ID)
    hosts = (root / "etc/hosts").read_text()
    assert "10.88.0.10 staging-11111111" in hosts
    assert any(line.startswith("::1") and "staging-11111111" in line for line in hosts.splitlines())
    assert (root / "etc/salt/minion_id").read_text().strip() == nodes.ID
    facts = json.loads((root / "etc/corpus/environment.json").read_text())
    assert (facts["id"], facts["platform"], facts["address"]) == (
        nodes.ID,
        "staging",
        "10.88.0.10",
    )
    assert (facts["image"], facts["ssh_port"]) == ("ab" * 32, 22001)
    assert (facts["gateway"], facts["relay"]) == ("10.88.0.1", "")
    lasting = {name: facts[name] for name in ("id", "platform", "address", "name", "node")}
    assert json.loads((root / "etc/salt/grains").read_text()) == {"corpus": lasting}
    assert (root / "etc/resolv.conf").read_text() == "nameserver 10.9.9.9\n"
    keys = root / "root/.ssh/authorized_keys"
    assert keys.read_text() == nodes.KEY + "\n"
    assert keys.stat().st_mode & 0o777 == 0o600
    assert keys.parent.stat().st_mode & 0o777 == 0o700


def test_create_again_changes_nothing(node: Node) -> None:
    first = making.create(node, id=nodes.ID, wait=0)
    again = making.create(node, id=nodes.ID, wait=0)
    assert first == again
    assert len(nodes.ran(host_of(node), "lxc-start")) == 1


def test_create_again_with_other_values_is_a_conflict(node: Node) -> None:
    making.create(node, id=nodes.ID, wait=0)
    with pytest.raises(Conflict, match="platform staging"):
        making.create(node, id=nodes.ID, platform="prod", wait=0)


@pytest.mark.parametrize("word", ["cp", "nft", "lxc-start", "haproxy", "reload-or-restart"])
def test_a_failure_leaves_nothing_and_the_next_create_works(node: Node, word: str) -> None:
    host_of(node).prepare_failure(word, err="it broke")
    with pytest.raises(CorpusError, match=r"it broke|no network"):
        making.create(node, id=nodes.ID, hosts=["a.example"], wait=0)
    assert nodes.left(node) == []
    files = host_of(node).files
    assert b"a.example" not in files.get(str(node.settings.proxy / "hosts.map"), b"")
    assert making.create(node, id=nodes.ID, hosts=["a.example"], wait=0)["state"] == "running"


def test_an_interrupt_cleans_up_too(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(making, "bring_up", interrupted)
    with pytest.raises(KeyboardInterrupt):
        making.create(node, id=nodes.ID, wait=0)
    assert nodes.left(node) == []


@pytest.mark.parametrize("stage", [Stage.CREATING, Stage.DESTROYING])
def test_what_a_crash_left_is_made_anew(node: Node, stage: Stage) -> None:
    making.create(node, id=nodes.ID, wait=0)
    record = node.records.get(nodes.ID)
    node.records.save(record.changed(stage=stage))
    stale = guest.srv(node.settings, nodes.ID) / "stale"
    stale.write_text("x")
    with pytest.raises(Conflict, match="half-way"):
        lifecycle.start(node, nodes.ID)
    assert listing.inspect(node, nodes.ID)["state"] == str(stage)
    assert making.create(node, id=nodes.ID, wait=0)["state"] == "running"
    assert not stale.exists()


def test_destroy_removes_all_of_it_and_may_be_called_again(node: Node) -> None:
    making.create(node, id=nodes.ID, hosts=["a.example"], wait=0)
    assert removal.destroy(node, nodes.ID) != []
    assert nodes.left(node) == []
    assert nodes.front(node, "hosts.map") == ""
    assert removal.destroy(node, nodes.ID) == []


def test_destroy_that_fails_half_way_goes_on_next_time(node: Node) -> None:
    making.create(node, id=nodes.ID, wait=0)
    host_of(node).prepare_failure("lxc-stop", err="stuck")
    with pytest.raises(CommandFailed, match="stuck"):
        removal.destroy(node, nodes.ID)
    assert nodes.record_json(node, nodes.ID)["stage"] == "destroying"
    assert removal.destroy(node, nodes.ID) != []
    assert nodes.left(node) == []


def test_a_destroy_that_is_resumed_leads_no_name_there(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else an old name would lead to whoever has the address next."""
    making.create(node, id=nodes.ID, hosts=["a.example"], wait=0)
    followed: list[Node] = []
    monkeypatch.setattr(replica, "follow", followed.append)

    def die(node: Node) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(removal.service, "apply", die)
        with pytest.raises(KeyboardInterrupt):
            removal.destroy(node, nodes.ID)
    assert "a.example" in nodes.front(node, "hosts.map")
    assert removal.destroy(node, nodes.ID) != []
    assert nodes.front(node, "hosts.map") == ""
    assert followed == [node]


def test_addresses_ports_and_slots_are_given_once_and_come_back(node: Node) -> None:
    making.create(node, id=nodes.ID, wait=0)
    second = making.create(node, id=nodes.OTHER, wait=0)
    assert (second["address"], second["ssh_port"]) == ("10.88.0.11", 22002)
    assert node.records.get(nodes.OTHER).slot == 1
    removal.destroy(node, nodes.ID)
    third = making.create(node, id=nodes.ID, wait=0)
    assert (third["address"], third["ssh_port"]) == ("10.88.0.10", 22001)


def test_a_listening_port_is_never_given(node: Node) -> None:
    host_of(node).answer("ss", 'LISTEN 0 128 0.0.0.0:22001 0.0.0.0:* users:(("sshd",pid=7,fd=3))\n')
    assert making.create(node, id=nodes.ID, wait=0)["ssh_port"] == 22002
    with pytest.raises(Conflict, match="22001 is taken by sshd, which listens on this node"):
        making.create(node, id=nodes.OTHER, ssh_port=22001, wait=0)


def test_what_is_taken_is_a_conflict_that_says_by_whom(node: Node) -> None:
    making.create(node, id=nodes.ID, hosts=["a.example"], wait=0)
    for asked in ({"ssh_port": 22001}, {"address": "10.88.0.10"}, {"hosts": ["A.example"]}):
        with pytest.raises(Conflict, match=nodes.ID):
            making.create(node, id=nodes.OTHER, wait=0, **asked)
    with pytest.raises(Conflict, match="this node"):
        making.create(node, id=nodes.OTHER, address="10.88.0.1", wait=0)
    assert node.records.find(nodes.OTHER) is None


@pytest.mark.parametrize(
    "asked",
    [
        {"size": "lots"},
        {"size": "1M"},
        {"size": "900G"},
        {"size": "-5G"},
        {"memory": "1K"},
        {"cpu": 0},
        {"cpu": "many"},
        {"pids": 1},
        {"address": "10.99.0.1"},
        {"address": "10.88.0.0"},
        {"address": "x"},
        {"ssh_port": 70000},
        {"hosts": ["a b"]},
        {"hosts": "a.example"},
        {"keys": ["rubbish"]},
        {"keys": [f'command="x" {nodes.KEY}']},
        {"platform": "test"},
        {"id": "../../etc"},
        {"id": nodes.ID.replace("-", "")},
    ],
    ids=str,
)
def test_bad_input_is_refused_and_leaves_nothing(node: Node, asked: dict[str, object]) -> None:
    with pytest.raises(InvalidInput) as caught:
        making.create(node, **{"id": nodes.ID, "wait": 0, **asked})  # type: ignore[arg-type]
    assert caught.value.exit_code == 2
    assert nodes.left(node) == []


def test_an_unknown_image_names_those_that_are_there(node: Node) -> None:
    with pytest.raises(NotFound, match=r"environment \(abababababab"):
        making.create(node, image="nope", wait=0)


def test_stop_start_and_exec(node: Node) -> None:
    making.create(node, id=nodes.ID, wait=0)
    assert lifecycle.stop(node, nodes.ID).wanted is False
    assert listing.inspect(node, nodes.ID)["state"] == "stopped"
    assert lifecycle.start(node, "11111111").wanted is True
    assert listing.inspect(node, "staging-11111111")["state"] == "running"
    assert lifecycle.execute(node, nodes.ID, ["ls", "-l"]).code == 0
    assert host_of(node).commands[-1][-2:] == ("ls", "-l")
    with pytest.raises(InvalidInput, match="list of words"):
        lifecycle.execute(node, nodes.ID, "ls -l")


def test_a_guest_that_reboots_itself_is_started_by_the_node(node: Node) -> None:
    making.create(node, id=nodes.ID, wait=0)
    lifecycle.prepare(node)
    hook = guest.restart_hook(node.settings)
    config = (node.settings.lxcpath / nodes.ID / "config").read_text()
    assert f"lxc.hook.post-stop = {hook}\n" in config
    for target, code in (("stop", 0), ("reboot", 1)):
        bare = {"LXC_TARGET": target, "LXC_NAME": nodes.ID, "PATH": "/nowhere"}
        assert Local().run(["/bin/sh", str(hook)], env=bare, check=False).code == code
    host = host_of(node)
    lifecycle.halt(node, node.records.get(nodes.ID))
    host.calls.clear()
    lifecycle.come_back(node, nodes.ID)
    assert len(nodes.ran(host, "lxc-start")) == 1
    lifecycle.stop(node, nodes.ID)
    host.calls.clear()
    lifecycle.come_back(node, nodes.ID)
    assert nodes.ran(host, "lxc-start") == []


def test_the_reason_of_a_failed_start_is_told(node: Node) -> None:
    log = node.settings.lxcpath / nodes.ID / "log"

    def fail(argv: object) -> str:
        log.write_text(
            "lxc-start X 2026 INFO  start - a.c:f:1 - fine\n"
            "lxc-start X 2026 ERROR network - n.c:f:2 - No such device - no bridge\n"
        )
        host_of(node).prepare_failure("lxc-start")
        return ""

    host_of(node).answer("rm-never", "")
    original = host_of(node).execute

    def execute(command: Command) -> Result:
        if "lxc-start" in command.argv:
            fail(command.argv)
        return original(command)

    host_of(node).execute = execute  # type: ignore[method-assign]
    with pytest.raises(CommandFailed, match="No such device - no bridge") as caught:
        making.create(node, id=nodes.ID, wait=0)
    assert "fine" not in str(caught.value)


def test_what_is_made_without_limits_has_those_of_the_node(tmp_path: Path) -> None:
    node, _ = nodes.make(tmp_path, default_memory="1G", default_pids=300)
    made = making.create(node, id=nodes.ID, wait=0)
    assert (made["memory"], made["pids"]) == (1 << 30, 300)
    shared = nodes.make(tmp_path / "half", default_memory="50%")[0]
    half = making.create(shared, id=nodes.ID, wait=0)["memory"]
    whole = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert half == whole // 2
    free = nodes.make(tmp_path / "free", default_memory="", default_pids=0)[0]
    made = making.create(free, id=nodes.ID, wait=0)
    assert (made["memory"], made["pids"]) == (None, None)


def test_none_is_no_limit_of_any_kind_and_no_size(tmp_path: Path) -> None:
    node, _ = nodes.make(tmp_path, default_memory="1G", default_pids=300)
    none = {"memory": "none", "cpu": "none", "pids": "none", "size_limit": "none"}
    making.create(node, id=nodes.ID, wait=0, **none)
    assert node.records.get(nodes.ID).limits == Limits(5 << 30)
    with pytest.raises(InvalidInput, match="not a size"):
        making.create(node, size="none", wait=0)


def test_limits_that_all_would_share_are_raised_where_that_is_allowed(node: Node) -> None:
    making.create(node, id=nodes.ID, wait=0)
    assert nodes.ran(host_of(node), "lxc-start")[0][0] == "prlimit"
    host_of(node).prepare_failure("true", err="Operation not permitted")
    making.create(node, id=nodes.OTHER, wait=0)
    assert nodes.ran(host_of(node), "lxc-start")[1][0] == "lxc-start"


def test_eight_decimal_digits_of_an_id_may_arrive_as_a_number(tmp_path: Path) -> None:
    node, _ = nodes.make(tmp_path)
    making.create(node, id=nodes.ID, wait=0)
    assert node.records.resolve(11111111) == nodes.ID  # type: ignore[arg-type]
    assert removal.destroy(node, 11111111) != []  # type: ignore[arg-type]
