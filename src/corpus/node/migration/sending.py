"""What the source sends: snapshots of an environment, again and again, each what changed since."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field
from pathlib import Path

from corpus.commands import btrfs
from corpus.hosts import nested, subvolumes
from corpus.node.context import Node
from corpus.node.environments import guest
from corpus.node.migration.channel import Line
from corpus.node.records import Record
from corpus.node.storage import copies, pool
from corpus.node.storage.volumes import ROOTFS


@dataclass(frozen=True)
class Volume:
    """One subvolume of an environment: ``path`` in its place, ``sent`` its name at the target."""

    path: str
    sent: str
    read_only: bool


@dataclass(frozen=True)
class Pass:
    """One sending: how many bytes in how many seconds, and the volumes that it was of."""

    size: int
    seconds: float
    volumes: tuple[Volume, ...]


def folder(node: Node, id: str) -> Path:
    """Return where the snapshots lie that are sent."""
    return guest.home(node.settings, id) / "migration"


def clear(node: Node, id: str) -> None:
    """Remove them."""
    copies.delete(node, folder(node, id))


@dataclass
class Sender:
    """Sends an environment by ``btrfs send``, subvolume by subvolume, over ``line``."""

    node: Node
    record: Record
    line: Line
    passes: list[Pass] = field(default_factory=list)

    def take(self) -> dict[str, bool]:
        """Make the snapshots of the next pass; return their paths, and which were read-only.

        Hold the environment's lock.
        """
        place = self._place(len(self.passes))
        place.mkdir(mode=0o700, parents=True)
        home = guest.home(self.node.settings, self.record.id)
        copies.copy_parts(self.node, home, place, self.record.group)
        found: dict[str, bool] = {}
        for part in copies.PARTS:
            found[part] = False
            for inner, read_only in nested.everything(place / part).items():
                found[f"{part}/{os.fsdecode(inner)}"] = read_only
        for path in found:
            subvolumes.set_read_only(place / path, True)
        return found

    def send(self, taken: dict[str, bool]) -> Pass:
        """Send them: what the pass before lacks of them, where there was one."""
        number, begun, size = len(self.passes), time.monotonic(), 0
        place, before = self._place(number), self._place(number - 1)
        there = {volume.path for volume in self.passes[-1].volumes} if self.passes else set()
        volumes = []
        for count, (path, read_only) in enumerate(taken.items()):
            parent = before / path if path in there else None
            name = f"{number}-{count}"
            values = {"name": name, "root": path == ROOTFS}
            size += self.line.send("receive", [btrfs.send(place / path, parent)], **values)
            volumes.append(Volume(path, name, read_only))
        done = Pass(size, time.monotonic() - begun, tuple(volumes))
        self.passes.append(done)
        if number:
            pool.volumes(self.node).delete(before)
        return done

    def _place(self, number: int) -> Path:
        return folder(self.node, self.record.id) / str(number)
