"""cp(1), rsync(1), tar(1): copies and archives of directories."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path


def reflink_file(source: Path, target: Path) -> list[str]:
    """Return the command that copies one file by sharing its extents, or fails."""
    return ["cp", "--reflink=always", "--", str(source), str(target)]


def sparse_file(source: Path, target: Path) -> list[str]:
    """Return the command that copies one file but for its holes, sharing its extents if it can."""
    return ["cp", "--reflink=auto", "--sparse=auto", "--", str(source), str(target)]


def reflink_tree(source: Path, target: Path) -> list[str]:
    """Return the command that copies what is in ``source`` into the directory ``target``."""
    return ["cp", "--archive", "--reflink=auto", "--no-target-directory", "--", str(source),
            str(target)]  # fmt: skip


def weigh(folder: Path) -> list[str]:
    """Return the command that prints, first in its line, the bytes that a tree takes."""
    return ["du", "--summarize", "--one-file-system", "--block-size=1", "--", str(folder)]


def mirror(
    source: Path,
    target: Path,
    *,
    aside: Path | None = None,
    keep: Sequence[str] = (),
    compare: bool = False,
) -> list[str]:
    """Return the command that makes ``target`` hold exactly what ``source`` holds, by content.

    Times and sizes are not trusted: a build may set both. What is overwritten or removed goes
    to ``aside``. The names ``keep`` directly below are left as they are. ``compare`` prints a
    line for each difference instead and changes nothing.
    """
    spared = [f"--exclude=/{name}" for name in keep]
    backup = ["--backup", f"--backup-dir={aside}"] if aside else []
    only = ["--dry-run", "--itemize-changes"] if compare else []
    return ["rsync", "--archive", "--hard-links", "--acls", "--xattrs", "--numeric-ids",
            "--checksum", "--delete", "--force", *spared, *backup, *only,
            f"{source}/", f"{target}/"]  # fmt: skip


def listed(source: Path, target: Path, *, aside: Path) -> list[str]:
    """Return the command that copies the names in its input, each ended by a NUL byte.

    Files that differ by content are overwritten, after they were moved to ``aside``.
    """
    return ["rsync", "--archive", "--hard-links", "--acls", "--xattrs", "--numeric-ids",
            "--checksum", "--from0", "--files-from=-", "--backup", f"--backup-dir={aside}",
            f"{source}/", f"{target}/"]  # fmt: skip


def rsync(source: Path, target: Path, *, link_dest: Path | None = None) -> list[str]:
    """Return the command that makes ``target`` hold what ``source`` holds, hard links included.

    ``link_dest`` is an earlier copy: a file that did not change is a hard link into it.
    """
    shared = [f"--link-dest={link_dest}"] if link_dest else []
    return ["rsync", "--archive", "--hard-links", "--acls", "--xattrs", "--numeric-ids",
            "--modify-window=-1", *shared, f"{source}/", f"{target}/"]  # fmt: skip


def serve(config: Path) -> list[str]:
    """Return the command that serves what ``config`` (rsyncd.conf(5)) says at its own input."""
    return ["rsync", "--server", "--daemon", f"--config={config}", "."]


def serve_config(folder: Path) -> str:
    """Return such a configuration: ``folder`` to read, and by no link anything beside it."""
    return f"""reverse lookup = no
use chroot = yes
munge symlinks = no
numeric ids = yes
[volume]
path = {folder}
read only = yes
uid = 0
gid = 0
"""


def fetch(target: Path, helper: Sequence[str], *, contents: bool, silence: int) -> list[str]:
    """Return the command that makes ``target`` hold what the other end of ``helper`` serves.

    Files of the same time and size are taken to be the same, unless it compares ``contents``. It
    ends when nothing has come or gone for ``silence`` seconds.
    """
    compare = ["--checksum"] if contents else []
    return ["rsync", "--archive", "--hard-links", "--acls", "--xattrs", "--sparse",
            "--numeric-ids", "--delete", "--force", "--modify-window=-1", *compare, "--stats",
            "--no-human-readable", f"--timeout={silence}", f"--rsh={' '.join(helper)}",
            "other::volume/", f"{target}/"]  # fmt: skip


def files(folder: Path) -> list[str]:
    """Return the command that prints all files below ``folder``: of each when its inode changed
    last, the inode's number, its device, and its path there, ended by a NUL byte.
    """
    return ["find", str(folder), "-ignore_readdir_race", "-type", "f",
            "-printf", "%C@ %i %D %P\\0"]  # fmt: skip


def parse_fetched(text: str) -> int:
    """Return how many bytes came, of what ``fetch`` printed."""
    found = re.search(r"Total bytes received: (\d+)", text)
    return int(found[1]) if found else 0


def archive(folder: Path, *, mtime: int) -> list[str]:
    """Return the command that writes the members of ``folder`` that it reads as a tar.

    Their names are in its input, each ended by a NUL byte. Same content, same bytes: every
    member bears the time ``mtime``.
    """
    return ["tar", "--create", "--file=-", f"--directory={folder}", "--format=posix",
            "--blocking-factor=128",
            "--pax-option=exthdr.name=%d/PaxHeaders/%f,delete=atime,delete=ctime",
            f"--mtime=@{mtime}", "--no-recursion", "--null", "--files-from=-"]  # fmt: skip


def whole(folder: Path) -> list[str]:
    """Return the command that writes all that is in ``folder`` as a tar, with all that files have.

    Owners are numbers, holes stay holes, access lists are among the extended attributes. Sockets
    are left out: who listens at one makes it anew.
    """
    return ["tar", "--create", "--file=-", f"--directory={folder}", "--format=posix",
            "--blocking-factor=128", "--numeric-owner", "--sparse", "--sort=none",
            "--xattrs", "--xattrs-include=*", "--warning=no-file-ignored",
            "--pax-option=exthdr.name=%d/PaxHeaders/%f,delete=atime,delete=ctime",
            "--", "."]  # fmt: skip


def compress() -> list[str]:
    """Return the filter that compresses; its output does not depend on the number of cores.

    It adds no checksum of its own: who reads it has a digest of the whole.
    """
    return ["zstd", "-3", "-T0", "--no-check", "--quiet", "--stdout"]


def decompress() -> list[str]:
    """Return the filter that undoes it, in 128 MiB of memory at most."""
    return ["zstd", "--decompress", "--quiet", "--stdout", "--memory=128MB"]
