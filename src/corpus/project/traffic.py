"""Hold the project's inbound traffic, let what is under way end, admit it again."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from corpus.commands import holding
from corpus.project.place import Place


def hold(place: Place, ports: Sequence[int]) -> None:
    """Drop new connections to ``ports``; their senders try again."""
    if place.firewall and ports:
        place.host.run(holding.apply(), stdin=holding.hold(ports))


def admit(place: Place, ports: Sequence[int]) -> None:
    """Let new connections to ``ports`` in again."""
    if place.firewall and ports:
        place.host.run(holding.apply(), stdin=holding.admit(ports))


def drain(ports: Sequence[int], patience: float) -> int:
    """Wait until no connection to ``ports`` is open, ``patience`` seconds at most.

    Return how many are left.
    """
    deadline = time.monotonic() + patience
    while (left := _open(ports)) and time.monotonic() < deadline:
        time.sleep(0.005)
    return left


def _open(ports: Sequence[int]) -> int:
    if not ports:
        return 0
    return sum(
        holding.parse_connections(table.read_text(), ports)
        for table in (Path("/proc/net/tcp"), Path("/proc/net/tcp6"))
        if table.exists()
    )
