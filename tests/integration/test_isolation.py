"""Root of an environment attacks: its size, its limits, the kernel, files of others.

The network's attacks are in ``test_firewall``, what loud neighbours do in ``test_neighbours``.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from attackers import TRY, Guest
from attackers import attacker as attacker
from corpus.hosts.base import Host
from corpus.lab import salt
from guests import lent, put
from guests import node as node
from labs import lab as lab

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="a lab is made by root alone")

MIB = 1 << 20
SIZE = 256 * MIB
SLACK = 40 * MIB  # metadata, what the kernel writes before it counts, the files that are there
REFUSED = {"EPERM", "EACCES", "EROFS"}
SECRET = "what only the neighbour knows"


@pytest.fixture(scope="module")
def victim(node: Host) -> Iterator[Guest]:
    with lent(node, size="256M") as made:
        one = Guest(node, made)
        put(one.inside, "/srv/secret", SECRET)
        yield one


# -- the size

SUBVOLUMES = """
def volume(request, name, handle=0, flags=0, inherit=None):
    place = os.open("/srv", os.O_RDONLY)
    if request & 0xFF in (0x17, 0x18):
        size, address = (len(inherit), ctypes.addressof(inherit)) if inherit else (0, 0)
        argument = struct.pack("<qQQQQ16x4040s", handle, 0, flags, size, address, name.encode())
    else:
        argument = struct.pack("<q4088s", handle, name.encode())
    try:
        fcntl.ioctl(place, request, bytearray(argument))
    finally:
        os.close(place)

def create(name): volume(0x5000940E, name)
def snapshot(source, name):
    handle = os.open("/srv/" + source, os.O_RDONLY)
    volume(0x50009401, name, handle)
    os.close(handle)
def delete(name): volume(0x5000940F, name)

def fill(path, most=700):
    "Write until it is refused, as many MiB at the most."
    try:
        with open(path, "ab", 0) as file:
            for _ in range(most):
                file.write(os.urandom(1 << 20))
            os.fsync(file.fileno())
    except OSError as error:
        if error.errno not in (errno.EDQUOT, errno.ENOSPC):
            raise
"""
CLEAR = """
for path in ("/srv/two/more", "/srv/two/file", "/srv/three/more", "/srv/three/file",
             "/var/tmp/file", "/root/file", "/srv/file", "/srv/holes", "/srv/four/file"):
    if os.path.exists(path):
        os.unlink(path)
os.sync()
for name in ("two", "three", "four"):
    if os.path.exists("/srv/" + name):
        delete(name)
"""


def test_no_subvolume_is_outside_its_quota_group(attacker: Guest) -> None:
    """The second form of the requests names quota groups: none at all, or somebody else's."""
    found = attacker.attempts(
        SUBVOLUMES
        + """
none = ctypes.create_string_buffer(struct.pack("<4Q5Q", *[0] * 9), 72)
other = ctypes.create_string_buffer(struct.pack("<4Q5QQ", 0, 1, *[0] * 7, 2 << 48 | 1), 80)
create("there")
handle = os.open("/srv/there", os.O_RDONLY)
for high in (0, 1 << 32):
    def request(number):
        if not high:
            return lambda *rest: volume(number, *rest)
        def bare(name, handle=0, flags=0, inherit=None):
            place = os.open("/srv", os.O_RDONLY)
            argument = struct.pack("<qQQQQ16x4040s", handle, 0, flags, len(inherit),
                                   ctypes.addressof(inherit), name.encode())
            call("syscall", ctypes.c_long(16), ctypes.c_long(place), ctypes.c_ulong(number | high),
                 argument)
        return bare
    for name, inherit in (("none", none), ("other", other)):
        attempt(f"create-{name}-{high}", request(0x50009418), f"c-{name}-{high}", 0, 4, inherit)
        ask = request(0x50009417)
        attempt(f"snapshot-{name}-{high}", ask, f"s-{name}-{high}", handle, 4, inherit)
attempt("group", fcntl.ioctl, handle, 0x4010942A, bytearray(16))
attempt("assign", fcntl.ioctl, handle, 0x40189429, bytearray(24))
attempt("limit", fcntl.ioctl, handle, 0x8030942B, bytearray(48))
attempt("quotas-off", fcntl.ioctl, handle, 0xC0109428, bytearray(struct.pack("QQ", 2, 0)))
os.close(handle)
delete("there")
"""
    )
    assert len(found) == 12
    assert {how for how in found.values() if how not in REFUSED | {"ENOTTY"}} == set(), found


