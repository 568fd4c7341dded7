"""Directories of projects that are accounted by themselves within their environment.

An environment asks for one when a project is initialised in it; a project that has a plain
directory keeps that.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from corpus.hosts import beneath
from corpus.model.errors import Conflict, InvalidInput
from corpus.model.names import project_name
from corpus.node.context import Node
from corpus.node.environments import guest
from corpus.node.environments.lifecycle import ready
from corpus.node.environments.limits import given_size
from corpus.node.records import Allotment, Record
from corpus.node.storage import pool
from corpus.node.storage.volumes import Volumes

MOST = 200  # projects that a record holds, so that a guest cannot make it grow without end
_FOLDER = "projects"


def make(node: Node, id: str, name: str) -> bool:
    """Have the directory of a project be a volume with a quota group of its own.

    True when it is one, also from before; False where the storage accounts no parts, or where a
    directory or anything else is there. Raises InvalidInput when links are in the way, Conflict.
    """
    name = project_name(name)
    with node.lock(id):
        record = ready(node, id)
        volumes = pool.volumes(node)
        if not volumes.apart:
            return False
        with _folder(guest.srv(node.settings, record.id)) as folder:
            if record.allotment(name) is None:
                # Before its group: that of a project which no record names may be removed.
                record = node.change(id, lambda now: _with(now, name, folder, volumes))
            with node.lock():  # a prune would take a group away that is not in another yet
                made = volumes.allot(folder, name, record.project_group(name), record.group)
            if made:
                return True
            node.change(id, lambda now: _without(now, [Allotment(name)], volumes))
            return False


@contextmanager
def _folder(volume: Path) -> Iterator[int]:
    """Open the directory of the projects, made if need be; its root may have put links there."""
    with ExitStack() as opened:
        try:
            top = opened.enter_context(beneath.opened(volume))
            folder = opened.enter_context(beneath.opened(_FOLDER, top, make=True))
        except OSError as error:
            raise InvalidInput(
                f"the place of the projects is no directory: {error.strerror}",
                where=f"/srv/{_FOLDER}",
                mend="have a directory there",
            ) from None
        yield folder


def _with(record: Record, name: str, folder: int, volumes: Volumes) -> Record:
    """Return the record with one more project; when there are too many, without those gone."""
    if len(record.projects) >= MOST:
        gone = [one for one in record.projects if not _is_there(one, folder)]
        record = _without(record, gone, volumes)
    if len(record.projects) >= MOST:
        raise Conflict(
            f"{record.name} has {MOST} projects that are accounted by themselves already",
            mend="remove some, or take sizes off projects that are gone (project_limit)",
        )
    return record.allotted(Allotment(name))


def _without(record: Record, gone: Collection[Allotment], volumes: Volumes) -> Record:
    """Return the record without these projects, and remove their groups. Hold the node's lock.

    One that has a size stays, and one whose group cannot go yet: it counts.
    """
    kept = tuple(
        one
        for one in record.projects
        if one not in gone
        or one != Allotment(one.project)
        or not volumes.drop(record.project_group(one.project))
    )
    return record.changed(projects=kept)


def _is_there(one: Allotment, folder: int) -> bool:
    try:
        os.stat(one.project, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def checked(old: Record) -> tuple[Allotment, ...]:
    """Return the projects of a record from elsewhere, with their sizes. Raises InvalidInput."""
    if len(old.projects) > MOST:
        raise InvalidInput(f"more than {MOST} projects are accounted by themselves")
    found = (
        Allotment(
            project_name(one.project),
            given_size(one.size, None),
            given_size(one.size_limit, None),
        )
        for one in old.projects
    )
    return tuple({one.project: one for one in found}.values())
