"""What checks of several subjects ask."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from corpus.model.errors import Conflict, CorpusError, InvalidInput
from corpus.model.names import environment_id
from corpus.node.context import Node
from corpus.node.records import Record, Stage


def is_id(name: str) -> bool:
    """Tell whether a name is an environment's id, and so a name that only the node gives."""
    try:
        return environment_id(name) == name
    except InvalidInput:
        return False


def whole(node: Node) -> list[Record]:
    """Return the records of the environments that are made, and that nobody works on now."""
    ready = [record for record in node.records.all() if record.stage is Stage.READY]
    return [record for record in ready if not busy(node, record.id)]


def busy(node: Node, id: str) -> bool:
    """Tell whether somebody holds a lock; it is not made where it is absent."""
    if not (node.settings.locks / id).exists():
        return False
    try:
        with node.lock(id, wait=False):
            return False
    except Conflict:
        return True


def of_nobody(node: Node, paths: Iterable[Path]) -> list[Path]:
    """Return those of the paths that are named by an environment of which there is no record.

    A record is written before the first of them and removed after the last one: the records are
    read after ``paths``.
    """
    named = [path for path in paths if is_id(path.name)]
    known = known_ids(node)
    return [path for path in named if path.name not in known and path.exists()]


def known_ids(node: Node) -> set[str]:
    """Return the ids of all records, those included that cannot be read."""
    return {record.id for record in node.records.all()} | node.records.damaged().keys()


@contextmanager
def unclaimed(node: Node, id: str) -> Iterator[None]:
    """Hold the lock of an environment that has no record. Raises Conflict when it has one now."""
    with node.lock(id):
        try:
            if id in known_ids(node):
                raise Conflict(f"environment {id} has a record now")
            yield
        finally:
            if id not in known_ids(node):
                (node.settings.locks / id).unlink(missing_ok=True)


def entries(folder: Path) -> list[Path]:
    """Return what is in a folder; nothing where it is absent."""
    try:
        return sorted(folder.iterdir())
    except OSError as error:
        if isinstance(error, FileNotFoundError):
            return []
        raise CorpusError(f"cannot be read: {error.strerror}", str(folder)) from None
