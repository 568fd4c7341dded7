"""What is mounted, as this process sees it. Source: proc_pid_mountinfo(5)."""

from __future__ import annotations

import re
from pathlib import Path

_OCTAL = re.compile(r"\\([0-7]{3})")


def parse(text: str) -> list[Path]:
    """Return the mount points in the text of a mountinfo file, the oldest first."""
    return [
        Path(_OCTAL.sub(lambda code: chr(int(code[1], 8)), fields[4]))
        for fields in (line.split(" ") for line in text.splitlines())
        if len(fields) > 4
    ]


def text() -> str:
    """Return the mountinfo of this process."""
    return Path("/proc/self/mountinfo").read_text(errors="replace")


def is_point(path: Path) -> bool:
    """Tell whether something is mounted right at ``path``.

    ``Path.is_mount`` does not see a bind mount within one file system, and takes a btrfs
    subvolume for a mount.
    """
    return path.resolve() in parse(text())


def below(folder: Path) -> list[Path]:
    """Return the mount points within ``folder``, itself included, the oldest first."""
    points = parse(text())
    return [point for point in points if point.is_relative_to(folder.resolve())]
