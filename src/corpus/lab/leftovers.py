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
from corpus.lab.paths import LabPaths, NodePaths
from corpus.lab.pool import Pool
from corpus.lab.settings import settings_for

CONTROL_GROUPS = Path("/sys/fs/cgroup")


def _groups(paths: LabPaths | NodePaths) -> str:
    """Return the pattern of the control groups of a lab's containers, or of one node's."""
    if isinstance(paths, NodePaths):
        name = re.escape(paths.container)
    else:
        name = f"{re.escape(paths.containers)}[1-9]"
    # LXC numbers a group whose name is taken; a container's own name has no hyphen there.
    return rf"lxc\.(payload|monitor)\.{name}(-\d+)?"


def control_groups(paths: LabPaths | NodePaths, root: Path = CONTROL_GROUPS) -> list[Path]:
    """Return the control groups of a lab or node: of its containers, of LXC's monitors."""
    own = re.compile(_groups(paths))
    tops = [root, *(child for child in root.iterdir() if child.is_dir())] if root.exists() else []
    groups = (group for top in tops for group in top.iterdir() if own.fullmatch(group.name))
    return sorted(set(groups))


def remove_control_groups(paths: LabPaths | NodePaths) -> None:
    """Remove control groups that a killed monitor left; those in use stay."""
    for top in control_groups(paths):
        for folder, _names, _files in os.walk(top, topdown=False):
            try:
                Path(folder).rmdir()
            except OSError:
                break


def memory(paths: NodePaths) -> int | None:
    """Return the bytes that the node and its environments take, page cache included."""
    for group in control_groups(paths):
        for name in ("memory.current", "memory.usage_in_bytes"):
            if group.name.startswith("lxc.payload.") and (group / name).exists():
                return int((group / name).read_text())
    return None


def processes(pool: Pool, node: NodePaths | None = None) -> list[int]:
    """Return the processes whose root lies in the lab's files, of all nodes or of one.

    They are told by their mounts, not by a name, so that no other container is ever meant.
    """
    devices = set(pool.loops())
    own = re.compile(rf"/{_groups(node)}(/|$)", re.MULTILINE) if node else None
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or not devices:
            continue
        try:
            mounts = loop.parse_mounts((entry / "mountinfo").read_text())
            groups = (entry / "cgroup").read_text()
        except OSError:  # it has ended meanwhile
            continue
        if any(mount.target == "/" and mount.source in devices for mount in mounts) and (
            own is None or own.search(groups)
        ):
            found.append(int(entry.name))
    return sorted(found)


def kill_processes(pool: Pool, node: NodePaths | None = None) -> None:
    """End the processes of nodes whose monitor is gone, so that LXC knows nothing of them."""
    for _ in range(100):
        found = processes(pool, node)
        if not found:
            return
        for pid in found:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.05)


def interfaces(paths: LabPaths) -> list[str]:
    """Return the lab's interfaces on the host, the bridge last."""
    net = Path("/sys/class/net")
    bridge = [paths.bridge] if (net / paths.bridge).exists() else []
    return [*sorted(path.name for path in net.glob(f"{paths.veths}[1-9]")), *bridge]


def leftovers(host: Host, paths: LabPaths) -> list[str]:
    """Return what of the lab is on the host, one line each; empty when nothing is."""
    pool = Pool(host, paths, settings_for(paths.name))
    tables = network.parse_tables(host.run(network.list_tables()).out)
    return [
        *(f"process {pid}" for pid in processes(pool)),
        *(f"control group {path}" for path in control_groups(paths)),
        *(f"mount {target}" for target in pool.mounts()),
        *(f"loop device {device}" for device in pool.loops()),
        *(f"nft table {family} {name}" for family, name in tables if name == paths.table),
        *(f"interface {name}" for name in interfaces(paths)),
        *(f"file {path}" for path in (paths.root, paths.lock) if path.exists()),
    ]
