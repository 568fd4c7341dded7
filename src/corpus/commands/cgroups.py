"""Control groups: where a machine has each controller, and what its limits are called there.

Sources: the kernel's Documentation/admin-guide/cgroup-v1/memory.rst and cgroup-v2.rst, and for
the mount table proc_pid_mountinfo(5).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

PERIOD = 100_000  # microseconds of which a CPU limit is a share
CONTROLLERS = ("memory", "cpu", "pids")
_SWAP = {1: "memory.memsw.limit_in_bytes", 2: "memory.swap.max"}


@dataclass(frozen=True)
class Layout:
    """The version of control groups that each controller belongs to; 0: there is no such one.

    A hybrid machine has some of either. ``swap``: the memory controller counts swap too.
    """

    memory: int
    cpu: int
    pids: int
    swap: bool = False


@dataclass(frozen=True)
class Setting:
    """One value of a control group: of ``version`` 1 or 2, its file's name, what is written."""

    version: int
    key: str
    value: str


@dataclass(frozen=True)
class Memory:
    """Bytes that a control group uses, and what of it the kernel takes back when it must."""

    used: int
    spare: int

    @property
    def held(self) -> int:
        """What stays whatever the limit: to go below it, processes must end."""
        return max(0, self.used - self.spare)


def hierarchies(mountinfo: str) -> tuple[dict[str, str], str | None]:
    """Return where each controller of version 1 is mounted, and where version 2 is, if it is."""
    first: dict[str, str] = {}
    second: str | None = None
    for line in mountinfo.splitlines():
        before, _, after = line.partition(" - ")
        fields, kind = before.split(" "), after.split(" ")
        if len(fields) < 5 or len(kind) < 3:
            continue
        if kind[0] == "cgroup2":
            second = second or fields[4]
        elif kind[0] == "cgroup":
            for option in kind[2].split(","):
                first.setdefault(option, fields[4])
    return first, second


def layout(first: Mapping[str, str], controllers: str, *, swap: bool) -> Layout:
    """Return the layout of a machine.

    ``first`` is what ``hierarchies`` returned for version 1; ``controllers`` the content of
    ``cgroup.controllers`` of version 2, empty where that is not mounted.
    """
    second = controllers.split()
    memory, cpu, pids = (1 if name in first else 2 * (name in second) for name in CONTROLLERS)
    return Layout(memory, cpu, pids, swap)


def swap_file(version: int) -> str:
    """Return the name of the file that a group has where swap is counted."""
    return _SWAP.get(version, "")


def memory(found: Layout, size: int | None) -> list[Setting]:
    """Return what limits memory to ``size`` bytes, swap included; None: no limit.

    In version 1 a group's limit with swap may never be below the one without.
    """
    text = ("-1" if found.memory == 1 else "max") if size is None else str(size)
    if found.memory == 1:
        keys = ["memory.limit_in_bytes", *([_SWAP[1]] if found.swap else [])]
        return [Setting(1, key, text) for key in keys]
    settings = [Setting(2, "memory.max", text)]
    if found.swap:
        settings.append(Setting(2, _SWAP[2], "max" if size is None else "0"))
    return settings


def cpu(found: Layout, count: float | None) -> list[Setting]:
    """Return what limits the time on CPUs to that of ``count`` ones; None: no limit."""
    quota = None if count is None else str(int(count * PERIOD))
    if found.cpu == 1:
        return [Setting(1, "cpu.cfs_quota_us", quota or "-1")]
    return [Setting(2, "cpu.max", f"{quota or 'max'} {PERIOD}")]


def pids(found: Layout, count: int | None) -> list[Setting]:
    """Return what limits the number of processes and threads; None: no limit."""
    return [Setting(found.pids, "pids.max", "max" if count is None else str(count))]


def memory_files(found: Layout) -> tuple[str, str]:
    """Return the names of the files that tell what a group uses, and of which kinds it is."""
    return ("memory.usage_in_bytes" if found.memory == 1 else "memory.current"), "memory.stat"


def parse_memory(found: Layout, used: str, stat: str) -> Memory:
    """Return the memory of a group from the content of those files.

    The page cache of files is spare; what lies in memory file systems is not among it.
    """
    prefix = "total_" if found.memory == 1 else ""
    values = dict(line.split(" ", 1) for line in stat.splitlines() if " " in line)
    kinds = (f"{prefix}inactive_file", f"{prefix}active_file")
    return Memory(int(used), sum(int(values.get(kind, 0)) for kind in kinds))
