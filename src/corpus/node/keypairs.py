"""Key pairs that the node makes at first need, to reach others with."""

from __future__ import annotations

from pathlib import Path

from corpus.commands import ssh
from corpus.node.context import Node


def public(node: Node, key: Path, lock: str) -> str:
    """Return the public key of the pair whose private one is ``key``, made where it is absent.

    Raises CommandFailed.
    """
    shown = Path(f"{key}.pub")
    with node.lock(lock):
        if not key.exists():
            key.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            for left in half_made(key):
                left.unlink()
            partial = _partial(key)
            node.host.run(ssh.make_key(partial))
            Path(f"{partial}.pub").rename(shown)
            partial.rename(key)  # the last: it is there when all is
    return shown.read_text()


def half_made(key: Path) -> list[Path]:
    """Return what somebody makes of such a pair, or left of it when he died. Hold its lock."""
    return sorted(key.parent.glob(f"{_partial(key).name}*"))


def _partial(key: Path) -> Path:
    return key.with_name(f".{key.name}.partial")
