"""What of a lab is on the host: to remove it, and to prove that nothing was left."""

from __future__ import annotations

import os
from pathlib import Path

from corpus.commands import network
from corpus.hosts.base import Host
from corpus.lab.paths import LabPaths
from corpus.lab.pool import Pool

CONTROL_GROUPS = Path("/sys/fs/cgroup")


def control_groups(paths: LabPaths, root: Path = CONTROL_GROUPS) -> list[Path]:
    """Return the lab's control groups, of its container and of LXC's monitor for it."""
    names = [f"lxc.{kind}.{paths.container}" for kind in ("payload", "monitor")]
    tops = [root, *(child for child in root.iterdir() if child.is_dir())] if root.exists() else []
    return [top / name for top in tops for name in names if (top / name).is_dir()]


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


def processes(paths: LabPaths) -> list[str]:
    """Return the processes that LXC runs for the lab: its monitor and what it waits on."""
    wanted = {f"--name={paths.container}".encode(), f"--lxcpath={paths.lxc}".encode()}
    title = f"[lxc monitor] {paths.lxc} {paths.container}".encode()
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            words = (entry / "cmdline").read_bytes().rstrip(b"\0").split(b"\0")
        except OSError:
            continue
        if wanted <= set(words) or b" ".join(words).strip() == title:
            found.append(f"process {entry.name}")
    return found


def leftovers(host: Host, paths: LabPaths) -> list[str]:
    """Return what of the lab is on the host, one line each; empty when nothing is."""
    pool = Pool(host, paths, 0)
    net = Path("/sys/class/net")
    tables = network.parse_tables(host.run(network.list_tables()).out)
    return [
        *processes(paths),
        *(f"control group {path}" for path in control_groups(paths)),
        *(f"mount {target}" for target in pool.mounts()),
        *(f"loop device {device}" for device in pool.loops()),
        *(f"nft table {family} {name}" for family, name in tables if name == paths.table),
        *(f"interface {n}" for n in (paths.bridge, paths.veth) if (net / n).exists()),
        *(f"file {path}" for path in (paths.root, paths.lock) if path.exists()),
    ]
