"""The node's root: composed of the image, the lab's own files and what is carried over."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from corpus.hosts import subvolumes
from corpus.lab import marker
from corpus.lab.paths import NodePaths
from corpus.lab.settings import Member

# The node is privileged, so that LXC nests in it: what would reach the host stays off.
MASKED = (
    "systemd-sysctl.service",
    "systemd-modules-load.service",
    "systemd-binfmt.service",
    "systemd-udevd.service",
    "systemd-udevd-control.socket",
    "systemd-udevd-kernel.socket",
    "systemd-udev-trigger.service",
    "systemd-pstore.service",
    "systemd-remount-fs.service",
    "systemd-timesyncd.service",
    "proc-sys-fs-binfmt_misc.automount",
    "sys-kernel-config.mount",
    "sys-kernel-debug.mount",
    "sys-kernel-tracing.mount",
    "sys-fs-fuse-connections.mount",
    "dev-hugepages.mount",
    "modprobe@.service",
    "apt-daily.timer",
    "apt-daily-upgrade.timer",
    "dpkg-db-backup.timer",
    "e2scrub_all.timer",
    "console-getty.service",
    "getty@.service",
)


def files(member: Member) -> dict[str, str]:
    """Return the lab's own text files by their path in the node's root."""
    name = member.name
    nodes = "".join(f"{other.address} {other.name}\n" for other in member.lab.members)
    return {
        "etc/hostname": f"{name}\n",
        "etc/hosts": f"127.0.0.1 localhost\n127.0.1.1 {name}\n{nodes}"
        f"::1 localhost ip6-localhost {name}\n",
    }


def node_settings(member: Member) -> str:
    """Return what of the node's own settings follows from the lab's."""
    return (
        "# Made by corpus-lab; the rest are the node's defaults.\n"
        f'subnet = "{member.environments}"\nstorage = "{member.storage}"\n'
        f"ssh_base = {member.ssh_ports[0]}\nssh_ports = {len(member.ssh_ports)}\n"
    )


def write_files(root: Path, texts: dict[str, str]) -> None:
    """Write text files below ``root``; a link of that name is replaced, not followed."""
    for name, text in texts.items():
        path = root / name
        if path.is_symlink() or not path.exists() or path.read_text() != text:
            path.unlink(missing_ok=True)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)


def compose(paths: NodePaths, member: Member, image: marker.Image) -> None:
    """Make ``rootfs_new`` from the image, with the identity that the present root has."""
    new = paths.rootfs_new
    discard(new)
    image.unpack(paths.lab.store, new)
    write_files(new, files(member))
    mask(new)
    if marker.read(paths.rootfs):
        carry(paths.rootfs, new)
    for bind in ("var/lib/corpus", "etc/corpus"):
        (new / bind).mkdir(parents=True, exist_ok=True)
    marker.write(new, image)


def mask(root: Path) -> None:
    """Switch off the units of ``root`` that would touch the host."""
    folder = root / "etc/systemd/system"
    folder.mkdir(parents=True, exist_ok=True)
    for name in MASKED:
        unit = folder / name
        unit.unlink(missing_ok=True)
        unit.symlink_to("/dev/null")


def carry(old: Path, new: Path) -> None:
    """Copy what makes the machine this one: its id and its SSH host keys."""
    keys = sorted((old / "etc/ssh").glob("ssh_host_*"))
    for source in [old / "etc/machine-id", *keys]:
        if source.is_file() and not source.is_symlink() and source.stat().st_size:
            target = new / source.relative_to(old)
            target.unlink(missing_ok=True)
            shutil.copy2(source, target)


def seed(paths: NodePaths, member: Member) -> None:
    """Fill the node's state: the image's own files of /etc/corpus, and what the lab settles."""
    # The hosts file too: nodes may have joined since the root was made.
    write_files(paths.rootfs, files(member))
    for name in ("var", "etc"):
        (paths.state / name).mkdir(exist_ok=True, mode=0o755)
    shipped = paths.rootfs / "etc/corpus"
    for source in sorted(shipped.rglob("*")) if shipped.is_dir() else ():
        _replace(paths.state / "etc" / source.relative_to(shipped), source)
    write_files(paths.state / "etc", {"node.toml": node_settings(member)})


def discard(path: Path) -> None:
    """Remove a root that is not in use, whole or half-made; fine when it is absent."""
    if subvolumes.is_subvolume(path):
        subvolumes.delete(path)
    elif path.exists():
        shutil.rmtree(path)


def update(root: Path, source: Path, names: set[str]) -> list[str]:
    """Make the files ``names`` of ``root``, which may be running, those of ``source``.

    A file is replaced whole by a rename, so a process that has it open keeps the old one.
    Returns the paths that changed.
    """
    changed = [name for name in sorted(names) if _replace(root / name, source / name)]
    for name in sorted(names, reverse=True):  # children before their directories
        path = root / name
        if path.is_dir() and not path.is_symlink() and not (source / name).is_dir():
            _remove_empty(path)
    return changed


def _remove_empty(path: Path) -> None:
    # What was made in it since then (a cache of Python's) is not of the image.
    for cache in path.glob("__pycache__"):
        shutil.rmtree(cache)
    if not any(path.iterdir()):
        path.rmdir()


def _replace(target: Path, source: Path) -> bool:
    if source.is_dir() and not source.is_symlink():
        target.mkdir(parents=True, exist_ok=True)
        return False
    if not source.is_symlink() and not source.exists():
        if target.is_symlink() or target.is_file():
            target.unlink()
            return True
        return False
    if _same(target, source):
        return False
    target.parent.mkdir(parents=True, exist_ok=True)
    new = target.with_name(f".{target.name}.new")
    new.unlink(missing_ok=True)
    shutil.copy2(source, new, follow_symlinks=False)
    if not source.is_symlink():
        status = source.stat()
        os.chown(new, status.st_uid, status.st_gid)
    new.replace(target)
    return True


def _same(target: Path, source: Path) -> bool:
    if target.is_symlink() or source.is_symlink():
        both = target.is_symlink() and source.is_symlink()
        return both and target.readlink() == source.readlink()
    if not target.is_file():
        return False
    a, b = target.stat(), source.stat()
    same = (a.st_size, a.st_mode, a.st_uid, a.st_gid) == (b.st_size, b.st_mode, b.st_uid, b.st_gid)
    return same and target.read_bytes() == source.read_bytes()
