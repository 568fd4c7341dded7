"""What a deployment will copy, and how many bytes each copy may take: preflight and plan.

Sizes are upper bounds as far as they can be known: what a build makes is taken to be as
large as what the last one made.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from corpus.model.deployment import Kind
from corpus.model.mode import Mode
from corpus.project import targets, trees
from corpus.project.trees import Way
from corpus.project.work import Work

_ROOM = 64 << 20  # for logs, rendered files, the package manager


@dataclass(frozen=True)
class Copy:
    """One copy: what is copied, how, and the bytes that it may take."""

    what: str
    way: str
    size: int


def of(work: Work) -> list[Copy]:
    """Return the copies that a configured deployment will make."""
    paths = work.project.paths
    way = trees.way_of(paths.root, work.project.host)
    shared = way is not Way.HARDLINK
    found = [Copy("room to work in", "write", _ROOM), *_of_run(work, way, shared)]
    if work.mode is not Mode.EDITABLE:
        size = 0 if shared else trees.size_of(paths.data)[0]
        found.append(Copy("data/ to archives/", way, 0 if shared else _written(work, size)))
        # Links to the backup would let the application write into it: this one is always full.
        found.append(Copy("data/ on the way back", way, size))
        if work.with_data:
            found.append(Copy("data/ of the target", way, size))
    return found


def reference(work: Work) -> Path | None:
    """Return the last backup of ``data/``, which the next one shares unchanged files with."""
    if work.previous is None:
        return None
    last = work.project.paths.archive(work.previous.deployment).data
    return last if last.is_dir() else None


def _written(work: Work, size: int) -> int:
    last = reference(work)
    return size if last is None else targets.written_since(work.project.paths.data, last).size


def _of_run(work: Work, way: Way, shared: bool) -> list[Copy]:
    paths = work.project.paths
    if work.mode is Mode.EDITABLE:
        size = 0 if shared else trees.size_of(paths.run)[0]
        return [Copy("run/ put aside", way, size)]
    if work.kind is Kind.ROLLBACK:
        size = 0 if shared else targets.size_of(work.project, work.target)
        return [Copy("the target's run/", way, size)]
    if work.mode is Mode.FINAL:
        fetched = [Copy("the release, fetched", "write", work.download)] if work.download else []
        return [
            *fetched,
            Copy("the release, unpacked", "write", work.size),
            Copy("run/ from deploy/", way, 0 if shared else work.size),
        ]
    last = int(work.former.get("size", 0))
    return [
        Copy("the new run/", "write", last),
        Copy("run/ to deploy/", way, 0 if shared else last),
        Copy("the release", "write", last),
    ]
