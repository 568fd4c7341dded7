"""Where the front runs: on the node itself, and in the environment that it was moved to."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import PurePath

from corpus.commands import haproxy, systemctl
from corpus.hosts import guests
from corpus.hosts.base import Host
from corpus.hosts.container import Container
from corpus.model.errors import CorpusError
from corpus.node.context import Node
from corpus.node.records import Record

SERVICE = "corpus-proxy.service"
_INSIDE = PurePath("/etc/corpus/proxy")
_PATIENCE = 30  # seconds for an environment that has just been started


@dataclass(frozen=True)
class Place:
    """A host on which an HAProxy of ours runs, by the unit ``SERVICE``, and its ``folder``.

    ``doors``: it is the one at the gateway, where paired environments come for releases.
    """

    host: Host
    folder: PurePath
    doors: bool = True

    def reload(self) -> None:
        """Have the proxy take its files anew, or start it."""
        self.host.run(systemctl.command("reload-or-restart", [SERVICE]), timeout=60)

    def ask(self, commands: list[str]) -> list[str]:
        """Return what the running proxy answers to commands; empty when it does not run."""
        done = self.host.run(haproxy.ask(), stdin=haproxy.questions(commands), check=False)
        return haproxy.parse_answers(done.out) if done.code == 0 else []


def places(node: Node) -> list[Place]:
    """Return where the node's front runs: on the node always, so that it can take over at once."""
    found = [Place(node.host, node.settings.proxy)]
    active = [record for record in node.records.all() if record.front]
    return found + [inside(node, record) for record in active if runs(node, record)]


def inside(node: Node, record: Record) -> Place:
    """Return the front's place in an environment."""
    host = Container(record.id, node.host, node.settings.lxcpath)
    return Place(host, _INSIDE, doors=False)


def runs(node: Node, record: Record) -> bool:
    """Tell whether an environment runs, and is not frozen."""
    return state(node, record) == "RUNNING"


def state(node: Node, record: Record) -> str:
    """Return an environment's state in LXC's words."""
    return guests.state(node.host, node.settings.lxcpath, record.id)[0]


def wait(place: Place) -> None:
    """Wait until a host takes orders for its units; raises CorpusError past half a minute."""
    deadline = time.monotonic() + _PATIENCE
    while place.host.run(systemctl.show([SERVICE]), check=False).code != 0:
        if time.monotonic() > deadline:
            raise CorpusError("the environment's systemd does not answer", place.host.name)
        time.sleep(0.05)
