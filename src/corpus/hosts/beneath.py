"""Files below a directory that somebody hostile has filled: no link is ever followed.

Ids on the disk of an environment are its own, so its root may put anything anywhere in its tree,
also just now: whoever works there as the node's root goes by descriptors, one name at a time.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_DEEPEST = 50  # directories that are open at a time; what is deeper is moved up first


@contextmanager
def opened(
    path: Path | str | bytes, folder: int | None = None, *, make: bool = False
) -> Iterator[int]:
    """Yield a descriptor of the directory ``path`` below ``folder``.

    Without ``folder`` it is one of the caller's own, that only its last name is not followed of.
    ``make`` makes the directories that are missing (0755). Raises OSError: FileNotFoundError,
    or NotADirectoryError where a link or a file is in the way.
    """
    if folder is None:
        handle = os.open(path, _FOLDER)
        try:
            yield handle
        finally:
            os.close(handle)
        return
    parts = [part for part in os.fsencode(path).split(b"/") if part not in (b"", b".")]
    if b".." in parts:
        raise NotADirectoryError(f"it leads upwards: {os.fsdecode(path)!r}")
    handle = os.dup(folder)
    try:
        for part in parts:
            if make:
                with suppress(FileExistsError):
                    os.mkdir(part, 0o755, dir_fd=handle)
            inner = os.open(part, _FOLDER, dir_fd=handle)
            os.close(handle)
            handle = inner
        yield handle
    finally:
        os.close(handle)


def write(folder: int, path: str, text: str, mode: int, *, private: bool = False) -> None:
    """Put a file of root's at ``path`` below ``folder``, in place of what is there.

    A crash leaves the old one or the new one. Its directory is made when it is missing, 0700
    where it is ``private``. Raises OSError.
    """
    place, _, name = path.rpartition("/")
    with opened(place, folder, make=True) as inner:
        if private:
            os.fchmod(inner, 0o700)
        new = f".{name}.new"
        remove(inner, new)
        with os.fdopen(os.open(new, _NEW, mode, dir_fd=inner), "w") as file:
            file.write(text)
            os.fchmod(file.fileno(), mode)
        with suppress(IsADirectoryError, FileNotFoundError):
            if stat.S_ISDIR(os.stat(name, dir_fd=inner, follow_symlinks=False).st_mode):
                remove(inner, name)
        os.rename(new, name, src_dir_fd=inner, dst_dir_fd=inner)


def names(folder: int, path: str) -> list[str]:
    """Return the names in a directory below ``folder``; none where it is no directory."""
    try:
        with opened(path, folder) as inner:
            return sorted(os.listdir(inner))  # noqa: PTH208  a descriptor
    except OSError:
        return []


def remove(folder: int, path: str) -> None:
    """Remove what is at ``path`` below ``folder``, with all that is in it; fine when absent.

    Nothing is removed behind a link: then there is nothing there. Raises OSError.
    """
    place, _, name = path.rpartition("/")
    with suppress(FileNotFoundError, NotADirectoryError), opened(place, folder) as inner:
        if stat.S_ISDIR(os.stat(name, dir_fd=inner, follow_symlinks=False).st_mode):
            _remove_folder(inner, name)
        else:
            os.unlink(name, dir_fd=inner)


def _remove_folder(place: int, name: str) -> None:
    """Remove a directory, however deep: neither the stack nor the descriptors grow with it."""
    levels: list[tuple[int, str, list[str]]] = []

    def enter(folder: int, name: str) -> None:
        handle = os.open(name, _FOLDER, dir_fd=folder)
        levels.append((handle, name, []))
        levels[-1][2].extend(os.listdir(handle))  # noqa: PTH208  a descriptor

    try:
        enter(place, name)
        while levels:
            handle, own, left = levels[-1]
            if not left:
                levels.pop()
                os.close(handle)
                os.rmdir(own, dir_fd=levels[-1][0] if levels else place)
                continue
            one = left.pop()
            if not stat.S_ISDIR(os.stat(one, dir_fd=handle, follow_symlinks=False).st_mode):
                os.unlink(one, dir_fd=handle)
            elif len(levels) < _DEEPEST:
                enter(handle, one)
            else:
                top, moved = levels[0], uuid4().hex
                os.rename(one, moved, src_dir_fd=handle, dst_dir_fd=top[0])
                top[2].append(moved)
    finally:
        for handle, _, _ in levels:
            os.close(handle)
