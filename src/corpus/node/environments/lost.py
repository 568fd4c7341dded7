"""Data of an environment whose record is lost: it is told of and left, and nothing made over it."""

from __future__ import annotations

from pathlib import Path

from corpus.model.errors import Conflict
from corpus.node.context import Node
from corpus.node.environments import guest
from corpus.node.saltify.records import check_no_machine


def check_new(node: Node, id: str) -> None:
    """Raise Conflict where an environment that is to be made would take what is somebody's.

    Its id is a machine's, or there is data of it and no record. Hold the lock of that name.
    """
    check_no_machine(node, id)
    if node.records.find(id) is None and (left := data(node, id)):
        raise Conflict(
            f"there is data of an environment {id}, and no record of it",
            str(left[0]),
            f"{mend(node, left[0])}; or choose another id",
        )


def data(node: Node, id: str) -> list[Path]:
    """Return what there is of an environment's files: its place, its disk, what has arrived."""
    return [path for path in places(node, id) if path.exists()]


def places(node: Node, id: str) -> list[Path]:
    """Return where that would lie."""
    return [place(node.settings, id) for place in (guest.home, guest.disk, guest.staged)]


def mend(node: Node, path: Path) -> str:
    """Tell what can be done with what bears the id of an environment without a record."""
    record = node.settings.records / f"{path.stem}.json"
    return f"bring {record} back, then corpus_node.boot; or, with all data: rm -rf {path}"
