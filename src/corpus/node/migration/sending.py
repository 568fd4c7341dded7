"""What the source sends: snapshots of an environment, again and again, each what changed since."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from corpus.commands import btrfs, copying
from corpus.hosts import kernel, lineage, nested, relay, subvolumes
from corpus.model.errors import CorpusError, NotFound
from corpus.node.context import Node
from corpus.node.environments import guest
from corpus.node.migration import doubts, peers
from corpus.node.migration.channel import Line
from corpus.node.migration.doubts import Seen
from corpus.node.records import Record
from corpus.node.storage import copies, images, pool
from corpus.node.storage.volumes import ROOTFS

_SECONDS = 6 * 3600.0  # the longest that a volume may take


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


def _everything(place: Path) -> dict[str, bool]:
    """Return the paths of all volumes at an environment's place, and which are read-only."""
    found: dict[str, bool] = {}
    for part in copies.PARTS:
        found[part] = False
        for inner, read_only in nested.everything(place / part).items():
            found[f"{part}/{os.fsdecode(inner)}"] = read_only
    return found


@dataclass
class Sender:
    """Sends an environment over ``line``, pass by pass: subvolume by subvolume, by btrfs send."""

    node: Node
    record: Record
    line: Line
    passes: list[Pass] = field(default_factory=list)
    base: Path | None = None

    def share(self) -> None:
        """Have the root sent as what differs from its image, where the target has that too.

        Only where it came from the image by snapshots: else what differs is all of it.
        """
        try:
            image = images.volume(self.node, images.find(self.node, self.record.image))
        except NotFound:
            return
        root = guest.rootfs(self.node.settings, self.record.id)
        if not subvolumes.is_subvolume(image) or not lineage.related(root, image):
            return
        base = folder(self.node, self.record.id) / "base"
        base.parent.mkdir(mode=0o700)
        subvolumes.snapshot(image, base)
        pool.volumes(self.node).own(base)
        subvolumes.set_read_only(base, True)
        same = lineage.of(base)
        if self.line.ask("base", uuid=same.uuid.hex(), changed=same.changed)["taken"]:
            self.base = base

    def take(self, *, last: bool = False) -> dict[str, bool]:
        """Make the snapshots of the next pass; return their paths, and which were read-only.

        Hold the environment's lock. In the ``last`` pass nothing runs in it.
        """
        place = self._place(len(self.passes))
        place.mkdir(mode=0o700, parents=True)
        home = guest.home(self.node.settings, self.record.id)
        copies.put_aside(self.node, home, place, self.record)
        found = _everything(place)
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
            parent = before / path if path in there else self.base if path == ROOTFS else None
            name = f"{number}-{count}"
            values = {"name": name, "root": path == ROOTFS}
            size += self.line.send("receive", [btrfs.send(place / path, parent)], **values)
            volumes.append(Volume(path, name, read_only))
        return self._done(size, begun, volumes)

    def _done(self, size: int, begun: float, volumes: Iterable[Volume]) -> Pass:
        done = Pass(size, time.monotonic() - begun, tuple(volumes))
        self.passes.append(done)
        if len(self.passes) > 1:
            copies.delete(self.node, self._place(len(self.passes) - 2))
        return done

    def _place(self, number: int) -> Path:
        return folder(self.node, self.record.id) / str(number)


@dataclass
class Mirror(Sender):
    """Sends it by rsync(1), for pools of which one has no btrfs of its own.

    It is read by one that is shut into the volume: a guest that runs could put a link in the way.
    """

    seen: dict[str, Seen] = field(default_factory=dict)
    contents: set[str] = field(default_factory=set)

    def share(self) -> None:
        """Do nothing: rsync finds what is the same."""

    def take(self, *, last: bool = False) -> dict[str, bool]:
        """Make snapshots where they cost nothing; elsewhere what is sent is what there is."""
        kind = pool.volumes(self.node).kind
        home = guest.home(self.node.settings, self.record.id)
        self._live, self._last, self._moment = kind != "quota", last, doubts.now()
        if not last:
            kernel.sync(home)  # from here on a page that is changed has its file changed
        if not self._live:
            return super().take()
        self._place(len(self.passes)).mkdir(mode=0o700, parents=True)
        if kind == "image":
            try:
                return _everything(home)
            except OSError:  # its guest moves them about
                if last:
                    raise
        return dict.fromkeys(copies.PARTS, False)

    def send(self, taken: dict[str, bool]) -> Pass:
        """Send what differs."""
        begun = time.monotonic()
        volumes = [Volume(path, "", read_only) for path, read_only in taken.items()]
        self.line.ask("volumes", paths=list(taken))
        seen = self._doubt(taken)
        self._whole = True
        with ThreadPoolExecutor(len(copies.PARTS)) as workers:
            sizes = list(workers.map(self._mirror, copies.PARTS))
        if self._whole:
            self.seen = seen
        return self._done(sum(sizes), begun, volumes)

    def _doubt(self, taken: Iterable[str]) -> dict[str, Seen]:
        """Have those files compared by content that may have changed unseen; return what is seen.

        The first pass compares all that the image may have there; at /srv nothing is there yet.
        """
        place = self._source()
        names = {} if self._live else {
            str((place / path).stat().st_dev).encode(): lineage.origin(place / path)
            for path in taken
        }  # fmt: skip
        self.contents, found = set(), {}
        for part in copies.PARTS:
            seen, doubted = doubts.look(place / part, self._moment, names, self.seen.get(part))
            if seen:
                found[part] = seen
            if doubted is None and (part == ROOTFS or self.passes):
                self.contents.add(part)
            for paths in doubts.portions(doubted or ()):
                self.line.ask("doubt", part=part, paths=paths)
        return found

    def _source(self) -> Path:
        home = guest.home(self.node.settings, self.record.id)
        return home if self._live else self._place(len(self.passes))

    def _mirror(self, part: str) -> int:
        config = self._place(len(self.passes)) / f"{part}.conf"
        config.write_text(copying.serve_config(self._source() / part))
        how = " contents" if part in self.contents else ""
        there = peers.ask(self.node, self.line.peer, f"pull {self.record.id} {part}{how}")
        codes = relay.connect(copying.serve(config), there, timeout=_SECONDS)
        # 23, 24: files that vanished while they were read, which the last pass makes good.
        if codes[1] not in ((0,) if self._last else (0, 23, 24)):
            raise CorpusError(
                f"{part} cannot be sent: {codes[2].strip()[-500:]}", self.line.peer.name
            )
        if codes[1]:
            self._whole = False
        return copying.parse_fetched(codes[2])


def sender(node: Node, record: Record, line: Line, method: str) -> Sender:
    """Return what sends by ``method``: ``send`` or ``rsync``."""
    return (Sender if method == "send" else Mirror)(node, record, line)
