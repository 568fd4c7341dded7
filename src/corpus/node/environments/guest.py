"""A guest's LXC configuration: unprivileged, idmapped mounts, limits (lxc.container.conf(5))."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from corpus.commands.cgroups import Layout
from corpus.node.environments import controls
from corpus.node.proxy.place import INSIDE
from corpus.node.records import Record, Role, Share
from corpus.node.settings import Settings
from corpus.node.storage.volumes import ROOTFS, SRV

IDS = 65536
HALTED = "halted"
TARGETS = ("project", "run")  # where a shared directory is mounted, in the project's
LXCFS = Path("/var/lib/lxcfs")
_FRONT_SIZE = "64M"  # of all files of a front, twice; they count as its memory
_PREFIX = {1: "cgroup", 2: "cgroup2"}  # of LXC's keys, by the version of control groups


def home(settings: Settings, id: str) -> Path:
    """Return the directory of an environment in the pool."""
    return settings.pool / "env" / id


def rootfs(settings: Settings, id: str) -> Path:
    """Return the root directory of an environment."""
    return home(settings, id) / ROOTFS


def srv(settings: Settings, id: str) -> Path:
    """Return the volume that an environment has at /srv."""
    return home(settings, id) / SRV


def disk(settings: Settings, id: str) -> Path:
    """Return the file that holds an environment, in a pool of the kind ``image``."""
    return settings.pool / "disks" / f"{id}.img"


def staged(settings: Settings, id: str) -> Path:
    """Return where the root of an environment is unpacked that is made from a file."""
    return settings.pool / "import" / id


def halted(settings: Settings, id: str) -> Path:
    """Return the file that tells that a guest was frozen for a copy, and not by a wish."""
    return settings.lxcpath / id / HALTED


def asks(settings: Settings, id: str) -> Path:
    """Return the directory of an environment's socket, which it has at /dev/corpus."""
    return settings.asks / id


def ids(settings: Settings, id: str, share: Share) -> Path:
    """Return the file that names the user namespace of a shared directory."""
    return settings.lxcpath / id / f"ids-{share.project}"


def root(settings: Settings, record: Record) -> int:
    """Return the user id that an environment's root has on the node."""
    return settings.idmap_base + record.slot * IDS


def shut(settings: Settings, record: Record) -> None:
    """Let only root and the guest's own root pass into an environment's directory.

    Ids on disk are 0-based: a set-user-id file of the guest's root is one of the node's root,
    and its first account's files are those of the node's first account. LXC, for idmapped
    mounts, passes as the guest's root.
    """
    place, owner = home(settings, record.id), root(settings, record)
    if place.is_dir():
        place.chmod(0o700)
        os.chown(place, owner, owner)


def share_entries(settings: Settings, id: str, share: Share) -> list[str]:
    """Return the lines that mount a developer's directory as a project's, and as its ``run/``.

    Both, so that systemd finds the project's units there when it starts.
    """
    source = share.directory.replace("\\", "\\134").replace(" ", "\\040")
    options = f"bind,nosuid,nodev,idmap={ids(settings, id, share)}"
    return [
        f"lxc.mount.entry = {source} {target} none {options} 0 0"
        for target in (f"srv/projects/{share.project}/{end}" for end in TARGETS)
    ]


def own_figures(place: Path = LXCFS) -> list[str]:
    """Return the lines that let a guest see its own memory, CPUs and load, as lxcfs(1) has them.

    They take the place of lxcfs's hooks: one starts a process for each file, 60 ms in all, the
    other sleeps half a second after every stop, for the sake of control groups that lxcfs
    would show (github.com/lxc/lxcfs/pull/53): guests here have namespaces of them instead.
    Where lxcfs does not run, or has died, a guest sees the node's.
    """
    cpus, shown = place / "sys/devices/system/cpu", list[Path]()
    with suppress(OSError):
        whole = (cpus / "uevent").is_file()
        shown = sorted([*place.glob("proc/*"), *([cpus] if whole else cpus.glob("*"))])
    return [
        "lxc.hook.mount =",
        "lxc.hook.post-stop =",
        *(f"lxc.mount.entry = {p} {p.relative_to(place)} none bind,optional 0 0" for p in shown),
    ]


