"""Boot rebuilds everything from the records; prepare says what the machine lacks."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from corpus.commands import ip
from corpus.model.errors import CommandFailed, Conflict, Unsupported
from corpus.node import boot
from corpus.node.__main__ import main
from corpus.node.context import Node
from corpus.node.environments import lifecycle, making, removal
from corpus.node.network import firewall
from corpus.node.records import Stage
from corpus.node.storage import pool
from unit.node import nodes


def test_boot_starts_what_is_wanted_and_removes_what_is_half_made(tmp_path: Path) -> None:
    node, _ = nodes.make(tmp_path)
    third = "33333333-2222-4333-8444-555555555555"
    for id in (nodes.ID, nodes.OTHER, third):
        making.create(node, id=id, hosts=[f"{id[:3]}.example"], wait=0)
    lifecycle.stop(node, nodes.OTHER)
    node.records.save(node.records.get(third).changed(stage=Stage.CREATING))
    shutil.rmtree(node.settings.lxcpath)

    node, host = nodes.reload(tmp_path)
    outcome = boot.boot(node)
    assert outcome[nodes.ID] == "started"
    assert outcome[nodes.OTHER] == "stopped, as it was"
    assert outcome[third].startswith("removed")
    assert [r.id for r in node.records.all()] == [nodes.ID, nodes.OTHER]
    assert len(nodes.ran(host, "lxc-start")) == 1
    assert nodes.front(node, "hosts.map").splitlines() == [
        f"111.example {nodes.ID}-80|both|0",
        f"999.example {nodes.OTHER}-80|both|0",
    ]
    assert (node.settings.lxcpath / nodes.ID / "config").exists()
    assert ("systemctl", "corpus-proxy.service") in {
        (command[0], command[-1]) for command in host.commands
    }


def test_one_environment_that_fails_does_not_keep_the_others(tmp_path: Path) -> None:
    node, _ = nodes.make(tmp_path)
    for id in (nodes.ID, nodes.OTHER):
        making.create(node, id=id, wait=0)
    node, host = nodes.reload(tmp_path)
    host.prepare_failure("lxc-start", err="broken")
    outcome = boot.boot(node)  # they start together: either may be the one
    assert sorted(what.split(":")[0] for what in outcome.values()) == ["failed", "started"]


def test_whatever_one_environment_fails_with_the_others_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    node, _ = nodes.make(tmp_path)
    for id in (nodes.ID, nodes.OTHER):
        making.create(node, id=id, wait=0)
    node, _ = nodes.reload(tmp_path)
    start = lifecycle.start

    def hostile(node: Node, id: str) -> object:
        if id == nodes.ID:
            raise RecursionError
        return start(node, id)

    monkeypatch.setattr(lifecycle, "start", hostile)
    outcome = boot.boot(node)
    assert outcome[nodes.ID] == "failed: RecursionError"
    assert outcome[nodes.OTHER] == "started"


def test_boot_leaves_alone_what_somebody_is_making_just_now(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    node, _ = nodes.make(tmp_path)
    made = making.create(node, id=nodes.ID, wait=0)
    ready = node.records.get(nodes.ID)
    creating = ready.changed(stage=Stage.CREATING)  # as boot has read it
    node.records.save(creating)
    alone = removal.alone

    def late(node: Node, id: str) -> object:  # the other process ends while its lock is waited for
        node.records.save(ready)
        return alone(node, id)

    monkeypatch.setattr(removal, "alone", late)
    assert not boot.boot(node)[nodes.ID].startswith("removed")
    assert node.records.find(nodes.ID) == ready
    assert Path(made["rootfs"]).is_dir()


def test_halt_stops_all_and_changes_no_wish(tmp_path: Path) -> None:
    node, host = nodes.make(tmp_path)
    making.create(node, id=nodes.ID, wait=0)
    boot.halt(node)
    assert len(nodes.ran(host, "lxc-stop")) == 1
    assert node.records.get(nodes.ID).wanted is True


def test_prepare_twice_writes_user_ids_once(tmp_path: Path) -> None:
    node, host = nodes.make(tmp_path)
    host.files["/etc/subuid"] = b"me:100000:65536\n"
    for _ in range(2):
        boot.prepare(node)
    assert host.files["/etc/subuid"] == b"me:100000:65536\nroot:1000000:65536000\n"


def test_an_old_kernel_is_named() -> None:
    boot.check_kernel("6.1.0-18-amd64")
    with pytest.raises(Unsupported, match=r"5\.10\.0-9.*idmapped mounts"):
        boot.check_kernel("5.10.0-9-amd64")


def test_the_facts_say_soft_and_why(tmp_path: Path) -> None:
    found = boot.facts(nodes.make(tmp_path)[0])
    assert (found["storage"], found["storage_why"]) == ("plain", "the setting storage is plain")
    assert (found["quota"], "not enforced" in found["quota_why"]) == ("soft", True)


def test_where_no_btrfs_can_be_made_the_fallback_is_named(tmp_path: Path) -> None:
    plain, host = nodes.make(tmp_path, pool_size="1G")
    shutil.rmtree(plain.settings.pool)
    node = Node(replace(plain.settings, storage="quota"), host)
    host.prepare_failure("mkfs.btrfs", err="not found")
    with pytest.raises(Unsupported, match='storage = "plain"') as caught:
        pool.prepare(node)
    assert caught.value.exit_code == 5


def test_missing_firewall_features_are_named(tmp_path: Path) -> None:
    node, host = nodes.make(tmp_path)
    host.prepare_failure("nft", err="Operation not supported")
    with pytest.raises(Unsupported, match="nf_tables"):
        boot.prepare(node)


def test_the_command_line_gives_message_and_exit_code(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "node.toml"
    file.write_text("colour = 'red'\n")
    assert main(["--settings", str(file), "facts"]) == 2
    assert "no such setting: colour" in capsys.readouterr().err


def test_the_firewall_is_loaded_again_by_the_records(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    node, host = nodes.make(tmp_path)
    making.create(node, id=nodes.ID, wait=0)
    before, loads = nodes.rules(node), len(nodes.ran(host, "nft"))
    monkeypatch.setattr("corpus.node.__main__.this_node", lambda _: node)
    assert main(["firewall"]) == 0
    assert len(nodes.ran(host, "nft")) == loads + 1
    assert nodes.rules(node) == before


def test_a_damaged_record_is_told_with_its_file(tmp_path: Path) -> None:
    node, _ = nodes.make(tmp_path)
    (node.settings.records / f"{nodes.ID}.json").write_text("{}")
    outcome = boot.boot(node)
    assert outcome[nodes.ID].startswith("failed: the record of an environment is damaged")
    assert f"{nodes.ID}.json" in outcome[nodes.ID]
    with pytest.raises(Conflict, match="damaged"):
        making.create(node, wait=0)


@pytest.mark.parametrize(
    ("relay", "resolved", "led"),
    [
        ("192.0.2.25:587", "", "192.0.2.25:587"),
        ("mail.example.org:25", "192.0.2.7 STREAM mail\n192.0.2.8 STREAM\n", "192.0.2.7:25"),
        ("mail.example.org:25", "", None),
        ("", "", None),
    ],
)
def test_the_mail_relay_is_led_to_where_it_is_known(
    tmp_path: Path, relay: str, resolved: str, led: str | None
) -> None:
    node, host = nodes.make(tmp_path, relay=relay)
    host.answer("getent", resolved)
    firewall.apply(node)
    rules = host.calls[-1].stdin or b""
    assert (f"tcp dport 25 dnat ip to {led}\n".encode() in rules) == bool(led)
    assert (b"tcp dport 25" in rules) == bool(led)


def test_a_name_server_that_is_away_keeps_nothing_from_starting(tmp_path: Path) -> None:
    node, host = nodes.make(tmp_path, relay="mail.example.org:25")

    def late(argv: object) -> str:
        raise CommandFailed(["getent"], None, "")

    host.answer("getent", late)
    firewall.apply(node)
    assert b"tcp dport 25" not in (host.calls[-1].stdin or b"")


def test_a_bridge_that_has_its_hardware_address_forgets_no_neighbour(tmp_path: Path) -> None:
    node, host = nodes.make(tmp_path)

    def settings_of_it() -> list[list[str]]:
        boot.prepare(node)
        return [list(c) for c in nodes.ran(host, "ip") if "address" in c and "set" in c]

    assert settings_of_it() == [ip.set_hardware_address("corpus0", "02:c0:0a:58:00:01")]
    host.answer("ip -json link show dev corpus0", '[{"address": "02:c0:0a:58:00:01"}]')
    assert len(settings_of_it()) == 1


def test_what_the_kernel_has_once_for_all_is_raised_and_never_lowered(tmp_path: Path) -> None:
    node, host = nodes.make(tmp_path)
    host.files["/proc/sys/fs/inotify/max_user_instances"] = b"128\n"
    host.files["/proc/sys/fs/inotify/max_user_watches"] = b"2000000000\n"
    host.files["/proc/sys/user/max_net_namespaces"] = b"96365\n"
    host.files["/proc/sys/kernel/pid_max"] = b"4194304\n"
    boot.prepare(node)
    raised = ip.sysctl(
        {"fs/inotify/max_user_instances": 1 << 24, "user/max_net_namespaces": 1 << 24}
    )
    assert list(nodes.ran(host, "sysctl")[0]) == raised


def test_boot_removes_what_was_left_of_a_record_that_was_being_written(tmp_path: Path) -> None:
    node, _ = nodes.make(tmp_path)
    making.create(node, id=nodes.ID, wait=0)
    left = node.settings.records / f".{nodes.ID}.json.ab12_xyz"
    left.write_text("{")
    boot.boot(node)
    assert [path.name for path in node.settings.records.iterdir()] == [f"{nodes.ID}.json"]


def test_a_front_that_fails_keeps_no_environment_from_starting(tmp_path: Path) -> None:
    node, _ = nodes.make(tmp_path)
    making.create(node, id=nodes.ID, wait=0)
    node, host = nodes.reload(tmp_path)
    host.prepare_failure("haproxy", err="cannot bind")
    outcome = boot.boot(node)
    assert outcome[nodes.ID] == "started"
    assert outcome["front"].startswith("failed")
    assert "cannot bind" in outcome["front"]
    host.prepare_failure("haproxy", err="cannot bind")
    with pytest.raises(CommandFailed, match="cannot bind"):
        boot.prepare(node)
