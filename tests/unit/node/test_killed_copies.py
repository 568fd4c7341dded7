"""What copies whole environments, killed at each step: called again it ends right, or mended."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from corpus.model.errors import Conflict
from corpus.node.context import Node
from corpus.node.environments import (
    cloning,
    exporting,
    guest,
    importing,
    lifecycle,
    removal,
    snapshots,
)
from corpus.node.records import Stage
from unit.node.killing import STAGING, THIRD, Trial, die_at_each_step
from unit.node.outliving import sizes

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="owners are given by root")


def written(node: Node) -> None:
    """Have something in the environment that runs."""
    for place in (guest.srv(node.settings, STAGING), guest.rootfs(node.settings, STAGING)):
        (place / "file").write_text("one")


def kept(node: Node) -> Any:
    """Return what the volumes hold of it, those of snapshots too, and the names of exports."""
    places = [*(node.settings.pool / "env").rglob("file"), *exported(node).parent.iterdir()]
    found = {str(path): path.read_text() if path.name == "file" else "" for path in places}
    return found, sizes(node)


def exported(node: Node) -> Path:
    """Return the file of an export."""
    path = node.settings.prefix.parent / "exports/environment.tar"
    path.parent.mkdir(exist_ok=True)
    return path


def once(node: Node, work: Callable[[], Any], is_done: Callable[[], bool]) -> None:
    """Do what is refused when it is done already: an error that says so is a right end."""
    done = is_done()
    with suppress(*([Conflict] if done else [])):
        work()


def take(node: Node) -> None:
    once(
        node,
        lambda: snapshots.take(node, STAGING, "first"),
        lambda: "first" in snapshots.names(node, STAGING),
    )


def taken(node: Node) -> None:
    written(node)
    snapshots.take(node, STAGING, "first")
    (guest.srv(node.settings, STAGING) / "file").write_text("two")


def restore(node: Node) -> None:
    """Restore a snapshot; what was left half-way is ended as the error says."""
    if node.records.get(STAGING).stage is Stage.RESTORING:
        snapshots.settle(node, STAGING)
    else:
        snapshots.restore(node, STAGING, "first")


def is_ready(node: Node, id: str) -> bool:
    there = node.records.find(id)
    return there is not None and there.stage is Stage.READY


def clone(node: Node) -> None:
    once(
        node,
        lambda: cloning.clone(node, STAGING, new=THIRD, hosts=["third.example"], wait=0),
        lambda: is_ready(node, THIRD),
    )


def export(node: Node) -> None:
    once(
        node,
        lambda: exporting.export(node, STAGING, exported(node)),
        exported(node).exists,
    )


def gone(node: Node) -> None:
    """Have an environment in a file alone."""
    written(node)
    export(node)
    removal.destroy(node, STAGING)


def import_(node: Node) -> None:
    once(
        node,
        lambda: importing.import_(node, exported(node), wait=0),
        lambda: is_ready(node, STAGING),
    )


OPERATIONS: dict[str, Trial] = {
    "snapshot": Trial(written, take, also=kept),
    "snapshot of one that is frozen": Trial(
        lambda node: (written(node), lifecycle.freeze(node, STAGING)), take, also=kept
    ),
    "snapshot_delete": Trial(
        taken, lambda node: snapshots.delete(node, STAGING, "first"), also=kept
    ),
    "restore": Trial(taken, restore, also=kept),
    "restore of one that is stopped": Trial(
        lambda node: (taken(node), lifecycle.stop(node, STAGING)), restore, also=kept
    ),
    "clone": Trial(written, clone, also=kept),
    "export": Trial(written, export, also=kept),
    "import": Trial(gone, import_, also=kept),
}


@pytest.mark.parametrize("name", OPERATIONS)
def test_killed_at_each_step(held: None, folder: Path, scratch: Path, name: str) -> None:
    die_at_each_step(folder, scratch, name, OPERATIONS[name])
