"""Other sizes and limits, killed at each step: called again it ends right, or mended."""

from __future__ import annotations

from pathlib import Path

import pytest

from corpus.node.context import Node
from corpus.node.environments import limiting, projects, room
from unit.node.killing import PROD, STAGING, Trial, die_at_each_step, nothing
from unit.node.outliving import sizes

PROJECT = "demo"


def with_a_project(node: Node) -> None:
    """Have a project in the environment that runs, which has a size of its own."""
    assert projects.make(node, STAGING, PROJECT)
    room.allot(node, STAGING, PROJECT, "3G")


OPERATIONS: dict[str, Trial] = {
    "limit memory": Trial(nothing, lambda node: limiting.limit(node, PROD, memory="128M")),
    "limit size": Trial(nothing, lambda node: limiting.limit(node, STAGING, size="6G", cpu=2)),
    "enlarge": Trial(nothing, lambda node: room.enlarge(node, STAGING)),
    "enlarge to": Trial(nothing, lambda node: room.enlarge(node, STAGING, "7G")),
    "trim": Trial(nothing, lambda node: room.trim(node, STAGING, "2G")),
    "make room": Trial(nothing, lambda node: room.make_room(node, STAGING, 6 << 30)),
    "project": Trial(nothing, lambda node: projects.make(node, STAGING, PROJECT)),
    "project_limit": Trial(
        with_a_project, lambda node: room.allot(node, STAGING, PROJECT, "4G", "5G")
    ),
    "project_limit lower": Trial(
        with_a_project, lambda node: room.allot(node, STAGING, PROJECT, "2G")
    ),
    "project_limit none": Trial(
        with_a_project, lambda node: room.allot(node, STAGING, PROJECT, "none")
    ),
    "enlarge a project": Trial(
        with_a_project, lambda node: room.enlarge(node, STAGING, "4G", PROJECT)
    ),
    "trim a project": Trial(with_a_project, lambda node: room.trim(node, STAGING, "2G", PROJECT)),
}


@pytest.mark.parametrize("name", OPERATIONS)
def test_killed_at_each_step(held: None, folder: Path, scratch: Path, name: str) -> None:
    trial = OPERATIONS[name]
    die_at_each_step(folder, scratch, name, Trial(trial.before, trial.operation, also=sizes))
