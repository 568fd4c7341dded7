"""Environments on each kind of storage: nodes beside the lab's own one, with pools of their own.

The kind ``quota`` is that of the lab's own node, which ``test_node`` tries; here it lies in a file.
"""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import pytest

from corpus.hosts.base import Host
from corpus.hosts.container import Container
from corpus.lab import tenant
from corpus.lab.machine import Lab
from corpus.lab.pool import Pool
from corpus.model.errors import CommandFailed
from labs import lab as lab
from patience import wait_until
from swapping import SWAP

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="a lab is made by root alone")

PYTHON = "/opt/corpus/bin/python"
MIB = 1 << 20
KINDS = ("quota", "image", "plain")
CALL = """
import json, sys
from pathlib import Path
from corpus.node import boot
from corpus.node.context import this_node
from corpus.node.environments import cloning, removal, lifecycle, limiting
from corpus.node.environments import listing, making, room, snapshots
from corpus.node.storage import images, pool, usage, weights
node = this_node(Path("{settings}"))
print(json.dumps({expression}, default=str))
"""
SWAPPED = """
import os
os.makedirs("/srv/swapped/folder")
for number in range(300):
    open(f"/srv/swapped/folder/{{number}}", "w").close()
os.symlink("{secret}", "/srv/swapped/link")
with open("/srv/swaps.py", "w") as file:
    file.write('''
import ctypes
swap = ctypes.CDLL(None).renameat2
while True:
    swap(-100, b"/srv/swapped/folder", -100, b"/srv/swapped/link", 2)
''')
"""


@dataclass
class Second:
    """A node of the lab's machine that has a kind of storage of its own."""

    host: Host
    kind: str

    @property
    def prefix(self) -> str:
        return f"/var/lib/corpus-{self.kind}"

    @property
    def settings(self) -> str:
        return f"/etc/corpus/{self.kind}.toml"

    def script(self, expression: str) -> list[str]:
        return [PYTHON, "-c", CALL.format(settings=self.settings, expression=expression)]

    def call(self, expression: str) -> Any:
        return json.loads(self.host.run(self.script(expression), timeout=120).out)

    def create(self, size: str = "300M", **more: str) -> dict[str, Any]:
        """Make an environment; the lab's own node lets nobody else's speak, hence wait=0."""
        words = "".join(f", {key}={value!r}" for key, value in more.items())
        found: dict[str, Any] = self.call(f"making.create(node, size={size!r}, wait=0{words})")
        return found

    def inside(self, made: dict[str, Any]) -> Container:
        return Container(made["id"], self.host, PurePosixPath(self.prefix, "lxc"))

    def write(self, made: dict[str, Any], mib: int, name: str = "ballast") -> int:
        """Write as many MiB in an environment; return dd's code."""
        words = ["dd", "if=/dev/urandom", f"of=/srv/{name}", "bs=1M", f"count={mib}", "conv=fsync"]
        return self.inside(made).run([*words, "status=none"], check=False).code

    def left_of(self, id: str) -> str:
        """Every trace of an environment on the node."""
        find = f"find {self.prefix} /sys/fs/cgroup -maxdepth 3 -name '*{id}*'"
        script = f"{find}; grep {id} /proc/self/mountinfo"
        return self.host.run(["sh", "-c", script], check=False).out

    def remove(self) -> None:
        try:
            for record in self.call("listing.listed(node)"):
                self.call(f"removal.destroy(node, {record['id']!r})")
        finally:
            self.clear()

    def clear(self) -> None:
        tables = f"nft list tables | grep {self.kind}0 | sed 's/^table/delete table/' | nft -f -"
        script = (
            f"{tables}; ip link delete {self.kind}0; umount {self.prefix}/pool;"
            f"rm -r {self.prefix} {self.settings};"
            f"sed -i /:{self.idmap}:/d /etc/subuid /etc/subgid"
        )
        self.host.run(["sh", "-c", script], check=False)

    @property
    def idmap(self) -> int:
        return 200_000_000 + KINDS.index(self.kind) * 1_000_000

    def start(self) -> None:
        number = 90 + KINDS.index(self.kind)
        text = (
            f'prefix = "{self.prefix}"\nstorage = "{self.kind}"\npool_size = "6G"\n'
            f'bridge = "{self.kind}0"\nsubnet = "10.{number}.0.0/16"\nssh_base = {number}00\n'
            f"idmap_base = {self.idmap}\nidmap_slots = 8\n"
        )
        self.host.run(["dd", "status=none", f"of={self.settings}"], stdin=text)
        assert self.call("boot.prepare(node)")["storage"] == self.kind
        self.call(f"images.import_image(node, Path({tenant.IMAGES!r}))")


