"""A lab: compute nodes as containers of this host, made, kept and removed as a whole."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

from corpus.commands import nft
from corpus.hosts.base import Host
from corpus.hosts.local import Local
from corpus.lab import leftovers, links, lock, marker, record, requirements
from corpus.lab.links import Links
from corpus.lab.network import Network
from corpus.lab.node import LabNode
from corpus.lab.paths import LabPaths
from corpus.lab.pool import Pool
from corpus.lab.settings import Settings, settings_for
from corpus.model.errors import Conflict, CorpusError, NotFound

LAST_USERS = 120.0  # seconds that «down» waits for processes that hold the pool


class Lab:
    """The lab ``name``; nothing is made before ``up``.

    Settings that are not given are those that the lab was made with, else the defaults of
    its name. ``image`` (for tests) returns the nodes' image; the default is to build it
    from the code at hand, as far as the cache lacks it.
    """

    def __init__(
        self,
        name: str,
        settings: Settings | None = None,
        *,
        root: Path | None = None,
        image: Callable[[], marker.Image] | None = None,
        say: Callable[[str], None] = lambda text: None,
    ) -> None:
        self.name = name
        base = settings.root if settings else root or settings_for(name).root
        self.paths = LabPaths(name, base)
        made_with = record.load(self.paths)
        default = settings_for(name, {"root": base})
        self._host: Host = Local()
        self._image = image or self._build
        self._say = say
        self._settle(settings or (made_with.settings if made_with else default), made_with)

    def _settle(self, settings: Settings, made_with: record.Record | None) -> None:
        """Take the settings, with the nodes that there are already."""
        there = made_with.settings.nodes if made_with else 1
        self.settings = replace(settings, nodes=max(settings.nodes, there))
        self._pool = Pool(self._host, self.paths, self.settings)
        self._network = Network(self._host, self.paths, self.settings)
        self.nodes = [
            LabNode(self._host, self.paths.node(member.number), member, self._pool, self._say)
            for member in self.settings.members
        ]

    @property
    def http_port(self) -> int:
        """The port on the host's loopback that leads to the first node's HTTP."""
        return self.nodes[0].member.http_port

    @property
    def ssh_port_base(self) -> int:
        """The first of the loopback ports that lead to the SSH of the first node's environments."""
        return self.nodes[0].member.ssh_ports[0]

    def node(self, number: int = 1) -> Host:
        """Return a node, to run commands on. Raises NotFound."""
        return self.member(number).guest.inside

    def running(self) -> list[LabNode]:
        """Return the nodes that run."""
        return [node for node in self.nodes if node.guest.running()]

    def member(self, number: int) -> LabNode:
        """Return a node by its number. Raises NotFound."""
        if not 1 <= number <= len(self.nodes):
            raise NotFound(
                f"the lab {self.name} has no node{number}",
                mend=f"it has {', '.join(node.name for node in self.nodes)}; "
                f"more: corpus-lab up --nodes {number}",
            )
        return self.nodes[number - 1]

    def _build(self) -> marker.Image:
        from corpus.lab import image

        return image.current(self.settings.images, self._host, self._say)

    def up(self) -> None:
        """Make or complete the lab and wait until its nodes have booted.

        Starts from whatever is there: nothing, a stopped lab, what a killed run left, an
        older image, fewer nodes. Raises Unsupported when the host lacks something, Conflict
        when a subnet or port is taken.
        """
        requirements.check(self._host)
        with lock.held(self.paths.lock):
            made_with = record.load(self.paths)
            self._settle(self.settings, made_with)
            self._check_settings(made_with)
            there = made_with.settings.nodes if made_with else 0
            if not self._network.bridge_is_up() or there < self.settings.nodes:
                self._network.check_free()
            image = self._image()
            self.paths.root.mkdir(parents=True, exist_ok=True, mode=0o711)
            self._pool.attach()
            self._connect(made_with.forwarding if made_with else {})
            mtu = self._network.node_mtu()
            self._each(lambda node: node.up(image, mtu))
            self._apply(links.load(self.paths))

    def grow(self, nodes: int) -> None:
        """Have at least ``nodes`` nodes, the lab being up; those that run are left alone."""
        self.settings = replace(self.settings, nodes=max(nodes, self.settings.nodes))
        self.up()

    def _each(self, work: Callable[[LabNode], None]) -> None:
        """Do it with all nodes at once; raises the error of the first that failed."""
        with ThreadPoolExecutor(max_workers=len(self.nodes)) as workers:
            list(workers.map(work, self.nodes))

    def _check_settings(self, made_with: record.Record | None) -> None:
        if made_with and replace(made_with.settings, nodes=self.settings.nodes) != self.settings:
            raise Conflict(
                f"the lab {self.name} was made with other settings",
                where=str(self.paths.record),
                mend=f"leave them out, or remove it first: corpus-lab down --lab {self.name}",
            )

    def _connect(self, forwarding: dict[str, str]) -> None:
        # What is recorded is from before the lab's first start: later it is our own value.
        before = {**self._network.forwarding(), **forwarding}
        record.save(self.paths, record.Record(self.settings, before))
        self._network.up()

    def link(self, number: int, *words: str) -> None:
        """Have the link of a node be ``down``, ``up``, or ``slow 50ms`` and the like besides.

        Raises InvalidInput, Unsupported where the kernel cannot.
        """
        self._change(lambda found: found.change(number, words), number)

    def cut(self, one: int, other: int) -> None:
        """Cut two nodes off from each other, and from no one else."""
        self._change(lambda found: found.cut(one, other), one, other)

    def mend(self) -> None:
        """Have every link be as it should."""
        self._change(lambda found: Links())

    def _change(self, change: Callable[[Links], Links], *numbers: int) -> None:
        if not self.paths.record.exists():
            raise NotFound(f"there is no lab {self.name}", mend="make it: corpus-lab up")
        with lock.held(self.paths.lock):
            self._settle(self.settings, record.load(self.paths))
            for number in numbers:
                self.member(number)
            before = links.load(self.paths)
            wanted = change(before)
            # Written first: after a crash «up», or the next change, makes the kernel follow.
            links.save(self.paths, wanted)
            try:
                self._apply(wanted)
            except CorpusError:
                links.save(self.paths, before)
                self._apply(before)
                raise
            for node in self.running():
                node.forget_neighbours()

    def _apply(self, wanted: Links) -> None:
        self._host.run(nft.load(), stdin=links.ruleset(self.paths, wanted))
        for node in self.running():
            node.apply(wanted.of(node.member.number))

    def stop(self, numbers: Sequence[int] = ()) -> None:
        """Stop all nodes, or some, environments first; everything is kept."""
        with lock.held(self.paths.lock):
            chosen = [self.member(number) for number in numbers] or self.nodes
            self._each(lambda node: node.guest.stop() if node in chosen else None)
            if not numbers:
                self._pool.detach()

    def down(self) -> None:
        """Remove everything of the lab and nothing else; fine when there is nothing."""
        with lock.held(self.paths.lock):
            made_with = record.load(self.paths)
            self._settle(self.settings, made_with)
            self._each(lambda node: node.guest.kill())
            leftovers.kill_processes(self._pool)
            leftovers.remove_control_groups(self.paths)
            self._pool.detach()
            self._network.down(made_with.forwarding if made_with else {})
            self._remove_files()
            self._pool.wait_until_gone(self._say, LAST_USERS)
            self.paths.lock.unlink(missing_ok=True)

    def _remove_files(self) -> None:
        if mounts := self._pool.mounts():  # never remove what lies behind a mount
            raise Conflict(
                f"still mounted: {', '.join(mounts)}",
                mend="unmount it (umount --lazy), then try again",
            )
        if self.paths.root.exists():
            shutil.rmtree(self.paths.root)

    def facts(self) -> dict[str, Any]:
        """Return what the lab is and how it fares, as plain values; sizes in bytes.

        ``state`` is that of all its nodes: running when all run.
        """
        found = links.load(self.paths)
        nodes = [
            node.facts(found.of(node.member.number), found.cut_from(node.member.number))
            for node in self.nodes
        ]
        states = {str(node["state"]) for node in nodes}
        return {
            "name": self.name,
            "state": states.pop() if len(states) == 1 else "in part",
            "subnet": self.settings.subnet,
            "directory": str(self.paths.root),
            "network": self._network.is_up(),
            "nodes": nodes,
            "warnings": self._network.warnings(),
        }


def assert_clean(name: str, settings: Settings | None = None) -> None:
    """Raise AssertionError that lists what of lab ``name`` is left on the host."""
    paths = LabPaths(name, (settings or settings_for(name)).root)
    left = leftovers.leftovers(Local(), paths)
    if left:
        raise AssertionError(f"left of lab {name}: " + "; ".join(left))
