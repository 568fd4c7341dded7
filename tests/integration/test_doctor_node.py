"""The node's doctor on a real kernel: drift made by hand is told, mended, and gone."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest

from corpus.hosts.base import Host
from corpus.lab import salt
from guests import node as node
from labs import lab as lab

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="a lab is made by root alone")

PREFIX = "/var/lib/corpus"
POOL = f"{PREFIX}/pool"
LOST = "77777777-2222-4333-8444-555555555555"
STRAY_GROUP, FOREIGN_GROUP = "2/12345", "2/54321"
HALF = "88888888-2222-4333-8444-555555555555"
# A create whose process dies just before the guest is started.
KILLED = f"""
import os, signal
from corpus.node.context import this_node
from corpus.node.environments import making
making.bring_up = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
making.create(this_node(), id={HALF!r}, size="256M")
"""


@pytest.fixture
def made(node: Host) -> Iterator[dict[str, Any]]:
    made = salt.call(
        node, "corpus_node.create", size="512M", memory="256M", hosts=["doctor.example"]
    )
    yield made
    salt.call(node, "corpus_node.destroy", made["id"])
    stray = f"{PREFIX}/stray.img"
    script = f"losetup --detach $(losetup --noheadings --output=NAME --associated={stray}); "
    script += f"btrfs qgroup destroy {FOREIGN_GROUP} {POOL}; "
    script += f"btrfs subvolume delete {POOL}/env/mine {POOL}/env/{LOST}; rm -f {stray}"
    node.run(["sh", "-c", script], check=False)
    salt.call(node, "corpus_node.destroy", HALF)
    left = node.run(["ls", f"{POOL}/env", PREFIX]).out.split()
    assert not {made["id"], "mine", LOST, HALF, "stray.img"} & set(left)


def unwell(node: Host, **given: Any) -> dict[str, list[dict[str, Any]]]:
    """What the doctor finds that is not well, by check."""
    found: dict[str, list[dict[str, Any]]] = {}
    for one in salt.call(node, "corpus_node.doctor", **given):
        # The kernel cleans up behind former environments for a while, and keeps their groups.
        late = one["check"] == "quota_groups" and one["where"] != STRAY_GROUP
        if one["state"] != "ok" and not late:
            found.setdefault(one["check"], []).append(one)
    return found


def group(id: str) -> str:
    return f"2/{int(id.replace('-', '')[:12], 16)}"


def free_loop(node: Host) -> str:
    """A free loop device; in a container its file is made first."""
    script = "from pathlib import Path; from corpus.hosts import loops\n"
    script += "print(loops._free(Path('/dev')))"
    return node.run(["/opt/corpus/bin/python", "-"], stdin=script).out.strip()


def spoil(node: Host, id: str) -> None:
    """Do by hand what somebody might do, and what a crash might leave."""
    killed = node.run(["/opt/corpus/bin/python", "-"], stdin=KILLED, check=False)
    assert killed.code in (-9, 137), killed
    for argv in (
        ["nft", "delete", "table", "inet", "corpus0"],
        ["nft", "delete", "table", "bridge", "corpus0"],
        ["sysctl", "-qw", "net/ipv4/conf/corpus0/forwarding=0"],
        ["btrfs", "qgroup", "limit", "600M", group(id), POOL],
        ["rm", "/etc/corpus/proxy/hosts.map"],
        ["truncate", "-s", "64M", f"{PREFIX}/stray.img"],
        ["losetup", free_loop(node), f"{PREFIX}/stray.img"],
        ["btrfs", "subvolume", "create", f"{POOL}/images/.abcdef012345-1.partial"],
        ["btrfs", "subvolume", "create", f"{POOL}/env/mine"],
        ["btrfs", "subvolume", "create", f"{POOL}/env/{LOST}"],
        ["touch", f"{POOL}/groups/{STRAY_GROUP.replace('/', '_')}"],
        ["btrfs", "qgroup", "create", STRAY_GROUP, POOL],
        ["btrfs", "qgroup", "create", FOREIGN_GROUP, POOL],
        ["touch", f"{POOL}/env/mine/kept", f"{POOL}/env/{LOST}/kept"],
        ["mkdir", "-p", f"{PREFIX}/lxc/{LOST}", f"/run/corpus-ask/{LOST}"],
        ["systemctl", "stop", f"corpus-ask@{id}.socket"],
    ):
        node.run(argv)
    key = "cgroup.memory.limit_in_bytes" if _old(node) else "cgroup2.memory.max"
    name = key.partition(".")[2]
    node.run(["lxc-cgroup", f"--lxcpath={PREFIX}/lxc", f"--name={id}", name, str(192 << 20)])


def _old(node: Host) -> bool:
    return node.run(["test", "-d", "/sys/fs/cgroup/memory"], check=False).code == 0


def test_drift_is_told_and_mended(node: Host, made: dict[str, Any]) -> None:
    unwell(node, mend=True)  # what other tests left
    assert unwell(node) == {}
    spoil(node, made["id"])
    expected = {
        "bridge", "containers", "firewall", "half_way", "images", "limits", "loop_devices",
        "places", "proxy", "quota_groups", "sizes", "sockets",
    }  # fmt: skip
    assert expected <= unwell(node).keys()
    mended = unwell(node, mend=True)
    assert expected - {"firewall", "quota_groups"} <= mended.keys()  # mended by half_way
    for check, all_of_it in mended.items():
        assert check == "places" or all(one["mended"] for one in all_of_it), all_of_it
    left = unwell(node)
    assert {one["where"] for one in left.pop("places")} == {
        f"{POOL}/env/mine", f"{POOL}/env/{LOST}",
    }  # fmt: skip
    assert left == {}
    assert node.run(["ls", f"{POOL}/env/mine", f"{POOL}/env/{LOST}"]).out.count("kept") == 2
    groups = node.run(["btrfs", "qgroup", "show", POOL]).out.split()
    assert (STRAY_GROUP in groups, FOREIGN_GROUP in groups) == (False, True)
    assert HALF not in str(salt.call(node, "corpus_node.list"))
    shown = salt.call(node, "corpus_node.inspect", made["id"])
    assert (shown["state"], shown["pid"]) == ("running", made["pid"])
