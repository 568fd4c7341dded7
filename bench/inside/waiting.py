"""What the other programs wait for, asked every few milliseconds."""

import socket
import time
from contextlib import suppress
from pathlib import Path

from corpus.node.context import Node
from corpus.node.environments import lifecycle
from corpus.node.records import Record

LONGEST = 60.0
_STEP = 0.002


def for_ssh(address: str) -> None:
    """Wait for the first bytes of the SSH server at an address."""
    deadline = time.monotonic() + LONGEST
    while time.monotonic() < deadline:
        with suppress(OSError), socket.create_connection((address, 22), 0.5) as line:
            line.settimeout(2)
            if line.recv(4) == b"SSH-":
                return
        time.sleep(_STEP)
    raise SystemExit(f"{address} does not answer")


def for_deploy(node: Node, record: Record) -> None:
    """Wait until a push to an environment would be served at once."""
    pid = lifecycle.state(node, record)[1]
    place = Path(f"/proc/{pid}/root/run/corpus/deploy.sock")
    deadline = time.monotonic() + LONGEST
    while not place.exists():
        if time.monotonic() > deadline:
            raise SystemExit(f"{record.name} never serves a push")
        time.sleep(_STEP)
