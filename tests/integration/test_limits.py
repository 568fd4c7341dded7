"""Sizes and limits of running guests, and a guest's root that would like to have more."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import Any

import pytest

from corpus.hosts.base import Host
from corpus.lab import salt
from corpus.model.errors import CorpusError
from guests import PYTHON, Guest, lent
from guests import node as node
from labs import lab as lab

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="a lab is made by root alone")

MIB, GIB = 1 << 20, 1 << 30
# Makes a subvolume that names no quota group, by each way into the kernel: the call as it is, one
# whose number has bits that the kernel drops, and the one of 32-bit programs.
ESCAPE = """
import ctypes, mmap, os, struct, sys
folder, source = os.open(sys.argv[1], os.O_RDONLY), os.open(sys.argv[2], os.O_RDONLY)
libc = ctypes.CDLL(None, use_errno=True)
low = mmap.mmap(-1, 8192, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x40, 7)
place = ctypes.addressof(ctypes.c_char.from_buffer(low))
def argument(name, handle):
    low[:4096] = struct.pack("<qQQQQ16x4040s", handle, 0, 4, 72, place + 4096, name)
    low[4096:4096 + 72] = bytes(72)
def plain(number):
    return libc.syscall(16, folder, ctypes.c_ulong(number), ctypes.c_void_p(place))
def compat(number):
    code = b"\\x53\\xb8" + struct.pack("<I", 54) + b"\\xbb" + struct.pack("<I", folder)
    code += b"\\xb9" + struct.pack("<I", number) + b"\\xba" + struct.pack("<I", place)
    low[6144:6144 + len(code) + 4] = code + b"\\xcd\\x80\\x5b\\xc3"
    return ctypes.CFUNCTYPE(ctypes.c_int)(place + 6144)()
made = []
for way, name in ((plain, b"a"), (lambda n: plain(n | 1 << 32), b"b"), (compat, b"c")):
    for number, handle in ((0x50009418, 0), (0x50009417, source)):
        label = name + (b"-snap" if handle else b"")
        argument(label, handle)
        way(number)
        if os.path.exists(os.path.join(sys.argv[1].encode(), label)):
            made.append(label.decode())