def test_no_trick_writes_more_than_the_size(node: Host, attacker: Guest) -> None:
    """Subvolumes in subvolumes, snapshots, shared extents that outlive their owner, holes."""
    script = (
        TRY
        + SUBVOLUMES
        + """
FICLONE = 0x40049409
def clone(source, target):
    with open(source, "rb") as old, open(target, "wb") as new:
        fcntl.ioctl(new, FICLONE, old.fileno())

create("one")
fill("/srv/one/file", 60)
create("two")
clone("/srv/one/file", "/srv/two/file")
snapshot("two", "three")
os.unlink("/srv/one/file")
delete("one")
print("kept", os.path.getsize("/srv/three/file"))
handle = os.open("/srv/holes", os.O_RDWR | os.O_CREAT)
try:
    os.posix_fallocate(handle, 0, 2 << 30)
    print("fallocated yes")
except OSError:
    pass
call("fallocate", handle, 1, ctypes.c_long(0), ctypes.c_long(30 << 20))
call("fallocate", handle, 3, ctypes.c_long(0), ctypes.c_long(30 << 20))
os.close(handle)
for name in ("two", "three"):
    fill(f"/srv/{name}/more")
try:
    create("four")
    fill("/srv/four/file")
except OSError as error:
    if error.errno != errno.EDQUOT:
        raise
for place in ("/var/tmp/file", "/root/file", "/srv/file"):
    fill(place)
os.sync()
places = ("/srv/two/more", "/srv/three/more", "/var/tmp/file", "/root/file", "/srv/file")
total = sum(os.stat(place).st_blocks * 512 for place in places if os.path.exists(place))
print("written", total + (60 << 20))
"""
    )
    try:
        out = dict(line.split() for line in attacker.python(script).splitlines())
        assert int(out["kept"]) == 60 * MIB
        assert int(out["written"]) <= SIZE + SLACK
        assert "fallocated" not in out
        assert salt.call(node, "corpus_node.inspect", attacker.id)["used"] <= SIZE + SLACK
    finally:
        attacker.python(TRY + SUBVOLUMES + CLEAR)


# -- its limits


def test_its_limits_are_not_its_own_to_lift(attacker: Guest) -> None:
    found = attacker.attempts(
        """
import glob
LIMITS = ("memory.limit_in_bytes", "memory.max", "memory.high", "pids.max", "cpu.max",
          "cpu.cfs_quota_us", "cpu.shares", "cpu.weight", "memory.memsw.limit_in_bytes",
          "devices.allow", "memory.oom_control", "release_agent", "io.max", "cpuset.cpus")
def lift(root, below="*/"):
    for name in LIMITS:
        for path in (f"{root}/{name}", *(glob.glob(f"{root}/{below}{name}") if below else ())):
            text = {"devices.allow": "a", "release_agent": "/bin/sh"}.get(name, "10000")
            attempt(path, write, path, text)
lift("/sys/fs/cgroup")  # v2, and each controller of v1; groups below are its own
call("unshare", ctypes.c_int(0x00020000))
call("mount", None, b"/", None, ctypes.c_ulong(0x44000), None)
for place in ["/sys", "/sys/fs/cgroup", *glob.glob("/sys/fs/cgroup/*")]:
    try:
        call("mount", None, place.encode(), None, ctypes.c_ulong(0x20), None)
        call("mount", None, place.encode(), None, ctypes.c_ulong(0x1020), None)
    except OSError:
        pass
lift("/sys/fs/cgroup")
for kind, data in (("cgroup", "memory"), ("cgroup", "pids"), ("cgroup", "devices"),
                   ("cgroup2", None)):
    place = f"/run/mine-{kind}-{data}"
    try:
        mount("none", place, kind, 0, data)
    except OSError as error:
        print(f"mount-{kind}-{data}", errno.errorcode[error.errno])
        continue
    lift(place, below="")
"""
    )
    assert len(found) >= 3
    lifted = {name: how for name, how in found.items() if how == "DONE"}
    assert lifted == {}
    tells = "cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory.max; true"
    assert str(300 * MIB) in attacker.inside.run(["sh", "-c", f"({tells}) 2>/dev/null"]).out


def test_no_process_of_its_puts_itself_above_others(attacker: Guest) -> None:
    found = attacker.attempts(
        """
def limit(which, value):
    call("setrlimit", which, struct.pack("QQ", value, value))
attempt("files", limit, resource.RLIMIT_NOFILE, 1 << 29)
attempt("nice", os.setpriority, os.PRIO_PROCESS, 0, -20)
attempt("realtime", os.sched_setscheduler, 0, os.SCHED_FIFO, os.sched_param(50))
attempt("io-realtime", system, 251, 1, 0, 1 << 13)
attempt("oom", write, "/proc/self/oom_score_adj", "-1000")
attempt("oom-1", write, "/proc/1/oom_score_adj", "-1000")
"""
    )
    assert len(found) == 6
    assert {name: how for name, how in found.items() if how not in REFUSED} == {}


