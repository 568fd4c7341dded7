"""What a lab needs of its host, asked before anything is made."""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from pathlib import Path

from corpus.commands.loop import parse_mounts
from corpus.hosts.base import Host
from corpus.model.errors import CommandFailed, Unsupported

# A command of each package that the lab uses, in the names of Debian.
COMMANDS = {
    "lxc-start": "lxc",
    "mkfs.btrfs": "btrfs-progs",
    "mkfs.ext4": "e2fsprogs",
    "nft": "nftables",
    "ip": "iproute2",
    "losetup": "mount",
}
CONTROLLERS = ("cpu", "memory", "pids", "devices", "freezer")


def check(host: Host, root: Path = Path("/")) -> None:
    """Raise Unsupported that names the first thing that this host lacks."""
    if os.geteuid() != 0:
        raise Unsupported("a lab is made by root alone", mend="run the command with sudo")
    _check_commands()
    _check_btrfs(host, root)
    if not (root / "dev/loop-control").exists():
        raise Unsupported(
            "this machine has no loop devices: /dev/loop-control is missing",
            mend="load the kernel's module «loop»; in a container, let its host pass the device in",
        )
    limit = root / "proc/sys/user/max_user_namespaces"
    if limit.exists() and int(limit.read_text()) == 0:
        raise Unsupported(
            "user namespaces are switched off", where=str(limit),
            mend="set user.max_user_namespaces to 15000 or more",
        )  # fmt: skip
    _check_control_groups((root / "proc/self/mountinfo").read_text())


def _check_commands() -> None:
    missing = sorted({pack for name, pack in COMMANDS.items() if not shutil.which(name)})
    if missing:
        raise Unsupported(
            f"missing on this machine: {', '.join(missing)}",
            mend=f"apt-get install --no-install-recommends {' '.join(missing)}",
        )


def _check_btrfs(host: Host, root: Path) -> None:
    known = root / "proc/filesystems"
    if "btrfs" in known.read_text().split():
        return
    with suppress(CommandFailed):  # no modprobe: then it is built in, or not there at all
        host.run(["modprobe", "btrfs"], check=False)
    if "btrfs" not in known.read_text().split():
        raise Unsupported(
            f"this kernel ({os.uname().release}) has no btrfs", where=str(known),
            mend="boot a kernel that has it (Debian's own do: package linux-image-amd64)",
        )  # fmt: skip


def _check_control_groups(mountinfo: str) -> None:
    mounts = [mount for mount in parse_mounts(mountinfo) if mount.kind in ("cgroup", "cgroup2")]
    if any(mount.target == "/sys/fs/cgroup" and mount.kind == "cgroup2" for mount in mounts):
        return
    names = {part for mount in mounts for part in mount.target.rsplit("/", 1)[-1].split(",")}
    for name in (*CONTROLLERS, "systemd"):
        if name not in names:
            options = "none,name=systemd" if name == "systemd" else name
            raise Unsupported(
                f"the control group hierarchy «{name}» is not mounted",
                where=f"/sys/fs/cgroup/{name}",
                mend=f"mount -t cgroup -o {options} cgroup /sys/fs/cgroup/{name}"
                " (make the directory first), or mount cgroup2 on /sys/fs/cgroup",
            )
