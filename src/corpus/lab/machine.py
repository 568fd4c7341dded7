"""A lab: one compute node as a container of this host, made, kept and removed as a whole."""

from __future__ import annotations

from typing import Any

from corpus.hosts.base import Host
from corpus.hosts.container import Container
from corpus.hosts.local import Local
from corpus.lab.paths import LabPaths
from corpus.lab.settings import Settings, settings_for


class Lab:
    """The lab ``name``; nothing is made before ``up``."""

    def __init__(self, name: str, settings: Settings | None = None) -> None:
        self.name = name
        self.settings = settings or settings_for(name)
        self.paths = LabPaths(name, self.settings.root)
        self._host: Host = Local()

    @property
    def http_port(self) -> int:
        """The port on the host's loopback that leads to the node's HTTP."""
        return self.settings.http_port

    @property
    def ssh_port_base(self) -> int:
        """The first of the loopback ports that lead to environments' SSH."""
        return self.settings.ssh_port_base

    def node(self) -> Host:
        """Return the node, to run commands on."""
        return Container(self.paths.container, self._host, self.paths.lxc)

    def up(self) -> None:
        """Make or complete the lab and wait until its node has booted."""
        raise NotImplementedError

    def stop(self) -> None:
        """Stop the node, environments first; everything is kept."""
        raise NotImplementedError

    def down(self) -> None:
        """Remove everything of the lab and nothing else."""
        raise NotImplementedError

    def facts(self) -> dict[str, Any]:
        """Return what the lab is and how it fares, as plain values."""
        raise NotImplementedError


def assert_clean(name: str, settings: Settings | None = None) -> None:
    """Raise AssertionError that lists what of lab ``name`` is left on the host."""
    raise NotImplementedError
