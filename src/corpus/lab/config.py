"""The LXC configuration of a lab's node: a privileged container in which LXC nests.

Source: lxc.container.conf(5).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from corpus.commands import ip
from corpus.lab.paths import NodePaths
from corpus.lab.settings import Member

SHARE = Path("/usr/share/lxc/config")


@dataclass(frozen=True)
class Bind:
    """A directory of the host that the node sees at ``target`` (relative to its root)."""

    source: Path
    target: str
    read_only: bool = False

    @property
    def entry(self) -> str:
        """The line of LXC's configuration."""
        options = f"bind,create=dir{',ro' if self.read_only else ''}"
        source = str(self.source).replace(" ", "\\040")
        return f"lxc.mount.entry = {source} {self.target} none {options} 0 0"


def binds(paths: NodePaths, member: Member) -> list[Bind]:
    """Return what outlives the node's root, and the images that it may import."""
    return [
        Bind(paths.state / "var", "var/lib/corpus"),
        Bind(paths.state / "etc", "etc/corpus"),
        Bind(paths.pool, "var/lib/corpus/pool"),
        Bind(member.lab.images / "out", "var/lib/corpus/images-in", read_only=True),
    ]


def configuration(paths: NodePaths, member: Member, mtu: int, share: Path = SHARE) -> str:
    """Return the text of the node's configuration; ``mtu`` in bytes.

    ``:force`` gives the node's systemd a control group tree to delegate from; without it a
    nested container dies. Capabilities that only reach out of the container (clock, kernel
    modules, raw I/O) stay dropped: the nested ones are whole in their own user namespaces.
    """
    lines = [
        f"lxc.include = {share}/common.conf",
        f"lxc.include = {share}/nesting.conf",
        "lxc.arch = linux64",
        f"lxc.uts.name = {member.name}",
        f"lxc.rootfs.path = dir:{paths.rootfs}",
        "lxc.apparmor.profile = unconfined",
        # The node runs an lxcfs of its own; the hooks would bring the host's in, writable.
        "lxc.hook.mount =",
        "lxc.hook.post-stop =",
        "lxc.signal.halt = SIGRTMIN+3",
        "lxc.cap.drop =",
        "lxc.cap.drop = sys_time sys_module sys_rawio",
        "lxc.mount.auto =",
        "lxc.mount.auto = cgroup:rw:force proc:rw sys:rw",
        *(bind.entry for bind in binds(paths, member)),
        "lxc.mount.entry = /dev/fuse dev/fuse none bind,create=file,optional 0 0",
        "lxc.mount.entry = /dev/loop-control dev/loop-control none bind,create=file 0 0",
        # Disks of environments and a pool in a file; the node makes the devices' nodes itself.
        *(
            f"lxc.{group}.devices.allow = {what} rwm"
            for group in ("cgroup", "cgroup2")
            for what in ("b 7:*", "c 10:237")
        ),
        "lxc.net.0.type = veth",
        f"lxc.net.0.link = {paths.lab.bridge}",
        f"lxc.net.0.veth.pair = {paths.veth}",
        "lxc.net.0.name = eth0",
        # The same one at each start: other nodes remember it.
        f"lxc.net.0.hwaddr = {ip.hardware_address(str(member.address))}",
        f"lxc.net.0.mtu = {mtu}",
        "lxc.net.0.flags = up",
        f"lxc.net.0.ipv4.address = {member.address}/{member.lab.network.prefixlen}",
        f"lxc.net.0.ipv4.gateway = {member.lab.gateway}",
        "lxc.tty.max = 0",
        "lxc.console.path = none",
    ]
    return "\n".join(lines) + "\n"
