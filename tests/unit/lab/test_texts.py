"""The texts that the lab gives to the kernel and to LXC."""

from __future__ import annotations

from pathlib import Path

import pytest

from corpus.lab import config, links, rootfs
from corpus.lab.paths import LabPaths
from corpus.lab.ruleset import ruleset
from corpus.lab.settings import settings_for
from corpus.model.errors import InvalidName

PATHS = LabPaths("two", Path("/labs"))
GIVEN = {"subnet": "10.86.7.0/24", "http_port": 81, "ssh_port_base": 23000}
SETTINGS = settings_for("two", GIVEN)
CLUSTER = settings_for("two", {**GIVEN, "nodes": 3, "storage": "quota,plain"})
NODE, MEMBER = PATHS.node(2), CLUSTER.members[1]


def test_rules_name_only_the_lab_s_own_table_bridge_and_ports() -> None:
    text = ruleset(PATHS, SETTINGS)
    assert "tcp dport 81 dnat to 10.86.7.2:80" in text
    assert "tcp dport 23000-23099 dnat to 10.86.7.2\n" in text
    assert {line for line in text.splitlines() if "table" in line} == {
        "add table ip corpus-lab-two",
        "delete table ip corpus-lab-two",
        "table ip corpus-lab-two {",
    }
    for line in text.splitlines():
        if " drop" in line:
            assert '"corpus-two"' in line


def test_each_node_has_ports_of_its_own() -> None:
    text = ruleset(PATHS, CLUSTER)
    for number, node in enumerate(("10.86.7.2", "10.86.7.3", "10.86.7.4")):
        assert f"tcp dport {81 + number} dnat to {node}:80\n" in text
        first = 23000 + 100 * number
        assert f"tcp dport {first}-{first + 99} dnat to {node}\n" in text


def test_nodes_reach_each_other_where_a_bridge_s_packets_are_filtered() -> None:
    lines = [line.strip() for line in ruleset(PATHS, CLUSTER).splitlines()]
    assert lines.index('iifname "corpus-two" oifname "corpus-two" accept') < lines.index(
        'oifname "corpus-two" drop'
    )


def test_loopback_ports_are_not_taken_on_other_addresses() -> None:
    lines = [line for line in ruleset(PATHS, SETTINGS).splitlines() if "dnat to" in line]
    assert lines
    assert all("ip daddr 127.0.0.1" in line for line in lines)


def test_a_node_s_state_outlives_its_root_and_images_are_read_only() -> None:
    binds = {bind.target: bind for bind in config.binds(NODE, MEMBER)}
    assert binds["var/lib/corpus"].source == Path("/labs/two/roots/node2.state/var")
    assert binds["var/lib/corpus/pool"].source == Path("/labs/two/node2")
    assert binds["var/lib/corpus/images-in"].read_only
    assert [b for b in binds.values() if b.read_only] == [binds["var/lib/corpus/images-in"]]


def test_the_configuration_nests_and_keeps_the_clock_out_of_reach() -> None:
    lines = config.configuration(NODE, MEMBER, 1400).splitlines()
    assert "lxc.mount.auto = cgroup:rw:force proc:rw sys:rw" in lines
    assert "lxc.cap.drop = sys_time sys_module sys_rawio" in lines
    assert lines.index("lxc.cap.drop =") < lines.index(
        "lxc.cap.drop = sys_time sys_module sys_rawio"
    )
    assert "lxc.uts.name = node2" in lines
    assert "lxc.net.0.mtu = 1400" in lines
    assert "lxc.net.0.hwaddr = 02:c0:0a:56:07:03" in lines
    assert "lxc.net.0.veth.pair = cveth-two2" in lines
    assert "lxc.net.0.ipv4.address = 10.86.7.3/24" in lines
    assert "lxc.hook.mount =" in lines
    for group in ("cgroup", "cgroup2"):
        assert f"lxc.{group}.devices.allow = b 7:* rwm" in lines


def test_a_path_with_a_space_is_written_as_fstab_wants_it() -> None:
    assert config.Bind(Path("/a b"), "c").entry.startswith("lxc.mount.entry = /a\\040b c none ")


def test_interface_names_keep_to_the_kernel_s_15_characters() -> None:
    longest = LabPaths("abcdefgh", Path("/labs"))
    assert len(longest.bridge) <= 15
    assert len(longest.node(9).veth) <= 15
    for name in ("abcdefghi", "../x", "", "A", "1a", "a-b"):
        with pytest.raises(InvalidName):
            LabPaths(name, Path("/labs"))


def test_a_node_learns_its_ports_its_network_and_its_storage() -> None:
    text = rootfs.node_settings(MEMBER)
    assert "ssh_base = 23100\nssh_ports = 100\n" in text
    assert 'subnet = "10.89.0.0/16"\nstorage = "plain"\n' in text
    assert 'subnet = "10.88.0.0/16"\nstorage = "auto"\n' in rootfs.node_settings(
        SETTINGS.members[0]
    )


def test_nodes_know_each_other_by_name() -> None:
    texts = rootfs.files(MEMBER)
    assert texts["etc/hostname"] == "node2\n"
    for line in ("10.86.7.2 node1", "10.86.7.3 node2", "10.86.7.4 node3", "127.0.1.1 node2"):
        assert line in texts["etc/hosts"].splitlines()


def test_what_is_lost_and_cut_off_is_said_for_both_directions() -> None:
    found = links.Links().change(2, ["loss", "10%"]).cut(3, 1)
    rules = [line.strip() for line in links.ruleset(PATHS, found).splitlines() if "drop" in line]
    assert rules == [
        'iifname "cveth-two2" numgen random mod 100 < 10 drop',
        'oifname "cveth-two2" numgen random mod 100 < 10 drop',
        'iifname "cveth-two1" oifname "cveth-two3" drop',
        'iifname "cveth-two3" oifname "cveth-two1" drop',
    ]


def test_without_a_fault_the_bridge_has_no_rules() -> None:
    text = links.ruleset(PATHS, links.Links())
    assert text == "add table bridge corpus-lab-two\ndelete table bridge corpus-lab-two\n"
