"""Files written so that a crash leaves the old one or the new one, never half of one, and read
so that one that is damaged all the same is told as that."""

from __future__ import annotations

import errno
import json
import os
import re
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from corpus.model.errors import CorpusError, InvalidInput

_TEMPORARY = re.compile(r"\..+\.[a-z0-9_]{8}")  # as tempfile.mkstemp names it
_T = TypeVar("_T")


def write_atomic(path: Path, data: bytes, mode: int = 0o644, *, durable: bool = True) -> None:
    """Replace ``path`` by ``data``; ``durable`` waits until it is on the disk."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            os.fchmod(file.fileno(), mode)
            file.flush()
            if durable:
                os.fsync(file.fileno())
        Path(temporary).replace(path)
        if durable:
            sync_names(path.parent)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


@contextmanager
def undamaged(what: str, where: str, mend: str | None = None) -> Iterator[None]:
    """Raise CorpusError, that ``what`` is damaged, for whatever reading and parsing it raises.

    A disk that fails, no text, no JSON or too deep, other values; not that the file is not there.
    """
    try:
        yield
    except FileNotFoundError:
        raise
    except (
        OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError, InvalidInput,
    ) as error:  # fmt: skip
        said = error.what if isinstance(error, InvalidInput) else str(error)
        why = f"{said or type(error).__name__:.200}"
        raise CorpusError(f"{what} is damaged: {why}", where, mend) from None


def read_json(
    path: Path, make: Callable[[Any], _T], what: str, mend: str | None = None
) -> _T | None:
    """Return what ``make`` makes of the JSON in ``path``, or None where there is no such file.

    Raises CorpusError, which says that ``what`` is damaged.
    """
    try:
        with undamaged(what, str(path), mend):
            return make(json.loads(path.read_text()))
    except FileNotFoundError:  # it may also have gone since its name was listed
        return None


def sweep(folder: Path) -> None:
    """Remove what ``write_atomic`` left in ``folder`` when its process was killed.

    The caller knows that nobody else writes there at the moment.
    """
    for path in temporary(folder):
        path.unlink(missing_ok=True)


def temporary(folder: Path) -> list[Path]:
    """Return the files in ``folder`` that ``write_atomic`` writes, or left there."""
    return sorted(path for path in folder.glob(".*") if _TEMPORARY.fullmatch(path.name))


def sync_names(folder: Path) -> None:
    """Wait until the names within ``folder`` are on the disk: a file's fsync leaves them out."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_all(handle: int, data: bytes | memoryview) -> None:
    """Write all of ``data``: a disk that gets full, or a signal, lets a part of it through."""
    while data:
        data = data[os.write(handle, data) :]


def append_line(path: Path, line: str, mode: int = 0o600, *, durable: bool = True) -> None:
    """Append one line to ``path``; ``durable`` waits until it is on the disk.

    A last line that a power cut left without its end is ended first.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, mode)
    try:
        size = os.fstat(handle).st_size
        torn = size > 0 and os.pread(handle, 1, size - 1) != b"\n"
        data = b"\n" * torn + line.rstrip("\n").encode() + b"\n"
        if os.write(handle, data) != len(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        if durable:
            os.fsync(handle)
    finally:
        os.close(handle)