# -- the kernel


def test_the_kernel_takes_no_orders(attacker: Guest) -> None:
    found = attacker.attempts(
        """
import stat, time
attempt("mknod-block", os.mknod, "/run/disk", 0o600 | stat.S_IFBLK, os.makedev(8, 0))
attempt("mknod-mem", os.mknod, "/run/mem", 0o600 | stat.S_IFCHR, os.makedev(1, 1))
attempt("mknod-kmsg", os.mknod, "/run/kmsg", 0o600 | stat.S_IFCHR, os.makedev(1, 11))
for number in (0, 1, 2, 3):
    attempt(f"kexec-{number}", system, (246, 320, 246, 320)[number], 0, 0, 0, 0)
attempt("init-module", system, 175, b"x", 1, b"")
attempt("load-module", system, 313, 0, b"", 0)
attempt("delete-module", system, 176, b"dummy", 0)
attempt("log", system, 103, 3, ctypes.create_string_buffer(4096), 4096)
attempt("clear-log", system, 103, 5, None, 0)
attempt("clock", time.clock_settime, time.CLOCK_REALTIME, time.time() + 3600)
attempt("swap-on", call, "swapon", b"/srv/secret", 0)
attempt("account", call, "acct", b"/srv/secret")
attempt("quotactl", system, 179, 0x800002 << 8, b"/dev/sda", 0, None)
attempt("handles", system, 304, -100, ctypes.create_string_buffer(64), 0)
attempt("iopl", system, 172, 3)
attempt("bpf", system, 321, 0, ctypes.create_string_buffer(128), 128)
event = ctypes.create_string_buffer(struct.pack("<II", 0, 128), 128)
attempt("perf", system, 298, event, -1, 0, -1, 0)
attempt("reboot-keys", system, 169, 0xFEE1DEAD, 672274793, 0x89ABCDEF, 0)
attempt("chroot-mem", read, "/dev/mem")
attempt("port", read, "/dev/port")
attempt("kcore", read, "/proc/kcore")
attempt("pages", read, "/proc/kpagecount")
call("unshare", ctypes.c_int(0x00020000))
call("mount", None, b"/", None, ctypes.c_ulong(0x44000), None)
for place in ("/proc/sys", "/proc/sysrq-trigger", "/sys", "/proc"):
    for flags in (0x20, 0x1020):
        try:
            call("mount", None, place.encode(), None, ctypes.c_ulong(flags), None)
        except OSError:
            pass
for path, text in (("/proc/sysrq-trigger", "h"), ("/proc/sys/kernel/core_pattern", "|/bin/sh"),
                   ("/proc/sys/kernel/modprobe", "/bin/sh"), ("/proc/sys/vm/drop_caches", "3"),
                   ("/proc/sys/kernel/panic", "1"), ("/proc/sys/fs/binfmt_misc/register", ":x:"),
                   ("/proc/sys/fs/inotify/max_user_instances", "1"),
                   ("/sys/kernel/uevent_helper", "/bin/sh"), ("/sys/power/state", "mem"),
                   ("/sys/module/btrfs/uevent", "add"),
                   ("/sys/kernel/mm/transparent_hugepage/enabled", "never")):
    attempt(path, write, path, text)
"""
    )
    assert len(found) > 30
    absent = {"ENOENT", "ENXIO", "ENOSYS", "EINVAL", "ENODEV", "ESRCH"}
    assert {name: how for name, how in found.items() if how not in REFUSED | absent} == {}
    silent = {"init-module", "load-module", "log", "handles", "clock", "kexec-0", "mknod-block"}
    assert {found[name] for name in silent} <= REFUSED