# What shows that the ways are ways: the older call, which inherits the groups of its place.
low[:4096] = struct.pack("<q4088s", 0, b"d")
plain(0x5000940E)
low[:4096] = struct.pack("<q4088s", 0, b"e")
compat(0x5000940E)
print(made, sorted(n for n in "de" if os.path.exists(os.path.join(sys.argv[1], n))))
"""


HOLDER = """
import time
held = bytearray(180 << 20)
open("/run/held", "w").close()
time.sleep(600)
"""


class Site(Guest):
    """An environment of these tests, with one project."""

    def project(self, function: str, *words: str) -> Any:
        done = self.inside.run(
            ["salt-call", "--local", "--out=json", "--log-level=quiet", function, *words]
        )
        return json.loads(done.out)["local"]

    def told(self, text: str, *words: str, user: str = "root") -> str:
        """Run a script; return all that it says."""
        done = self.script(text, *words, user=user)
        return done.out.strip() + done.err.strip()

    def write(self, path: str, size: int, user: str = "root") -> int:
        """Write as many MiB, as far as it goes; return how many bytes there are."""
        words = ["dd", "if=/dev/urandom", f"of={path}", "bs=1M", f"count={size}", "conv=fsync"]
        self.inside.run([*words, "status=none"], check=False, user=user)
        found = self.inside.run(["stat", "--format=%s", path], check=False).out.strip()
        return int(found or 0)

    def free(self, *paths: str) -> None:
        self.inside.run(["rm", "-f", *paths])
        self.inside.run(["sync"])

    @property
    def used(self) -> dict[str, Any]:
        found: dict[str, Any] = self.call("usage")[0]
        return found


@pytest.fixture(scope="module")
def site(node: Host) -> Iterator[Site]:
    if salt.call(node, "corpus_node.facts")["storage"] != "quota":
        pytest.skip("this kernel accounts no projects")
    given = {"size": "768M", "size_limit": "1G", "memory": "512M", "cpu": 1, "pids": 300}
    with lent(node, **given) as made:
        one = Site(node, made)
        assert "volume /srv/projects/demo" in one.project("mc_project.init_project", "demo")["made"]
        yield one


def test_no_call_makes_a_subvolume_that_nothing_limits(site: Site) -> None:
    site.inside.run(["mkdir", "-p", "/srv/attack", "/srv/projects/demo/data/attack"])
    site.inside.run(["chown", "demo-app", "/srv/projects/demo/data/attack"])
    for user, folder, source in (
        ("root", "/srv/attack", "/srv"),
        ("demo-app", "/srv/projects/demo/data/attack", "/srv/projects/demo/data"),
    ):
        assert site.told(ESCAPE, folder, source, user=user) == "[] ['d', 'e']"


def test_a_project_is_held_to_its_size_and_told_of_it(site: Site) -> None:
    data, releases = "/srv/projects/demo/data/file", "/srv/projects/demo/releases/file"
    site.call("project_limit", "demo", size="128M")
    assert 100 * MIB < site.write(data, 200, user="demo-app") <= 128 * MIB
    assert site.write("/srv/ballast", 200) == 200 * MIB  # the environment goes on
    site.inside.run(["sync"])
    found = site.used["projects"]["demo"]
    assert found["size"] == 128 * MIB
    assert found["data"] > 100 * MIB
    site.free(data)
    assert site.write(releases, 30) == 30 * MIB
    site.inside.run(["sync"])
    found = site.used["projects"]["demo"]
    assert 30 * MIB <= found["releases"] < 31 * MIB
    script = (
        "from corpus.project import room\n"
        "from corpus.project.place import Place, Project\n"
        "project = Project.at(Place(), 'demo')\n"
        "print(room.free(project) >> 20)\n"
        "room.ensure(project, 300 << 20, lambda text: print(text))\n"
    )
    told = site.told(script).splitlines()
    assert 60 < int(told[0]) < 98
    assert "asked of the node: the project may now use" in told[1]
    assert site.call("inspect")["projects"] == [
        {"project": "demo", "size": GIB, "size_limit": None}
    ]
    site.call("project_limit", "demo", size="none")
    site.free("/srv/ballast", releases)


def test_a_project_that_is_removed_and_made_again_has_its_size_again(site: Site) -> None:
    site.project("mc_project.init_project", "shop")
    site.call("project_limit", "shop", size="64M")
    site.project("mc_project.remove", "shop", "confirm=shop")
    assert site.inside.run(["test", "-e", "/srv/projects/shop"], check=False).code == 1
    site.project("mc_project.init_project", "shop")
    assert 40 * MIB < site.write("/srv/projects/shop/data/file", 100) <= 64 * MIB
    assert site.used["projects"]["shop"]["accounted"] is True
    site.call("project_limit", "shop", size="none")
    site.project("mc_project.remove", "shop", "confirm=shop")


def test_a_trim_below_what_is_used_is_refused_and_says_what_could_go(site: Site) -> None:
    assert site.write("/srv/ballast", 200) == 200 * MIB
    site.inside.run(["sync"])
    with pytest.raises(CorpusError, match="used already, and 32M are kept free") as refused:
        site.call("trim", size="220M")
    assert "of past deployments (mc_project.usage demo)" in str(refused.value)
    with pytest.raises(CorpusError, match="used already, and 32M are kept free"):
        site.call("limit", size="220M")
    assert site.call("trim", size="400M", test=True)["changes"]
    assert site.call("trim", size="400M")["size"] == 400 * MIB
    assert site.write("/srv/more", 50) == 50 * MIB  # it is not wedged
    assert site.write("/srv/more", 400) < 250 * MIB
    site.free("/srv/ballast", "/srv/more")
    assert site.call("enlarge", size="768M")["size"] == 768 * MIB


def test_limits_change_and_go_while_it_runs_and_the_guest_sees_them(site: Site) -> None:
    def seen() -> tuple[int, int]:
        memory = site.inside.run(["grep", "MemTotal", "/proc/meminfo"]).out.split()[1]
        cpus = site.inside.run(["grep", "--count", "^processor", "/proc/cpuinfo"]).out
        return int(memory) // 1024, int(cpus)

    assert seen() == (512, 1)
    site.call("limit", memory="300M", pids=250)
    assert seen() == (300, 1)
    words = ["systemd-run", "--quiet", "--unit=held", PYTHON, "-c", HOLDER]
    site.inside.run(words)
    site.inside.run(["sh", "-c", "until test -e /run/held; do sleep 0.1; done"], timeout=30)
    with pytest.raises(CorpusError, match="of memory: with 128M the kernel would end some"):
        site.call("limit", memory="128M")
    assert site.inside.run(["systemctl", "is-active", "held"]).out.strip() == "active"
    assert seen() == (300, 1)
    site.inside.run(["systemctl", "stop", "held"])
    site.call("limit", memory="none", cpu="none", pids="none")
    memory, cpus = seen()
    assert memory > 1024
    assert cpus == os.cpu_count()
    assert site.call("inspect")["memory"] is None
    site.call("limit", memory="512M", cpu=1, pids=300)
    assert seen() == (512, 1)
    site.call("stop")
    site.call("start")
    assert seen() == (512, 1)


def test_swap_counts_as_memory(site: Site) -> None:
    script = (
        "grep -H . /sys/fs/cgroup/memory/memory.memsw.limit_in_bytes "
        "/sys/fs/cgroup/memory.swap.max /sys/fs/cgroup/memory.max 2>/dev/null"
    )
    lines = site.inside.run(["sh", "-c", script], check=False).out.split()
    values = [int(line.rpartition(":")[2]) for line in lines]
    if not values:
        pytest.skip("this kernel does not count swap")
    assert values in ([512 * MIB], [0, 512 * MIB])
