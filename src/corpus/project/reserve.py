"""A few megabytes kept aside, so that a full disk leaves room for the way back."""

from __future__ import annotations

import errno
import os
import re
from pathlib import Path

from corpus.project import trees
from corpus.project.place import Project

SIZE = 4 << 20
MEND = "enlarge the environment, or lower retention so that less is kept"
_FULL = re.compile(r"No space left on device|Disk quota exceeded|ENOSPC|EDQUOT|disk is full", re.I)


def keep(project: Project) -> None:
    """Have the reserve; a disk without room for it is no error."""
    path = _path(project)
    if is_there(project):
        return
    try:
        path.write_bytes(os.urandom(SIZE))  # noise: it must not compress away
        path.chmod(0o600)
    except OSError as error:
        path.unlink(missing_ok=True)
        if not is_full(error):
            raise


def is_there(project: Project) -> bool:
    """Tell whether the reserve is there, whole."""
    path = _path(project)
    return path.is_file() and path.stat().st_size == SIZE


def release(project: Project, rubbish: Path | None, error: BaseException) -> None:
    """When ``error`` says that the disk is full, free the reserve and ``rubbish``, if any.

    What the failed build made is then not kept: the live version needs the room. btrfs
    counts the space of unlinked files as free after a commit, hence the sync; that of a
    removed subvolume only when a thread of the kernel comes to it, so files go first.
    """
    if is_full(error):
        _path(project).unlink(missing_ok=True)
        os.sync()
        if rubbish is not None and rubbish.is_dir():
            trees.empty(rubbish)
            os.sync()
            trees.remove(rubbish)


def is_full(error: BaseException) -> bool:
    """Tell whether an error, or the output of the command within it, means a full disk."""
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return True
    return bool(_FULL.search(str(error)))


def _path(project: Project) -> Path:
    return project.paths.state / "reserve"
