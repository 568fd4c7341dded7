"""Control groups: the layout of a machine from its mounts, and each limit's name in it."""

from __future__ import annotations

import pytest

from corpus.commands import cgroups
from corpus.commands.cgroups import Layout, Setting

# As recorded: a machine of version 1 alone, a hybrid one with and without controllers in version 2,
# a container on such a one, and a machine of version 2.
V1 = """\
25 30 0:23 / /sys rw,nosuid,nodev,noexec,relatime shared:7 - sysfs sysfs rw
28 25 0:25 / /sys/fs/cgroup ro,nosuid,nodev,noexec shared:9 - tmpfs tmpfs ro,mode=755
29 28 0:26 / /sys/fs/cgroup/systemd rw,nosuid shared:10 - cgroup cgroup rw,xattr,name=systemd
33 28 0:30 / /sys/fs/cgroup/cpu,cpuacct rw,nosuid shared:15 - cgroup cgroup rw,cpu,cpuacct
34 28 0:31 / /sys/fs/cgroup/memory rw,nosuid,nodev,noexec shared:16 - cgroup cgroup rw,memory
35 28 0:32 / /sys/fs/cgroup/pids rw,nosuid,nodev,noexec shared:17 - cgroup cgroup rw,pids
"""
HYBRID = """\
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu
33 31 0:30 / /sys/fs/cgroup/cpuacct rw,relatime - cgroup cgroup rw,cpuacct
35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
39 31 0:36 / /sys/fs/cgroup/pids rw,relatime - cgroup cgroup rw,pids
40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,name=systemd
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
43 27 0:39 / /srv/a\\040b rw,noatime - btrfs /dev/loop0 rw,subvolid=5,subvol=/
"""
V2 = """\
22 28 0:20 / /sys rw,nosuid,nodev,noexec,relatime shared:7 - sysfs sysfs rw
26 22 0:23 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate,memory_recursiveprot
"""
ALL = "cpuset cpu io memory hugetlb pids rdma misc\n"


@pytest.mark.parametrize(
    ("mounts", "controllers", "layout", "second"),
    [
        (V1, "", Layout(1, 1, 1), None),
        (HYBRID, "hugetlb\n", Layout(1, 1, 1), "/sys/fs/cgroup/unified"),
        (HYBRID.replace("rw,cpu\n", "rw,x\n"), "cpu\n", Layout(1, 2, 1), "/sys/fs/cgroup/unified"),
        (V2, ALL, Layout(2, 2, 2), "/sys/fs/cgroup"),
        (V2, "cpu memory\n", Layout(2, 2, 0), "/sys/fs/cgroup"),
        ("", "", Layout(0, 0, 0), None),
    ],
)
def test_the_layout_is_read_off_the_mounts(
    mounts: str, controllers: str, layout: Layout, second: str | None
) -> None:
    first, found = cgroups.hierarchies(mounts)
    assert found == second
    assert cgroups.layout(first, controllers, swap=False) == layout


def test_where_a_controller_is_mounted() -> None:
    assert cgroups.hierarchies(HYBRID)[0]["memory"] == "/sys/fs/cgroup/memory"
    assert cgroups.hierarchies(V1)[0]["cpu"] == "/sys/fs/cgroup/cpu,cpuacct"


def test_limits_and_their_absence_have_a_name_in_each_version() -> None:
    one, two = Layout(1, 1, 1, swap=True), Layout(2, 2, 2, swap=True)
    assert cgroups.memory(one, 5) == [
        Setting(1, "memory.limit_in_bytes", "5"),
        Setting(1, "memory.memsw.limit_in_bytes", "5"),
    ]
    assert [s.value for s in cgroups.memory(one, None)] == ["-1", "-1"]
    assert cgroups.memory(two, 5) == [
        Setting(2, "memory.max", "5"),
        Setting(2, "memory.swap.max", "0"),
    ]
    assert [s.value for s in cgroups.memory(two, None)] == ["max", "max"]
    assert cgroups.memory(Layout(1, 1, 1), 5) == [Setting(1, "memory.limit_in_bytes", "5")]
    assert cgroups.cpu(one, 1.5) == [Setting(1, "cpu.cfs_quota_us", "150000")]
    assert cgroups.cpu(one, None) == [Setting(1, "cpu.cfs_quota_us", "-1")]
    assert cgroups.cpu(two, 0.05) == [Setting(2, "cpu.max", "5000 100000")]
    assert cgroups.cpu(two, None) == [Setting(2, "cpu.max", "max 100000")]
    assert cgroups.pids(one, 20) == [Setting(1, "pids.max", "20")]
    assert cgroups.pids(two, None) == [Setting(2, "pids.max", "max")]


def test_the_cache_of_files_is_spare_what_lies_in_memory_file_systems_is_not() -> None:
    first = "cache 9000\ninactive_file 1\ntotal_shmem 4000\ntotal_inactive_file 2000\n"
    memory = cgroups.parse_memory(Layout(1, 1, 1), "10000\n", first + "total_active_file 3000\n")
    assert (memory.spare, memory.held) == (5000, 5000)
    second = "anon 10\nfile 9000\nshmem 8000\ninactive_file 600\nactive_file 400\n"
    memory = cgroups.parse_memory(Layout(2, 2, 2), "900\n", second)
    assert (memory.spare, memory.held) == (1000, 0)
    assert cgroups.memory_files(Layout(1, 1, 1))[0] == "memory.usage_in_bytes"
    assert cgroups.memory_files(Layout(2, 2, 2)) == ("memory.current", "memory.stat")
