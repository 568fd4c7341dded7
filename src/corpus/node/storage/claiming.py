"""The quota groups of environments whose notes are lost, or were never made: found by the records.

An environment that is half made has none: its group may be another's, whom it is refused for.
"""

from __future__ import annotations

from corpus.node.context import Node
from corpus.node.environments import guest
from corpus.node.storage import pool


def unclaimed(node: Node) -> list[str]:
    """Return the groups of environments that lie here and that the node has no note of."""
    volumes = pool.volumes(node)
    return [
        group
        for record in node.records.all()
        if not record.half_made and guest.home(node.settings, record.id).is_dir()
        for group in volumes.unclaimed(
            record.group, [record.project_group(one.project) for one in record.projects]
        )
    ]


def claim(node: Node) -> None:
    """Note that they are this node's. Hold the node's lock."""
    for group in unclaimed(node):
        pool.volumes(node).claim(group)
