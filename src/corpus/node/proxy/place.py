"""Where the front runs: which host, and where its files lie there."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePath

from corpus.commands import haproxy, systemctl
from corpus.hosts.base import Host
from corpus.node.context import Node

SERVICE = "corpus-proxy.service"


@dataclass(frozen=True)
class Place:
    """A host on which an HAProxy of ours runs, by the unit ``SERVICE``, and its ``folder``."""

    host: Host
    folder: PurePath

    def reload(self) -> None:
        """Have the proxy take its files anew, or start it."""
        self.host.run(systemctl.command("reload-or-restart", [SERVICE]), timeout=60)

    def ask(self, commands: list[str]) -> list[str]:
        """Return what the running proxy answers to commands; empty when it does not run."""
        done = self.host.run(haproxy.ask(), stdin=haproxy.questions(commands), check=False)
        return haproxy.parse_answers(done.out) if done.code == 0 else []


def place_of(node: Node) -> Place:
    """Return where the node's front runs."""
    return Place(node.host, node.settings.proxy)
