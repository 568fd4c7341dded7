"""What the kernel has once for all environments, so that one cannot use up what the others need."""

from __future__ import annotations

from pathlib import PurePath

from corpus.commands import ip
from corpus.model.errors import CorpusError
from corpus.node.context import Node

# Counted for all environments together (user_namespaces(7)): Debian's 128 instances are those of
# thirty idle ones, or of one that wants them all. Each is memory, which has a limit of its own.
_INOTIFY = ("max_user_instances", "max_user_watches")
_ENOUGH = 1 << 24


def raise_limits(node: Node) -> None:
    """Raise what is lower than enough; what the kernel does not have, or not let, stays."""
    for name in _INOTIFY:
        key = f"fs/inotify/{name}"
        try:
            now = int(node.host.get(PurePath("/proc/sys", key)))
        except (CorpusError, ValueError):
            continue
        if now < _ENOUGH:
            node.host.run(ip.sysctl(key, _ENOUGH), check=False)
