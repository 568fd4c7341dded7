"""tar(1), mount(8): archives of root filesystems, and trees laid over one another."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path, PurePath


def pack(tree: Path, archive: Path) -> list[str]:
    """Return the command that writes ``tree`` as a zstd tar: same content, same bytes.

    Owners are numbers, names are sorted, no access times; file capabilities are kept.
    """
    return [
        "tar",
        "--create",
        f"--file={archive}",
        f"--directory={tree}",
        "--sort=name",
        "--format=posix",
        "--pax-option=exthdr.name=%d/PaxHeaders/%f,delete=atime,delete=ctime",
        "--numeric-owner",
        "--xattrs",
        "--xattrs-include=security.capability",
        # A fixed number of threads: zstd's output depends on whether there is more than one.
        "--use-compress-program=zstd -3 -T2 --quiet",
        ".",
    ]


def unpack(archive: Path, target: Path) -> list[str]:
    """Return the command that unpacks a layer over what ``target`` holds."""
    return [
        "tar",
        "--extract",
        f"--file={archive}",
        f"--directory={target}",
        "--numeric-owner",
        "--preserve-permissions",
        "--xattrs",
        "--xattrs-include=security.capability",
        "--keep-directory-symlink",
        "--use-compress-program=zstd --quiet",
    ]


def unpack_below(archive: PurePath, part: PurePath, target: PurePath) -> list[str]:
    """Return the command that unpacks what a layer has below the directory ``part`` into
    ``target``, a directory that is there."""
    return [
        "tar",
        "--extract",
        f"--file={archive}",
        f"--directory={target}",
        f"--strip-components={len(part.parts)}",  # "." counts, where part has "/"
        "--numeric-owner",
        "--preserve-permissions",
        "--use-compress-program=zstd --quiet",
        f".{part}",
    ]


def mount_memory(target: Path, megabytes: int, *, mode: int = 0o755) -> list[str]:
    """Return the command that mounts memory as a directory of at most that size."""
    options = f"size={megabytes}m,mode={mode:o}"
    return ["mount", "-t", "tmpfs", "-o", options, "corpus-images", str(target)]


def mount_overlay(lower: Sequence[Path], upper: Path, work: Path, target: Path) -> list[str]:
    """Return the command that shows ``lower`` (the topmost first) under a writable ``upper``."""
    layers = ":".join(str(path) for path in lower)
    options = f"lowerdir={layers},upperdir={upper},workdir={work},index=off,metacopy=off"
    return ["mount", "-t", "overlay", "-o", options, "corpus-images", str(target)]


def mount_kernel(kind: str, target: Path) -> list[str]:
    """Return the command that mounts ``proc`` or ``sysfs``."""
    return ["mount", "-t", kind, kind, str(target)]


def mount_bind(source: Path, target: Path) -> list[str]:
    """Return the command that shows ``source`` at ``target`` as well, for reading."""
    return ["mount", "-o", "bind,ro", str(source), str(target)]


def mount_devices(target: Path) -> list[str]:
    """Return the command that shows this machine's /dev in a tree."""
    return ["mount", "-o", "bind", "/dev", str(target)]


def unmount(target: Path) -> list[str]:
    """Return the command that unmounts ``target`` and what is mounted below it."""
    return ["umount", "--recursive", str(target)]
