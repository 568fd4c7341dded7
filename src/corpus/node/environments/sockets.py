"""The socket of each environment, at which it asks its node (``corpus.node.ask``)."""

from __future__ import annotations

import os
import shutil

from corpus.commands import systemctl
from corpus.node.context import Node
from corpus.node.environments import guest
from corpus.node.records import Record


def offer(node: Node, record: Record) -> None:
    """Have an environment's socket listened at; one that cannot be starts without.

    The directory stays the same whatever becomes of the socket, so that a running guest, which
    has it mounted, finds the new one. It belongs to the node's root: the guest's may pass it
    (LXC mounts it as that one) and, being a stranger to its owner, write nothing into it.
    """
    place = guest.asks(node.settings, record.id)
    place.mkdir(parents=True, exist_ok=True)
    node.settings.asks.chmod(0o711)
    os.chown(place, 0, guest.root(node.settings, record))
    place.chmod(0o710)
    # Not waited for: the guest's boot, which comes next, takes far longer.
    order = systemctl.command("start", [unit(record.id)], wait=False)
    node.host.run(order, check=False, timeout=10)


def withdraw(node: Node, id: str) -> None:
    """Remove the socket of the environment ``id``."""
    place = guest.asks(node.settings, id)
    if place.exists():
        node.host.run(systemctl.command("stop", [unit(id)]), check=False, timeout=10)
        shutil.rmtree(place)


def unit(id: str) -> str:
    """Return the unit of systemd that listens for the environment ``id``."""
    return f"corpus-ask@{id}.socket"
