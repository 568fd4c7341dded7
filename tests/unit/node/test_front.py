"""The front in an environment of role proxy: made ready first, led to afterwards, caged always."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from corpus.commands.cgroups import Layout
from corpus.hosts.fake import Fake
from corpus.model.errors import CommandFailed, Conflict, InvalidInput
from corpus.node import boot
from corpus.node.context import Node
from corpus.node.environments import guest, lifecycle, making, removal, snapshots, traffic
from corpus.node.network import firewall
from corpus.node.proxy import front, replica, routes
from unit.node import nodes
from unit.node.nodes import led, rules


@pytest.fixture
def node(tmp_path: Path, host: Fake) -> Node:
    node, _ = nodes.make(tmp_path, host)
    making.create(node, id=nodes.ID, hosts=["a.example"], wait=0)
    making.create(node, id=nodes.OTHER, role="proxy", wait=0)
    return node


def test_an_environment_of_projects_is_no_front(node: Node) -> None:
    with pytest.raises(InvalidInput, match="is no proxy"):
        front.move(node, nodes.ID)
    with pytest.raises(InvalidInput, match="which is a proxy"):
        routes.route(node, nodes.OTHER, routes.parse_route("b.example"))
    with pytest.raises(InvalidInput, match="no host name leads to a proxy"):
        making.create(node, role="proxy", hosts=["b.example"], wait=0)
    with pytest.raises(InvalidInput, match="not a role"):
        making.create(node, role="king", wait=0)


def test_one_that_does_not_run_is_no_front(node: Node, host: Fake) -> None:
    host.answer("lxc-info", "State: STOPPED\n")
    with pytest.raises(Conflict, match="does not run"):
        front.move(node, nodes.OTHER)
    assert front.front(node) == "node"


def test_its_cable_is_routed_and_the_others_are_ports_of_the_bridge(node: Node) -> None:
    proxy, other = (guest.config(node.settings, node.records.get(id), 1500, Layout(1, 1, 1))
                    for id in (nodes.OTHER, nodes.ID))  # fmt: skip
    assert "lxc.net.0.veth.mode = router\nlxc.net.0.l2proxy = 1\n" in proxy
    assert "lxc.net.0.ipv4.address = 10.88.0.11/32\n" in proxy
    assert "lxc.net.0.veth.pair = cpxy99999999222\n" in proxy
    assert "isolate" not in proxy
    assert "/lxc/routed 02:c0:0a:58:00:0b 10.88.0.11\n" in proxy
    assert "/lxc/known 10.88.0.1 cpxy99999999222\n" in proxy
    assert "/lxc/isolate 02:c0:0a:58:00:0a 10.88.0.10\n" in other
    assert "/lxc/known 10.88.0.1 corpus0\n" in other
    assert "veth.mode" not in other
    assert "lxc.net.0.veth.pair = cenv11111111222\n" in other


def test_it_reaches_what_is_routed_and_nothing_else(node: Node) -> None:
    routes.route(node, nodes.ID, routes.parse_route("b.example", 8000))
    text = rules(node)
    cage = text.partition("table inet corpus0-front {")[2]
    assert "elements = { 10.88.0.10 . 80, 10.88.0.10 . 8000 }" in cage
    assert 'elements = { "cpxy99999999222" . 10.88.0.11 }' in cage
    assert "dnat ip to" not in cage
    assert "iifname @ours ip option lsrr exists drop" in cage
    allowed = cage.index("iifname @ours ip daddr . tcp dport @routed4 accept")
    assert allowed < cage.index("iifname @ours drop")


def test_closed_networks_that_it_lies_in_keep_no_environment_from_it(node: Node) -> None:
    closed = Node(replace(node.settings, closed_networks=("10.0.0.0/8",)), node.host)
    firewall.apply(closed)
    text = rules(node)
    led = text.index('iifname corpus0 oifname "cpxy*" ct status dnat accept')
    assert led < text.index("@closed4 drop")


def test_without_a_proxy_there_is_no_table_of_it(node: Node) -> None:
    removal.destroy(node, nodes.OTHER)
    firewall.apply(node)
    assert "table inet corpus0-front {" not in rules(node)
    assert "delete table inet corpus0-front\n" in rules(node)


def test_ports_are_led_there_once_it_is_ready(node: Node, host: Fake) -> None:
    host.answer("lxc-attach", lambda argv: nodes.attached(host, argv))
    before = len(nodes.ran(host, "nft"))
    said = front.move(node, nodes.OTHER, test=True)
    assert said == ["the front moves from node to staging-99999999"]
    assert len(nodes.ran(host, "nft")) == before
    assert front.move(node, nodes.OTHER) == said
    assert front.front(node) == nodes.OTHER
    commands = [" ".join(command) for command in host.commands]
    reloads = [n for n, text in enumerate(commands) if "reload-or-restart" in text]
    assert "lxc-attach" in commands[reloads[-1]]
    assert reloads[-1] < max(n for n, text in enumerate(commands) if text == "nft -f -")
    led = re.findall(r"tcp dport (\d+) dnat ip to (\S+)", rules(node).partition("-front {")[2])
    assert led == [("80", "10.88.0.11:80"), ("443", "10.88.0.11:443")]
    assert front.move(node, nodes.OTHER) == []
    front.move(node, "node")
    assert "dnat ip to" not in rules(node).partition("-front {")[2]
    assert front.front(node) == "node"


def test_one_that_does_not_take_it_leaves_the_front_where_it_was(node: Node, host: Fake) -> None:
    host.answer("lxc-attach", lambda argv: nodes.attached(host, argv))
    before = len(nodes.ran(host, "nft"))
    host.prepare_failure("haproxy", err="broken")
    with pytest.raises(CommandFailed, match="broken"):
        front.move(node, nodes.OTHER)
    assert front.front(node) == "node"
    assert len(nodes.ran(host, "nft")) == before


def test_a_front_that_is_destroyed_is_the_nodes_again(node: Node, host: Fake) -> None:
    host.answer("lxc-attach", lambda argv: nodes.attached(host, argv))
    front.move(node, nodes.OTHER)
    removal.destroy(node, nodes.OTHER)
    assert front.front(node) == "node"
    assert "dnat ip to 10.88.0.11" not in rules(node)


def test_while_it_is_stopped_the_node_is_the_front(node: Node, host: Fake) -> None:
    host.answer("lxc-attach", lambda argv: nodes.attached(host, argv))
    front.move(node, nodes.OTHER)
    lifecycle.stop(node, nodes.OTHER)
    assert "dnat ip to 10.88.0.11" not in rules(node)
    commands = [command[0] for command in host.commands]
    assert commands.index("lxc-stop") > max(n for n, word in enumerate(commands) if word == "nft")
    lifecycle.start(node, nodes.OTHER)
    assert "dnat ip to 10.88.0.11:443" in rules(node)


def test_a_restart_brings_it_what_has_changed(node: Node, host: Fake) -> None:
    host.answer("lxc-attach", lambda argv: nodes.attached(host, argv))
    front.move(node, nodes.OTHER)
    host.calls.clear()
    traffic.restart(node, nodes.OTHER)
    assert "dnat ip to 10.88.0.11:443" in rules(node)


def test_after_a_restore_it_is_the_front_with_what_is_routed_now(node: Node, host: Fake) -> None:
    host.answer("lxc-attach", lambda argv: nodes.attached(host, argv))
    front.move(node, nodes.OTHER)
    snapshots.take(node, nodes.OTHER, "first")
    since = len(host.calls)
    snapshots.restore(node, nodes.OTHER, "first")
    calls = host.calls[since:]
    names = [call.argv[0] for call in calls]
    handed = [n for n, call in enumerate(calls) if call.argv == ("nft", "-f", "-")
              and b"dnat ip to 10.88.0.11" not in (call.stdin or b"")]  # fmt: skip
    assert handed[0] < names.index("lxc-stop")
    assert any("reload-or-restart" in c.argv and c.argv[0] == "lxc-attach" for c in calls)
    assert led(node)


def test_at_boot_the_node_is_the_front_until_the_environment_runs(
    tmp_path: Path, node: Node, host: Fake
) -> None:
    host.answer("lxc-attach", lambda argv: nodes.attached(host, argv))
    front.move(node, nodes.OTHER)
    node, host = nodes.reload(tmp_path)
    host.answer("lxc-attach", lambda argv: nodes.attached(host, argv))
    boot.prepare(node)
    assert not led(node)
    boot.boot(node)
    assert led(node)
    lifecycle.autostart(node, nodes.OTHER, on=False)
    node, host = nodes.reload(tmp_path)
    boot.boot(node)
    assert not led(node)


def test_a_front_that_is_frozen_for_an_instant_stays_the_front(node: Node, host: Fake) -> None:
    host.answer("lxc-attach", lambda argv: nodes.attached(host, argv))
    front.move(node, nodes.OTHER)
    lifecycle.freeze(node, nodes.OTHER)
    routes.route(node, nodes.ID, routes.parse_route("b.example", 8000))
    assert led(node)
    since = len(host.calls)
    lifecycle.thaw(node, nodes.OTHER)
    given = [call for call in host.calls[since:] if call.argv[0] == "lxc-attach"]
    assert any(b"b.example" in (call.stdin or b"") for call in given)


def test_a_move_that_died_before_the_rules_ends_right_the_next_time(node: Node, host: Fake) -> None:
    host.answer("lxc-attach", lambda argv: nodes.attached(host, argv))
    node.change(nodes.OTHER, lambda now: now.changed(front=True))
    assert not led(node)
    assert front.move(node, nodes.OTHER) == []
    assert led(node)


def hangs(node: Node) -> list[bool]:
    """Have nothing in an environment answer; return whether the node could work meanwhile."""
    assert isinstance(node.host, Fake)
    free: list[bool] = []

    def late(argv: Sequence[str]) -> str:
        with suppress(Conflict), node.lock(wait=False):
            free.append(True)
            raise CommandFailed(argv, None, "")
        free.append(False)
        raise CommandFailed(argv, None, "")

    node.host.answer("lxc-attach", late)
    return free


def test_a_front_that_hangs_is_passed_over_and_keeps_the_node_from_nothing(
    node: Node, host: Fake, capfd: pytest.CaptureFixture[str]
) -> None:
    host.answer("lxc-attach", lambda argv: nodes.attached(host, argv))
    front.move(node, nodes.OTHER)
    calls = [call for call in host.calls if call.argv[0] == "lxc-attach"]
    assert all(0 < (call.timeout or 0) <= 60 for call in calls)
    free = hangs(node)
    since = len(host.calls)
    routes.route(node, nodes.ID, routes.parse_route("b.example", 8000))
    assert free == [True]
    assert not led(node)
    assert "does not do in time" in node.records.get(nodes.OTHER).away
    assert "b.example" in nodes.front(node, "hosts.map")
    assert "the front is the node's own instead of that in staging-9" in capfd.readouterr().err
    routes.unroute(node, "b.example")
    tried = [call for call in host.calls[since:] if call.argv[0] == "lxc-attach"]
    assert len(tried) == 1
    assert front.front(node) == nodes.OTHER


def test_one_that_hangs_does_not_become_the_front(node: Node) -> None:
    free = hangs(node)
    with pytest.raises(CommandFailed, match="past its time"):
        front.move(node, nodes.OTHER)
    assert front.front(node) == "node"
    assert all(free)


def test_one_that_was_passed_over_is_brought_back_by_a_move(node: Node, host: Fake) -> None:
    host.answer("lxc-attach", lambda argv: nodes.attached(host, argv))
    front.move(node, nodes.OTHER)
    replica.pass_over(node, nodes.OTHER, "it hangs")
    routes.route(node, nodes.ID, routes.parse_route("b.example", 8000))
    assert front.move(node, nodes.OTHER) == []
    assert led(node)
    assert "b.example" in host.files[f"{nodes.INSIDE}/etc/corpus/proxy/hosts.map"].decode()


def test_one_that_is_the_front_no_more_keeps_neither_keys_nor_a_proxy(
    node: Node, host: Fake
) -> None:
    host.answer("lxc-attach", lambda argv: nodes.attached(host, argv))
    front.move(node, nodes.OTHER)
    pem = f"{nodes.INSIDE}/etc/corpus/proxy/certificates/_default.pem"
    assert host.modes[pem] == 0o600
    assert pem in host.files
    front.move(node, "node")
    assert [path for path in host.files if path.startswith(str(nodes.INSIDE))] == []
    loads = [n for n, call in enumerate(host.calls) if call.argv == ("nft", "-f", "-")]
    left = [n for n, call in enumerate(host.calls) if any("SIGUSR1" in w for w in call.argv)]
    assert loads[-1] < left[0], "the ports lead elsewhere before"


def test_where_keys_cannot_be_removed_it_is_said_and_tried_again(node: Node, host: Fake) -> None:
    host.answer("lxc-attach", lambda argv: nodes.attached(host, argv))
    front.move(node, nodes.OTHER)
    hangs(node)
    with pytest.raises(Conflict, match="may still have the sites' keys") as caught:
        front.move(node, "node")
    assert f"corpus_node.stop {nodes.OTHER}" in str(caught.value)
    assert front.front(node) == "node"
    assert not led(node)
    host.answer("lxc-attach", lambda argv: nodes.attached(host, argv))
    assert front.move(node, "node") == []
    assert [path for path in host.files if path.startswith(str(nodes.INSIDE))] == []


def test_its_files_lie_in_memory_alone(node: Node) -> None:
    proxy, other = (guest.config(node.settings, node.records.get(id), 1500, Layout(1, 1, 1))
                    for id in (nodes.OTHER, nodes.ID))  # fmt: skip
    assert "lxc.mount.entry = tmpfs etc/corpus/proxy tmpfs nosuid,nodev,noexec," in proxy
    assert "tmpfs" not in other


def test_nothing_is_led_to_one_that_starts_before_it_is_ready(node: Node, host: Fake) -> None:
    host.answer("lxc-attach", lambda argv: nodes.attached(host, argv))
    front.move(node, nodes.OTHER)
    host.answer("lxc-info", "State: STOPPED\n")  # it has powered itself off
    lifecycle.bring_up(node, node.records.get(nodes.OTHER))
    host.answer("lxc-info", "State: RUNNING\nPID: 42\n")
    firewall.apply(node)
    assert not led(node)
    lifecycle.follow(node, node.records.get(nodes.OTHER))
    assert led(node)


def test_one_that_was_frozen_when_the_front_moved_loses_its_keys_when_it_thaws(
    node: Node, host: Fake
) -> None:
    host.answer("lxc-attach", lambda argv: nodes.attached(host, argv))
    front.move(node, nodes.OTHER)
    lifecycle.freeze(node, nodes.OTHER)
    front.move(node, "node")
    assert [path for path in host.files if path.startswith(str(nodes.INSIDE))] != []
    lifecycle.thaw(node, nodes.OTHER)
    assert [path for path in host.files if path.startswith(str(nodes.INSIDE))] == []


def test_one_that_does_not_run_is_not_waited_for(node: Node, host: Fake) -> None:
    lifecycle.stop(node, nodes.OTHER)
    since = len(host.calls)
    with pytest.raises(Conflict, match="does not run"):
        replica.bring(node, nodes.OTHER)
    assert [call for call in host.calls[since:] if call.argv[0] == "lxc-attach"] == []


def test_what_an_environment_says_of_itself_is_one_plain_line(node: Node, host: Fake) -> None:
    host.answer("lxc-attach", lambda argv: nodes.attached(host, argv))
    front.move(node, nodes.OTHER)
    host.prepare_failure("tar", err="first\nno \x1b[31m space\n")
    routes.route(node, nodes.ID, routes.parse_route("b.example", 8000))
    told = "a command there ended with 1: no ?[31m space"
    assert node.records.get(nodes.OTHER).away == told
