"""The texts that the lab gives to the kernel and to LXC."""

from __future__ import annotations

from pathlib import Path

import pytest

from corpus.lab import config, rootfs
from corpus.lab.paths import LabPaths
from corpus.lab.ruleset import ruleset
from corpus.lab.settings import settings_for
from corpus.model.errors import InvalidName

PATHS = LabPaths("two", Path("/labs"))
SETTINGS = settings_for("two", {"subnet": "10.86.7.0/24", "http_port": 81, "ssh_port_base": 23000})


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


def test_loopback_ports_are_not_taken_on_other_addresses() -> None:
    lines = [line for line in ruleset(PATHS, SETTINGS).splitlines() if "dnat to" in line]
    assert lines
    assert all("ip daddr 127.0.0.1" in line for line in lines)


def test_the_node_s_state_outlives_its_root_and_images_are_read_only() -> None:
    binds = {bind.target: bind for bind in config.binds(PATHS, SETTINGS)}
    assert binds["var/lib/corpus"].source == Path("/labs/two/pool/state/var")
    assert binds["var/lib/corpus/pool"].source == Path("/labs/two/pool/guests")
    assert binds["var/lib/corpus/images-in"].read_only
    assert [b for b in binds.values() if b.read_only] == [binds["var/lib/corpus/images-in"]]


def test_the_configuration_nests_and_keeps_the_clock_out_of_reach() -> None:
    lines = config.configuration(PATHS, SETTINGS, 1400).splitlines()
    assert "lxc.mount.auto = cgroup:rw:force proc:rw sys:rw" in lines
    assert "lxc.cap.drop = sys_time sys_module sys_rawio" in lines
    assert lines.index("lxc.cap.drop =") < lines.index(
        "lxc.cap.drop = sys_time sys_module sys_rawio"
    )
    assert "lxc.net.0.mtu = 1400" in lines
    assert "lxc.net.0.ipv4.address = 10.86.7.2/24" in lines
    assert "lxc.hook.mount =" in lines


def test_a_path_with_a_space_is_written_as_fstab_wants_it() -> None:
    assert config.Bind(Path("/a b"), "c").entry.startswith("lxc.mount.entry = /a\\040b c none ")


def test_interface_names_keep_to_the_kernel_s_15_characters() -> None:
    longest = LabPaths("abcdefgh", Path("/labs"))
    assert len(longest.bridge) <= 15
    assert len(longest.veth) <= 15
    for name in ("abcdefghi", "../x", "", "A", "1a", "a-b"):
        with pytest.raises(InvalidName):
            LabPaths(name, Path("/labs"))


def test_the_node_learns_the_lab_s_ports() -> None:
    assert "ssh_base = 23000\nssh_ports = 100\n" in rootfs.node_settings(SETTINGS)
