"""Environments of a lab's node for tests that know no project: made, entered, removed.

A module takes part with ``from guests import node as node`` and ``from labs import lab as lab``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import PurePosixPath
from typing import Any

import pytest

from corpus.hosts.base import Host, Result
from corpus.hosts.container import Container
from corpus.lab import salt, tenant
from corpus.lab.machine import Lab

PYTHON = "/opt/corpus/bin/python"
"""The interpreter of environments that has our packages."""
UNIT = "[Service]\nExecStart=/usr/bin/python3 /srv/server.py\n"


class Guest:
    """An environment and its root."""

    def __init__(self, node: Host, made: Mapping[str, Any]) -> None:
        self.node, self.made = node, made
        self.id, self.address = str(made["id"]), str(made["address"])
        self.inside = Container(self.id, node, tenant.LXCPATH)

    def call(self, function: str, *words: Any, **given: Any) -> Any:
        """Return what a function of the node's returns for this environment."""
        return salt.call(self.node, f"corpus_node.{function}", self.id, *words, **given)

    def facts(self) -> dict[str, Any]:
        """Return what the node tells of it."""
        found: dict[str, Any] = self.call("inspect")
        return found

    def script(
        self, text: str, *words: str, user: str | None = None, timeout: float = 120
    ) -> Result:
        """Run a script with our packages, as its root or ``user``; its code is the caller's."""
        argv = [PYTHON, "-", *words]
        return self.inside.run(argv, stdin=text, user=user, timeout=timeout, check=False)

    def python(self, text: str, *words: str, timeout: float = 120) -> str:
        """Run a script as its root; return what it prints."""
        return self.inside.run([PYTHON, "-", *words], stdin=text, timeout=timeout).out

    def reaches(self, *places: tuple[str, int]) -> set[tuple[str, int]]:
        """Return which of the places take a TCP connection, all tried at once."""
        script = f"""
import socket
from concurrent.futures import ThreadPoolExecutor
def reach(place):
    try:
        socket.create_connection(place, 1.5).close()
    except OSError:
        return
    print(*place, flush=True)
with ThreadPoolExecutor(32) as workers:
    list(workers.map(reach, {list(places)!r}))
"""
        found = (line.split() for line in self.python(script).splitlines())
        return {(address, int(port)) for address, port in found}

    def have_server(self, script: str, unit: str = UNIT) -> None:
        """Have a service ``app`` that runs a script, not started yet."""
        put(self.inside, "/srv/server.py", script)
        put(self.inside, "/etc/systemd/system/app.service", unit)
        self.inside.run(["systemctl", "daemon-reload"])


@contextmanager
def lent(node: Host, **given: Any) -> Iterator[dict[str, Any]]:
    """Make an environment for the block; return what ``create`` returns."""
    made: dict[str, Any] = salt.call(node, "corpus_node.create", **given)
    try:
        yield made
    finally:
        salt.call(node, "corpus_node.destroy", made["id"])


def put(host: Host, path: PurePosixPath | str, text: str) -> None:
    """Write a file on a machine."""
    host.run(["dd", "status=none", f"of={path}"], stdin=text)


@pytest.fixture(scope="module")
def node(lab: Lab) -> Host:
    """Return the lab's node, with the images of environments in its pool."""
    tenant.prepare(lab)
    return lab.node()
