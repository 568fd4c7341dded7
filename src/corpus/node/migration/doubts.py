"""Which files a pass of rsync may not judge by time and size: their contents are compared.

Those may stay while the content changes. A page that is mapped has the time of its first change
until it has been written to the disk; a time can be set back; one file can come in the place of
another one. A file is known only where the pass before saw at its path the same inode, with a
ctime of before all pages went to the disk. ``docs/explanation/moving.md`` says why that is enough.
"""

from __future__ import annotations

import os
import time
from collections.abc import Generator, Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from corpus.commands import copying
from corpus.hosts import pipeline
from corpus.model.errors import CommandFailed

_SLACK = 2.0  # seconds: times are those of the last tick, on some file systems of the last second
_SET = 0.5  # seconds by which a clock is not taken to be set
_MOST = 1 << 20  # files of a volume that are remembered
_LONGEST = 64 << 20  # bytes of paths that are told
_CHUNK = 1 << 18  # bytes of paths in one request: six times that in JSON
_SECONDS = 3600.0


@dataclass(frozen=True)
class Moment:
    """When a pass began, by the clock that files' times are of; how far that is ``ahead`` of the
    one that nobody can set."""

    clock: float
    ahead: float


def now() -> Moment:
    """Return this moment."""
    clock = time.time()
    return Moment(clock, clock - time.monotonic())


@dataclass(frozen=True)
class Seen:
    """The marks of files that were as they are since before the ``moment`` of a pass."""

    moment: Moment
    marks: frozenset[int]


def look(
    folder: Path, moment: Moment, names: Mapping[bytes, bytes], before: Seen | None
) -> tuple[Seen | None, list[bytes] | None]:
    """Return what is seen below ``folder``, and the paths of files that are not known to be as
    they were ``before``. None for the one: nothing is known; for the other: all of them.

    Call it once what was written before ``moment`` is on the disk. ``names``: what to call devices
    whose numbers do not last.
    """
    if before is None or abs(moment.ahead - before.moment.ahead) > _SET:
        known, doubted = frozenset[int](), None
    else:
        known, doubted = before.marks, list[bytes]()
    marks, size = set[int](), 0
    try:
        with closing(_files(folder)) as found:
            for changed, inode, device, path in found:
                mark = hash((changed, inode, names.get(device, device), path))
                if float(changed) < moment.clock - _SLACK:
                    marks.add(mark)
                if doubted is not None and mark not in known:
                    doubted.append(path)
                    size += len(path)
                if size > _LONGEST:
                    doubted, size = None, 0
                if len(marks) > _MOST:
                    return None, None
    except CommandFailed:  # what runs there moves it about
        return None, None
    return Seen(moment, frozenset(marks)), doubted


def _files(folder: Path) -> Generator[list[bytes], None, None]:
    """Give ctime, inode, device and path of each file."""
    nothing = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    try:
        with pipeline.output_of([copying.files(folder)], nothing, timeout=_SECONDS) as output:
            rest = b""
            while data := output.read(_CHUNK):
                *whole, rest = (rest + data).split(b"\0")
                for entry in whole:
                    yield entry.split(b" ", 3)
    finally:
        os.close(nothing)


def portions(paths: Iterable[bytes]) -> Iterator[list[str]]:
    """Give paths in lists that each fit into one request, whatever JSON makes of them."""
    portion, size = list[str](), 0
    for path in paths:
        portion.append(os.fsdecode(path))
        size += len(path) + 8
        if size > _CHUNK:
            yield portion
            portion, size = [], 0
    if portion:
        yield portion
