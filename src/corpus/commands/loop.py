"""A filesystem in a file: mkfs.btrfs(8), mkfs.ext4(8), losetup(8), mountinfo of proc(5)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import PurePath


def make_btrfs(image: PurePath, label: str, *, mixed: bool = False) -> list[str]:
    """Return the command that makes an empty btrfs in ``image``, whatever lay there.

    Metadata is not doubled: to keep it safe is the part of the disk that the file is on.
    ``mixed`` is for small ones: data and metadata lie in the same places.
    """
    return [
        "mkfs.btrfs",
        "--quiet",
        "--force",
        "--nodiscard",
        "--metadata=single",
        *(["--mixed"] if mixed else []),
        f"--label={label}",
        str(image),
    ]


def own_id(image: PurePath) -> list[str]:
    """Return the command that gives the btrfs in ``image``, a copy, an id that no other has.

    It is written into the superblock alone (kernel 5.0), not into each block of metadata.
    """
    return ["btrfstune", "-f", "-m", str(image)]


def make_ext4(image: PurePath, label: str) -> list[str]:
    """Return the command that makes an empty ext4 in ``image``, whatever lay there.

    What is empty is left a hole in the file, and not filled by the kernel later.
    """
    return ["mkfs.ext4", "-q", "-F", "-E", "lazy_journal_init=1", "-L", label, str(image)]


def mount_ext4(image: PurePath, target: PurePath) -> list[str]:
    """Return the command that mounts it; what is removed in it takes no space of ``image``."""
    return ["mount", "-t", "ext4", "-o", "loop,noatime,discard", str(image), str(target)]


def unmount(target: PurePath) -> list[str]:
    """Return the command that unmounts ``target``; it fails while something uses it."""
    return ["umount", str(target)]


def list_loops() -> list[str]:
    """Return the command that lists the loop devices and the files behind them."""
    return ["losetup", "--list", "--noheadings", "--raw", "--output=NAME,BACK-FILE"]


def parse_loops(text: str) -> dict[str, str]:
    """Return the file behind each loop device; a removed file keeps its former path."""
    pairs = (line.split(" ", 1) for line in text.splitlines() if " " in line)
    return {device: _unescape(file).removesuffix(" (deleted)") for device, file in pairs}


def _unescape(text: str) -> str:
    return re.sub(r"\\x([0-9a-f]{2})", lambda found: chr(int(found[1], 16)), text)


def detach_loop(device: str) -> list[str]:
    """Return the command that frees a loop device."""
    return ["losetup", "--detach", device]


@dataclass(frozen=True)
class Mount:
    """One line of /proc/self/mountinfo."""

    target: str
    kind: str
    source: str


def parse_mounts(text: str) -> list[Mount]:
    """Return the mounts of a mountinfo file, oldest first."""
    found = []
    for line in text.splitlines():
        fields = line.split(" ")
        rest = fields.index("-")
        found.append(Mount(_plain(fields[4]), fields[rest + 1], _plain(fields[rest + 2])))
    return found


def _plain(text: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), text)
