"""Execution functions of a compute node: what differs from its records, and mending it."""

from __future__ import annotations

from typing import Any

from corpus.model.finding import is_well
from corpus.node.doctor.examine import examine
from corpus.saltext.edge import edge
from corpus.saltext.node_calls import node_of

__virtualname__ = "corpus_node"
__context__: dict[str, Any]
__opts__: dict[str, Any]


def __virtual__() -> str:
    """Load under the name ``corpus_node``, beside the module of that name."""
    return __virtualname__


@edge
def doctor(mend: bool = False) -> list[dict[str, Any]]:
    """Return where the node differs from its records, and what killed operations left.

    ``mend``: mend what can be mended safely; never data of an environment that has a record.
    Something bad that is left sets a non-zero exit code.

    CLI Example: ``salt-call --local corpus_node.doctor mend=True``
    """
    found = examine(node_of(__opts__), mend=mend)
    __context__["retcode"] = 0 if is_well(found) else 1
    return found
