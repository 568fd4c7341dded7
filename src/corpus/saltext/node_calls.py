"""The node that the functions of ``corpus_node`` are called on."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from corpus.node.context import Node, this_node


def node_of(opts: Mapping[str, Any]) -> Node:
    """Return this node; ``corpus_node_settings`` in the minion's configuration names its file."""
    file = opts.get("corpus_node_settings")
    return this_node(Path(file)) if file else this_node()