def loops_of(lab: Lab) -> set[str]:
    return set(Pool(lab._host, lab.paths, lab.settings).loops())


@pytest.fixture(scope="module", params=KINDS)
def node(lab: Lab, request: pytest.FixtureRequest) -> Iterator[Second]:
    tenant.prepare(lab)
    before = loops_of(lab)
    made = Second(lab.node(), request.param)
    try:
        made.start()
        if made.kind == "quota":
            assert loops_of(lab) - before  # the leftovers of a lab are found by what this finds
        yield made
    finally:
        made.remove()
        tenant.prepare(lab)  # the machine has one proxy: it is the lab's own node's again
    assert made.host.run(["ls", made.prefix], check=False).code != 0
    assert made.prefix not in made.host.run(["cat", "/proc/self/mountinfo"]).out
    wait_until(lambda: loops_of(lab) <= before, told=lambda: loops_of(lab) - before)


@pytest.fixture(scope="module")
def site(node: Second) -> Iterator[dict[str, Any]]:
    made = node.create(memory="512M")
    yield made
    assert node.call(f"removal.destroy(node, {made['id']!r})") != []
    assert node.left_of(made["id"]) == ""


def test_its_root_makes_snapshots_and_swaps_them(node: Second, site: dict[str, Any]) -> None:
    if node.kind != "image":
        pytest.skip("directories have none; test_node tries it with quotas")
    done = node.inside(site).run([PYTHON, "-"], stdin=SWAP, check=False)
    assert done.code == 0, done.err


def watched(node: Second, site: dict[str, Any]) -> None:
    """Nothing holds it to its size; what it takes is told when it was walked for."""
    assert site["used"] is None
    assert node.write(site, 310) == 0
    (told,) = node.call("weights.weigh(node) and usage.usage(node)")
    assert 310 * MIB <= told["used"] < 400 * MIB
    assert (told["over"], node.call("boot.facts(node)")["over"]) == (True, [site["id"]])
    node.call(f"room.enlarge(node, {site['id']!r}, '1G').record.id")
    assert node.call("boot.facts(node)")["over"] == []
    with pytest.raises(CommandFailed, match="the node's disk has"):
        node.call(f"limiting.limit(node, {site['id']!r}, size='9T', size_limit='9T').record.id")
    with pytest.raises(CommandFailed, match="are used already"):
        node.call(f"limiting.limit(node, {site['id']!r}, size='300M').record.id")
    node.inside(site).run(["rm", "/srv/ballast"])


def test_sizes_are_enforced_and_change_while_it_runs(node: Second, site: dict[str, Any]) -> None:
    if node.kind == "plain":
        watched(node, site)
        return
    assert 0 <= site["used"] < 50 * MIB
    assert node.write(site, 200) == 0
    assert node.write(site, 200, "more") != 0
    node.inside(site).run(["rm", "/srv/more"])
    node.call(f"limiting.limit(node, {site['id']!r}, size='600M').record.id")
    assert node.write(site, 200, "more") == 0
    node.call(f"room.enlarge(node, {site['id']!r}, '700M').record.id")
    with pytest.raises(CommandFailed, match="are used already"):
        node.call(f"limiting.limit(node, {site['id']!r}, size='300M').record.id")
    node.inside(site).run(["sh", "-c", "rm /srv/more && sync"])
    shown = f"listing.inspect(node, {site['id']!r})"
    wait_until(lambda: node.call(shown)["used"] <= 250 * MIB)
    node.call(f"limiting.limit(node, {site['id']!r}, size='300M').record.id")
    assert node.write(site, 200, "more") != 0
    node.inside(site).run(["rm", "/srv/more"])


