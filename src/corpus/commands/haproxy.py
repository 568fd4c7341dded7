"""HAProxy as the node's front: its commands. The configuration is corpus.node.proxy's."""

from __future__ import annotations

from pathlib import PurePath


def check(config: PurePath) -> list[str]:
    """Return the command that checks a configuration file without starting it."""
    return ["haproxy", "-c", "-q", "-f", str(config)]
