"""What could be freed in an environment that is too full for the size it shall have."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from typing import Any

from corpus.model.errors import CorpusError, StillUsed
from corpus.model.size import format_size
from corpus.node.context import Node
from corpus.node.environments import lifecycle
from corpus.node.records import Record
from corpus.node.storage import usage

_MOST = 20  # projects that an error tells of: a guest may have made directories without end
_SECONDS = 20.0  # that the environment may take to say what its projects keep
_LINE = "\n           "  # as errors are printed: below the words of ``to mend``
_KEPT = ("archives", "releases", "deploy")


@contextmanager
def told(node: Node, id: str, project: str = "") -> Iterator[None]:
    """Have a StillUsed that comes out of here say what could be pruned, in a project or in all.

    No lock is held meanwhile: the environment is asked, and what it answers takes its time.
    """
    try:
        yield
    except StillUsed as error:
        lines = [error.mend or "", *_kept(node, node.records.get(id), project)]
        raise StillUsed(error.what, error.where, _LINE.join(filter(None, lines))) from None


def _kept(node: Node, record: Record, project: str) -> list[str]:
    deadline, found = time.monotonic() + _SECONDS, []
    projects = usage.usage(node, record.id)[0]["projects"] or {}
    runs = lifecycle.state(node, record)[0] == "RUNNING"
    for name in [project] if project else islice(projects, _MOST):
        size = _asked(node, record, name, deadline - time.monotonic()) if runs else None
        if size is not None:
            found.append(
                f"{name}: {format_size(size)} of past deployments (mc_project.usage {name})"
            )
        elif name in projects:
            held = sum(projects[name][part] for part in _KEPT)
            found.append(f"{name}: {format_size(held)} in archives and releases")
    return found


def _asked(node: Node, record: Record, project: str, seconds: float) -> int | None:
    """Return what the past deployments of a project keep, as its environment says, or None."""
    if seconds <= 0:
        return None
    try:
        answer: Any = lifecycle.salted(node, record, "mc_project.usage", project, timeout=seconds)
    except CorpusError:
        return None
    size = answer.get("kept") if isinstance(answer, dict) else None
    return size if type(size) is int and 0 <= size < 1 << 60 else None