def test_a_guest_that_swaps_a_folder_for_a_link_copies_nothing_of_the_node(
    node: Second, site: dict[str, Any]
) -> None:
    secret, id = f"{node.prefix}/secret", site["id"]
    node.host.run(["sh", "-c", f"mkdir {secret}; echo {'s' * 40} > {secret}/swapped-secret"])
    node.inside(site).run([PYTHON, "-"], stdin=SWAPPED.format(secret=secret))
    swaps = ["systemd-run", "--quiet", "--unit=swaps", PYTHON, "/srv/swaps.py"]
    node.inside(site).run(swaps)
    found = f"find {node.prefix}/pool/env -name swapped-secret"
    try:
        for number in range(5):
            node.call(f"snapshots.take(node, {id!r}, 'frozen{number}')['frozen']")
        if node.kind == "plain":
            with pytest.raises(CommandFailed, match="files are copied one by one"):
                node.call(f"snapshots.take(node, {id!r}, 'live', freeze=False)")
        if node.kind == "quota":
            made = node.call(f"cloning.clone(node, {id!r}, freeze=False, start=False)['id']")
            node.call(f"removal.destroy(node, {made!r})")
        else:
            with pytest.raises(CommandFailed, match="files are copied one by one"):
                node.call(f"cloning.clone(node, {id!r}, freeze=False, start=False)['id']")
        assert node.host.run(["sh", "-c", found]).out == ""
    finally:
        node.inside(site).run(["systemctl", "stop", "swaps"])
        for number in range(5):
            node.call(f"snapshots.delete(node, {id!r}, 'frozen{number}')")
        node.inside(site).run(["rm", "-r", "/srv/swapped", "/srv/swaps.py"])
        node.host.run(["rm", "-r", secret])


def test_a_full_one_can_be_destroyed(node: Second) -> None:
    if node.kind != "image":
        pytest.skip("directories do not get full; test_node tries it with quotas")
    one = node.create("128M")
    assert node.write(one, 200) != 0
    assert node.call(f"removal.destroy(node, {one['id']!r})") != []
    assert node.left_of(one["id"]) == ""


def test_it_comes_back_from_its_record(node: Second, site: dict[str, Any]) -> None:
    node.inside(site).run(["sh", "-c", "echo kept > /srv/kept"])
    node.call("boot.halt(node)")
    mounted = f"pool/env/{site['id']}" in node.host.run(["cat", "/proc/self/mountinfo"]).out
    assert not mounted
    if node.kind == "quota":
        node.host.run(["umount", f"{node.prefix}/pool"])
    assert node.call("boot.boot(node)") == {site["id"]: "started"}
    assert node.inside(site).run(["cat", "/srv/kept"]).out == "kept\n"


@pytest.mark.parametrize("after", [0.5, 2.0])
def test_a_killed_create_is_cleared_away(node: Second, after: float) -> None:
    if node.kind == "quota":
        pytest.skip("test_node tries it")
    id = f"00000000-0000-4000-8000-{int(after * 100):012d}"
    unit = f"killed-{node.kind}-{id}"
    script = node.script(f"making.create(node, id={id!r}, size='300M', wait=0)")
    node.host.run(["systemd-run", "--quiet", "--collect", f"--unit={unit}", *script])
    record = f"{node.prefix}/environments/{id}.json"
    wait_until(lambda: node.host.run(["test", "-e", record], check=False).code == 0)
    time.sleep(after)
    node.host.run(["systemctl", "kill", f"--signal={signal.SIGKILL}", unit], check=False)
    if after != 2.0:  # else a boot does it
        assert node.create("300M", id=id)["state"] == "running"
        node.call(f"removal.destroy(node, {id!r})")
    elif "removed" not in node.call("boot.boot(node)").get(id, "removed"):
        node.call(f"removal.destroy(node, {id!r})")
    assert node.left_of(id) == ""
