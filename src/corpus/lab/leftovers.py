"""What of a lab is on the host: to remove it, and to prove that nothing was left."""

from __future__ import annotations

import os
import re
import signal
import time
from contextlib import suppress
from pathlib import Path

from corpus.commands import loop, network
from corpus.hosts.base import Host
from corpus.lab.paths import LabPaths
from corpus.lab.pool import Pool

CONTROL_GROUPS = Path("/sys/fs/cgroup")


def control_groups(paths: LabPaths, root: Path = CONTROL_GROUPS) -> list[Path]:
    """Return the lab's control groups, of its container and of LXC's monitor for it."""
    # LXC numbers a group whose name is taken; a lab's own name has no hyphen.
    own = re.compile(rf"lxc\.(payload|monitor)\.{re.escape(paths.container)}(-\d+)?")
    tops = [root, *(child for child in root.iterdir() if child.is_dir())] if root.exists() else []
    groups = (group for top in tops for group in top.iterdir() if own.fullmatch(group.name))
    return sorted(set(groups))


def remove_control_groups(paths: LabPaths) -> None:
    """Remove control groups that a killed monitor left; those in use stay."""
    for top in control_groups(paths):
        for folder, _names, _files in os.walk(top, topdown=False):
            try:
                Path(folder).rmdir()
            except OSError:
                break


def memory(paths: LabPaths) -> int | None:
    """Return the bytes that the node and its environments take, page cache included."""
    for group in control_groups(paths):
        for name in ("memory.current", "memory.usage_in_bytes"):
            if group.name.startswith("lxc.payload.") and (group / name).exists():
                return int((group / name).read_text())
    return None


def processes(pool: Pool) -> list[int]:
    """Return the processes whose root lies in the lab's pool: the node's and its guests'.

    They are told by their mounts, not by a name, so that no other container is ever meant.
    """
    devices = set(pool.loops())
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or not devices:
            continue
        try:
            mounts = loop.parse_mounts((entry / "mountinfo").read_text())
        except OSError:  # it has ended meanwhile
            continue
        if any(mount.target == "/" and mount.source in devices for mount in mounts):
            found.append(int(entry.name))
    return sorted(found)


def kill_processes(pool: Pool) -> None:
    """End the processes of a node whose monitor is gone, so that LXC knows nothing of it."""
    for _ in range(100):
        found = processes(pool)
        if not found:
            return
        for pid in found:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.05)


def leftovers(host: Host, paths: LabPaths) -> list[str]:
    """Return what of the lab is on the host, one line each; empty when nothing is."""
    pool = Pool(host, paths, 0)
    net = Path("/sys/class/net")
    tables = network.parse_tables(host.run(network.list_tables()).out)
    return [
        *(f"process {pid}" for pid in processes(pool)),
        *(f"control group {path}" for path in control_groups(paths)),
        *(f"mount {target}" for target in pool.mounts()),
        *(f"loop device {device}" for device in pool.loops()),
        *(f"nft table {family} {name}" for family, name in tables if name == paths.table),
        *(f"interface {n}" for n in (paths.bridge, paths.veth) if (net / n).exists()),
        *(f"file {path}" for path in (paths.root, paths.lock) if path.exists()),
    ]
