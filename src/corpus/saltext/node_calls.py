"""The node that the functions of ``corpus_node`` are called on."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from corpus.node.context import Node, this_node
from corpus.saltext.edge import edge, pairs, words

__all__ = ["edge", "node_of", "pairs", "planned", "words"]


def node_of(opts: Mapping[str, Any]) -> Node:
    """Return this node; ``corpus_node_settings`` in the minion's configuration names its file."""
    file = opts.get("corpus_node_settings")
    return this_node(Path(file)) if file else this_node()


def planned(changes: list[str]) -> dict[str, Any]:
    """Return what a call with ``test=True`` returns: the changes that the real one would make."""
    return {"test": True, "changes": changes}