def test_nothing_of_the_host_is_mounted(attacker: Guest) -> None:
    """Block devices, the pool, kernel filesystems, overlays of what is not its own."""
    found = attacker.attempts(
        """
import glob
call("unshare", ctypes.c_int(0x00020000))
call("mount", None, b"/", None, ctypes.c_ulong(0x44000), None)
source = [line.split() for line in open("/proc/self/mounts") if line.split()[1] == "/srv"][0][0]
for name, what, kind, data in (
    ("pool", source, "btrfs", None), ("pool-root", source, "btrfs", "subvolid=5"),
    ("disk", "/dev/vda", "ext4", None), ("loop", "/dev/loop0", "btrfs", None),
    ("debug", "none", "debugfs", None), ("trace", "none", "tracefs", None),
    ("security", "none", "securityfs", None), ("config", "none", "configfs", None),
    ("pstore", "none", "pstore", None), ("devices", "none", "devtmpfs", None),
    ("fusectl", "none", "fusectl", None), ("proc", "none", "proc", None),
    ("nfs", "10.88.0.1:/", "nfs", "addr=10.88.0.1"), ("hugetlb", "none", "hugetlbfs", None),
):
    attempt(name, mount, what, "/run/mounted-" + name, kind, 0, data)
"""
    )
    allowed = {name for name, how in found.items() if how == "DONE"}
    assert allowed <= {"proc", "hugetlb"}, found
    assert len(found) == 14
    # A fresh proc is its own; what is covered in the old one must not be writable in it.
    script = """
call("unshare", ctypes.c_int(0x20020000))
pid = os.fork()
if pid == 0:
    try:
        mount("none", "/run/proc", "proc")
    except OSError as error:
        print("proc", errno.errorcode[error.errno], flush=True)
        os._exit(0)
    for path in ("sysrq-trigger", "sys/kernel/core_pattern", "sys/vm/drop_caches"):
        attempt(path, write, "/run/proc/" + path, "1")
    os._exit(0)
os.waitpid(pid, 0)
"""
    found = attacker.attempts(script)
    assert found
    assert set(found.values()) <= REFUSED | {"ENOENT"}


# -- others


def test_no_file_of_host_or_neighbour_is_read(node: Host, attacker: Guest, victim: Guest) -> None:
    where = str(victim.made["srv"])
    found = attacker.attempts(
        f"""
for name, path in (
    ("pool", "/var/lib/corpus"), ("root", "/proc/1/root{where}/secret"),
    ("init", "/proc/1/root/var/lib/corpus/environments"),
    ("socket", "/dev/corpus/../corpus/../../run/corpus-ask"), ("disk", "/dev/disk"),
    ("btrfs", "/dev/btrfs-control"), ("shadow", "/proc/1/root/etc/corpus/node.toml"),
):
    attempt(name, os.stat, path)
attempt("parent", os.stat, "/srv/../../srv/secret")
handle = os.open("/srv", os.O_RDONLY)
# By the numbers of btrfs: another subvolume's name, its files, its roots.
attempt("search", fcntl.ioctl, handle, 0xD0009411, bytearray(4096))
attempt("logical", fcntl.ioctl, handle, 0xC0389424, bytearray(56))
attempt("names", fcntl.ioctl, handle, 0xC0389423, bytearray(56))
attempt("send", fcntl.ioctl, handle, 0x40489426, bytearray(72))
attempt("default", fcntl.ioctl, handle, 0x40089413, bytearray(8))
attempt("resize", fcntl.ioctl, handle, 0x50009403, bytearray(struct.pack("<q4088s", 0, b"max")))
attempt("balance", fcntl.ioctl, handle, 0xC4009420, bytearray(1024))
attempt("label", fcntl.ioctl, handle, 0x41009432, bytearray(256))
attempt("encoded", fcntl.ioctl, handle, 0x80809440, bytearray(128))
"""
    )
    assert len(found) == 17
    assert {n: how for n, how in found.items() if how not in REFUSED | {"ENOENT", "ENOTTY"}} == {}
    disk = attacker.inside.run(["grep", "-rl", SECRET, "/run", "/dev/shm", "/tmp"], check=False)
    assert disk.out == ""


def test_no_process_of_others_is_seen_or_touched(
    node: Host, attacker: Guest, victim: Guest
) -> None:
    names = attacker.inside.run(["sh", "-c", "cat /proc/[0-9]*/comm"]).out.split()
    assert "haproxy" not in names
    assert "lxc-start" not in names
    host = int(victim.made["pid"] or 0)
    found = attacker.attempts(
        f"""
attempt("signal", os.kill, {host}, 0)
attempt("trace", call, "ptrace", 16, {host}, 0, 0)
attempt("root", os.listdir, "/proc/{host}/root")
"""
    )
    assert set(found.values()) <= {"ESRCH", "ENOENT", "EPERM"}
    keys = attacker.inside.run(["sh", "-c", "cat /proc/keys 2>/dev/null || true"]).out
    base = int(attacker.inside.run(["cat", "/proc/self/uid_map"]).out.split()[1])
    assert str(base + 65536) not in keys


def test_a_set_user_id_file_of_its_is_nobodys_outside(node: Host, attacker: Guest) -> None:
    script = """
import shutil
shutil.copy("/usr/bin/id", "/srv/id")
os.chmod("/srv/id", 0o6755)
"""
    attacker.python(TRY + script)
    place = f"{attacker.made['srv']}/id"
    nobody = ["setpriv", "--reuid=33", "--regid=33", "--clear-groups", "sh", "-c"]
    ran = node.run([*nobody, f"exec {place}"], check=False)
    assert "ermission denied" in ran.err
    assert "uid=" not in ran.out
    attacker.inside.run(["rm", "/srv/id"])
