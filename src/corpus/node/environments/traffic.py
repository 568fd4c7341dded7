"""Requests wait while an environment is stopped and started: none is cut off that can end.

A connection that a service has not taken when it ends is reset, and the proxy must not ask again
what may have been asked. So, as a project does when it swaps versions, new connections are dropped
first, for the proxy to try again, and those under way end. The rules are the environment's own
network's and go with it.
"""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path

from corpus.commands import holding
from corpus.model.errors import CommandFailed
from corpus.node.context import Node
from corpus.node.environments import lifecycle
from corpus.node.records import Record

_PATIENCE = 5.0  # seconds for what is under way to end


def stop(node: Node, record: Record, timeout: int, patience: float = _PATIENCE) -> None:
    """Stop an environment once the requests to its routed ports have ended; new ones wait.

    What lasts longer than ``patience`` seconds is cut off. Where it cannot be stopped, it is
    reached as before. Raises CommandFailed.
    """
    ports = sorted({route.port for route in record.routes})
    status, pid = lifecycle.state(node, record)
    if not ports or status != "RUNNING" or pid is None:
        lifecycle.halt(node, record, timeout)
        return
    _tell(node, pid, holding.hold(ports))
    try:
        deadline = time.monotonic() + patience
        while _open(pid, ports) and time.monotonic() < deadline:
            time.sleep(0.01)
        lifecycle.halt(node, record, timeout)
    except BaseException:
        _tell(node, pid, holding.admit(ports))
        raise


def restart(node: Node, id: str, timeout: int = 30) -> Record:
    """Stop an environment as ``stop`` does, and start it, with its requests held meanwhile."""
    id = node.records.resolve(id)
    with node.lock(id):
        lifecycle.ready(node, id)
        record = node.change(id, lambda now: now.changed(wanted=True))
        stop(node, record, timeout)
        lifecycle.bring_up(node, record)
        lifecycle.follow(node, record)
    return record


def _tell(node: Node, pid: int, rules: str) -> None:
    # One whose root has made that impossible is stopped all the same.
    argv = holding.within(pid, holding.apply())
    with suppress(CommandFailed):
        node.host.run(argv, stdin=rules, check=False, timeout=10)


def _open(pid: int, ports: list[int]) -> int:
    count = 0
    for name in ("tcp", "tcp6"):
        with suppress(OSError):
            text = Path(f"/proc/{pid}/net/{name}").read_text()
            count += holding.parse_connections(text, ports)
    return count