def _memory(record: Record) -> list[str]:
    """Return the line for what an environment has in its memory and never on its disk.

    Of a proxy: the front's files, with the keys of all sites.
    """
    if record.role is not Role.PROXY:
        return []
    place = str(INSIDE).lstrip("/")
    how = f"nosuid,nodev,noexec,mode=0755,size={_FRONT_SIZE},create=dir"
    return [f"lxc.mount.entry = tmpfs {place} tmpfs {how} 0 0"]


def restart_hook(settings: Settings) -> Path:
    """Return the script that LXC calls when a guest has stopped, whoever asked for it."""
    return settings.lxcpath / "restart"


def _attached(settings: Settings, record: Record) -> list[str]:
    """Return how the guest's cable ends: as an isolated port of the bridge, or routed.

    Routed, the node answers for its address on the bridge (proxy ARP): so neighbours find it.
    """
    names = f"{record.mac} {record.address}"
    known = f"{settings.lxcpath / 'known'} {settings.gateway}"
    if record.role is Role.PROXY:
        return [
            "lxc.net.0.veth.mode = router",
            "lxc.net.0.l2proxy = 1",
            f"lxc.net.0.ipv4.address = {record.address}/32",
            f"lxc.net.0.script.up = {settings.lxcpath / 'routed'} {names}",
            f"lxc.hook.start-host = {known} {record.interface}",
        ]
    return [
        f"lxc.net.0.ipv4.address = {record.address}/{settings.network.prefixlen}",
        f"lxc.net.0.script.up = {settings.lxcpath / 'isolate'} {names}",
        f"lxc.net.0.script.down = {settings.lxcpath / 'isolate'} {names}",
        f"lxc.hook.start-host = {known} {settings.bridge}",
    ]


def seccomp(settings: Settings) -> Path:
    """Return the file with the system calls that no guest may make."""
    return settings.lxcpath / "seccomp"


def config(settings: Settings, record: Record, mtu: int, found: Layout) -> str:
    """Return the configuration of a guest, derived from its record; ``mtu`` in bytes.

    ``found``: the control groups that its limits are written for.

    ``:force`` makes control groups delegated (CPUQuota= works inside); a writable /sys makes
    networkd hang, hence ``sys:ro``; idmapped mounts keep ids on disk 0-based.
    """
    base = root(settings, record)
    share = "/usr/share/lxc/config"
    lines = [
        "# Made from the environment's record; changes are lost.",
        f"lxc.include = {share}/common.conf",
        f"lxc.include = {share}/userns.conf",
        "lxc.arch = linux64",
        f"lxc.uts.name = {record.name}",
        f"lxc.idmap = u 0 {base} {IDS}",
        f"lxc.idmap = g 0 {base} {IDS}",
        f"lxc.rootfs.path = dir:{rootfs(settings, record.id)}",
        "lxc.rootfs.options = idmap=container",
        f"lxc.mount.entry = {srv(settings, record.id)} srv none "
        "bind,create=dir,idmap=container 0 0",
        f"lxc.mount.entry = {asks(settings, record.id)} dev/corpus none "
        "bind,ro,nosuid,nodev,noexec,create=dir 0 0",
        *_memory(record),
        *(line for share in record.shares for line in share_entries(settings, record.id, share)),
        "lxc.mount.auto =",
        "lxc.mount.auto = cgroup:mixed:force proc:mixed sys:ro",
        *own_figures(),
        "lxc.signal.halt = SIGRTMIN+3",
        "lxc.tty.max = 0",
        "lxc.net.0.type = veth",
        f"lxc.net.0.link = {settings.bridge}",
        f"lxc.net.0.veth.pair = {record.interface}",
        f"lxc.net.0.hwaddr = {record.mac}",
        "lxc.net.0.name = eth0",
        f"lxc.net.0.mtu = {mtu}",
        *_attached(settings, record),
        f"lxc.net.0.ipv4.gateway = {settings.gateway}",
        "lxc.net.0.flags = up",
        f"lxc.hook.post-stop = {restart_hook(settings)}",
        f"lxc.seccomp.profile = {seccomp(settings)}",
        "lxc.seccomp.allow_nesting = 1",  # where the node is a container, which has one too
        *(
            f"lxc.{_PREFIX[one.version]}.{one.key} = {one.value}"
            for one in controls.settings(record.limits, found)
        ),
    ]
    return "\n".join(lines) + "\n"
