"""The target's side: what ``python -m corpus.node receive PEER`` answers to another node.

Nothing of an environment is left when the other side is lost before it was started here. Once it
was, it is frozen instead, or killed where that fails: the source decides, and says so when it is
back.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from corpus.commands import btrfs
from corpus.hosts import beneath, kernel, lineage, pipeline, subvolumes
from corpus.hosts.files import write_all
from corpus.model.errors import CommandFailed, Conflict, CorpusError, InvalidInput, Lost, NotFound
from corpus.node.context import Node
from corpus.node.environments import guest, lifecycle, making, removal, rootfs
from corpus.node.migration import checking, decisions, fetching, health
from corpus.node.migration.frames import Reader
from corpus.node.migration.health import Survey
from corpus.node.migration.peers import Peer
from corpus.node.network import firewall
from corpus.node.proxy import replica, service
from corpus.node.records import Opening, Record, Stage
from corpus.node.storage import copies, images, pool
from corpus.node.storage.volumes import ROOTFS, SRV

_SECONDS = 6 * 3600.0


class Arrival:
    """One session with the node ``peer``, at the descriptors ``source`` and ``target``."""

    def __init__(self, node: Node, peer: Peer, source: int, target: int) -> None:
        self._node, self._peer, self._target = node, peer, target
        self._record: Record | None = None
        self._method = ""
        self._held = ExitStack()
        self._holding = threading.Lock()  # who freezes it, or decides that it lives here
        self._reader = Reader(source, self._on_loss)

    def serve(self) -> None:
        """Answer until the other side hangs up."""
        answers: dict[str, Callable[[dict[str, Any]], dict[str, Any] | None]] = {
            "hello": lambda asked: {},
            "check": lambda asked: checking.check(self._node, asked, self._peer.name),
            "whose": lambda asked: decisions.whose(self._node, self._peer, asked),
            "settle": lambda asked: decisions.settle(self._node, self._peer, asked),
            "begin": self._begin,
            "base": self._take_base,
            "receive": self._receive,
            "volumes": self._make_volumes,
            "doubt": self._doubt,
            "sync": self._sync,
            "start": self._start,
            "commit": self._commit,
            "abort": self._abort,
        }
        try:
            while True:
                asked = self._reader.asked()
                try:
                    found = answers[asked["do"]](asked)
                except Lost:
                    raise
                except CorpusError as error:
                    found = error.as_dict()
                except (OSError, LookupError, ValueError, TypeError) as error:
                    found = CorpusError(f"it failed: {error!r:.300}").as_dict()
                if found is not None:
                    self._answer(found)
        except (Lost, CorpusError, BrokenPipeError):
            pass
        finally:
            self._leave()

    def _answer(self, found: dict[str, Any]) -> None:
        write_all(self._target, json.dumps(found).encode() + b"\n")

    def _begin(self, asked: dict[str, Any]) -> dict[str, Any]:
        """Check it as any that is to be made, and give it its places."""
        id, wanted = checking.wanted(self._node, asked, self._peer.name)
        self._held.enter_context(removal.alone(self._node, id))
        left = self._node.records.find(id)
        if left is not None and checking.remains(left, self._peer.name):
            removal.remove(self._node, left)
        self._method = str(checking.check(self._node, asked, self._peer.name)["method"])
        before = self._node.records.find(id)
        record = making.allocate(self._node, id, wanted)
        self._record = record
        if len(record.openings) != len(wanted.openings):  # somebody was faster
            raise Conflict("an open port of it was taken just now", mend="again, to be told which")
        volumes = pool.volumes(self._node)
        if record.move:  # it was here before, and what is here is of the past
            copies.delete(self._node, guest.home(self._node.settings, id))
        staged = guest.staged(self._node.settings, id)
        copies.delete(self._node, staged)
        staged.mkdir(parents=True, mode=0o700)
        if self._method == "send":
            volumes.limit(record.group, checking.room(record.limits.size))
            (staged / "root").mkdir()
            volumes.create(staged / "data", record.group)
        else:
            image = images.volume(self._node, images.find(self._node, record.image))
            home = guest.home(self._node.settings, id)
            volumes.make(home, record.group, record.limits.size, image)
        self._be_as(checking.record_of(asked), before)
        with replica.following(self._node):
            firewall.apply(self._node)
            service.apply(self._node)
        return {
            "method": self._method,
            "ssh_port": record.ssh_port,
            "http_port": self._node.settings.http_port,
        }

    def _be_as(self, old: Record, before: Record | None) -> None:
        """Have the record say what it said there, and of its ports what was said ``before``."""
        self._change(
            openings=_led(self._mine(), before),
            autostart=old.autostart,
            order=old.order,
            wanted=old.wanted,
            maintenance=old.maintenance is True,
        )

    def _make_volumes(self, asked: dict[str, Any]) -> dict[str, Any]:
        fetching.make_volumes(self._node, self._mine(), asked["paths"])
        return {}

    def _doubt(self, asked: dict[str, Any]) -> dict[str, Any]:
        fetching.doubt(self._node, self._mine(), asked["part"], asked["paths"])
        return {}

    def _take_base(self, asked: dict[str, Any]) -> dict[str, Any]:
        """Have the image here be what the root is sent against; tell whether that can be."""
        record = self._mine()
        try:
            image = images.volume(self._node, images.find(self._node, record.image))
        except NotFound:
            return {"taken": False}
        if not subvolumes.is_subvolume(image):
            return {"taken": False}
        base = guest.staged(self._node.settings, record.id) / "root" / "base"
        subvolumes.snapshot(image, base)
        pool.volumes(self._node).own(base)
        lineage.equate(base, bytes.fromhex(asked["uuid"]), int(asked["changed"]))
        subvolumes.set_read_only(base, True)
        return {"taken": True}

    def _receive(self, asked: dict[str, Any]) -> dict[str, Any]:
        stream = self._reader.stream()
        try:
            self._take(asked, stream)
        finally:
            for _ in stream:  # what is left of it
                pass
        return {}

    def _take(self, asked: dict[str, Any], stream: Iterator[bytes]) -> None:
        place = self._staged(asked["name"], root=asked["root"])
        place.mkdir()
        try:
            with (
                pipeline.fed(stream) as (source, told),
                pipeline.output_of([btrfs.receive(place)], source, timeout=_SECONDS) as output,
            ):
                output.read()
            told()
        except CommandFailed as error:
            raise CorpusError(
                f"a volume cannot be written: {error.output.strip()[-300:]}",
                str(place),
                "make room there, or give the environment a larger size",
            ) from None
        finally:
            for received in place.iterdir() if asked["root"] else ():
                pool.volumes(self._node).own(received)

    def _staged(self, name: object, *, root: bool) -> Path:
        """Return where a volume is received. The root is beyond the size, as with an image."""
        numbers = str(name).split("-")
        if len(numbers) != 2 or not all(part.isdecimal() for part in numbers):
            raise InvalidInput("not a name of a volume")
        staged = guest.staged(self._node.settings, self._mine().id)
        return staged / ("root" if root else "data") / str(name)

    def _start(self, asked: dict[str, Any]) -> dict[str, Any]:
        record = self._mine()
        if self._method == "send":
            self._assemble(record, asked["volumes"])
        self._finish(record, asked["volumes"])
        self._sync({})  # the source removes its own once this one lives here
        record = self._change(stage=Stage.ARRIVED)
        self._stay()
        if record.wanted and asked["run"]:
            lifecycle.bring_up(self._node, record)
            self._stay()  # when the other side was lost, it may not have been there to be frozen
            wanted = Survey(tuple(asked["units"]), tuple(asked["ports"]))
            health.wait(self._node, record, wanted, self._reader.lost.is_set)
        return {}

    def _sync(self, asked: dict[str, Any]) -> dict[str, Any]:
        """Have what has come on the disk, in the volumes and in what they lie in."""
        home = guest.home(self._node.settings, self._mine().id)
        for place in (home, home.parent):
            if place.exists():  # what is sent lies elsewhere until it is whole
                kernel.sync(place)
        return {}

    def _stay(self) -> None:
        if self._reader.lost.is_set():
            raise Lost("the other node is gone")

    def _assemble(self, record: Record, volumes: list[dict[str, Any]]) -> None:
        """Make the environment's place of what was received last."""
        home = guest.home(self._node.settings, record.id)
        found = {v["path"]: self._received(v["sent"], root=v["path"] == ROOTFS) for v in volumes}
        roomy = replace(record.limits, size=checking.room(record.limits.size))
        copies.begin(self._node, found.pop(ROOTFS), home, record.changed(limits=roomy))
        copies.delete(self._node, home / SRV)
        apart = copies.groups(self._node, record)
        groups = {f"{SRV}/{os.fsdecode(path)}": group for path, group in apart.items()}
        with beneath.opened(home) as place:
            for path, source in sorted(found.items()):
                groups[path] = _group(path, groups, record.group)
                parent, _, name = fetching.named(path)
                with beneath.opened(parent or ".", place) as above:
                    status = os.fstat(above)
                    target = Path(f"/proc/self/fd/{above}") / name
                    subvolumes.snapshot(source, target, groups[path])
                    os.utime(above, ns=(status.st_atime_ns, status.st_mtime_ns))

    def _finish(self, record: Record, volumes: list[dict[str, Any]]) -> None:
        """Let nobody write where nobody could, and let it know where it is."""
        home = guest.home(self._node.settings, record.id)
        kept = [v["path"] for v in volumes if v["read_only"]]
        if pool.volumes(self._node).kind != "plain":
            with beneath.opened(home) as place:
                for path in sorted(kept, reverse=True):
                    with beneath.opened(path, place) as handle:
                        subvolumes.set_read_only(Path(f"/proc/self/fd/{handle}"), True)
        rootfs.write(
            guest.rootfs(self._node.settings, record.id), rootfs.files(self._node, record, ())
        )

    def _received(self, name: str, *, root: bool) -> Path:
        (found,) = self._staged(name, root=root).iterdir()
        return found

    def _commit(self, asked: dict[str, Any]) -> None:
        if self._mine().stage is not Stage.ARRIVED:
            raise InvalidInput("it was not started here")
        with self._holding:
            record = decisions.keep(self._node, self._mine())
            self._record = None
        self._answer({})
        decisions.tidy(self._node, record)  # after the answer: requests wait for that

    def _abort(self, asked: dict[str, Any]) -> dict[str, Any]:
        removal.remove(self._node, self._node.records.get(self._mine().id))
        self._record = None  # not before: what cannot be removed is frozen in the end
        return {}

    def _mine(self) -> Record:
        if self._record is None:
            raise InvalidInput("nothing has begun")
        return self._record

    def _change(self, **values: Any) -> Record:
        record = self._node.change(self._mine().id, lambda now: now.changed(**values))
        self._record = record
        return record

    def _freeze(self) -> None:
        """Let what was started here do nothing until it is known where it lives."""
        with self._holding:
            record = self._record
            if record is not None and record.stage is Stage.ARRIVED:
                decisions.hold(self._node, record)

    def _on_loss(self) -> None:
        with suppress(CorpusError, OSError):  # who serves tries again
            self._freeze()

    def _leave(self) -> None:
        try:
            self._freeze()
            if self._record is not None:
                there = self._node.records.find(self._record.id)
                if there is not None and there.half_made:
                    removal.remove(self._node, there)
        finally:
            self._held.close()


def _led(record: Record, before: Record | None) -> tuple[Opening, ...]:
    """Return its openings, to which those lead on here that led to what has moved from here."""
    old = {(one.protocol, one.node_port): one.led_by for one in before.openings} if before else {}
    return tuple(
        replace(one, led_by=old.get((one.protocol, one.node_port), ())) for one in record.openings
    )


def _group(path: str, groups: Mapping[str, str], usual: str) -> str:
    """Return the quota group of a volume: its own, else that of what it lies in."""
    while path and path not in groups:
        path = path.rpartition("/")[0]
    return groups.get(path, usual)
