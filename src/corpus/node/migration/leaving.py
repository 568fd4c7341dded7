"""The source's side of a migration: an environment goes to another node while it runs.

Until the target has answered that it runs there well, this node decides that it lives here, and
whatever fails puts it back. The record's stage is the decision: ``MOVING`` until then, ``MOVED``
from then on.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from corpus.commands import ip
from corpus.model.errors import Conflict, CorpusError, InvalidInput
from corpus.model.size import format_size
from corpus.node.certificates import store
from corpus.node.certificates.checking import covers
from corpus.node.context import Node
from corpus.node.environments import lifecycle, snapshots
from corpus.node.migration import channel, decisions, health, peers, recovery
from corpus.node.migration.channel import Line
from corpus.node.migration.sending import Pass, Sender, clear, sender
from corpus.node.network import firewall
from corpus.node.records import Move, Record, Role, Stage, dump
from corpus.node.storage import images, pool

Say = Callable[[str], None]
_LITTLE = 4 << 20  # bytes: with a pass of less than that the traffic is held
_MOST = 6  # passes while it runs
_DRAIN = 10.0  # seconds for requests that are under way


@dataclass
class Figures:
    """What a migration took: bytes and seconds of each pass, seconds of each step, and how long
    requests were held."""

    passes: list[dict[str, float]] = field(default_factory=list)
    steps: dict[str, float] = field(default_factory=dict)
    downtime: float = 0.0
    last: float = field(default_factory=time.monotonic)

    def step(self, name: str) -> None:
        """End the step ``name``."""
        now = time.monotonic()
        self.steps[name] = round(now - self.last, 3)
        self.last = now

    def sent(self, done: Pass) -> None:
        """Note a pass."""
        self.passes.append({"bytes": done.size, "seconds": round(done.seconds, 3)})


def plan(node: Node, id: str, to: str, *, keep: bool = False) -> list[str]:
    """Tell what ``migrate`` would do, when both sides can. Raises what it would raise."""
    record = fit(node, id, keep=keep)
    peer = peers.find(node, to)
    with channel.opened(node, peer) as line:
        line.ask("check", **_offer(node, record))
    running = lifecycle.state(node, record)[0] != "STOPPED"
    return [
        f"send {record.name} to {peer.name} while it runs" if running
        else f"send {record.name} to {peer.name}",
        *([f"hold its traffic, stop it here, start it on {peer.name}"] if running else []),
        *(f"lead {route.host} to {peer.name}" for route in record.routes),
        f"lead the SSH port {record.ssh_port} to {peer.name}",
        *(f"lead {one.protocol} port {one.node_port} to {peer.name}" for one in record.openings),
        *_staying(node, record, peer.name),
        "keep its data here, stopped" if keep else "remove its data here",
    ]  # fmt: skip


def _staying(node: Node, record: Record, to: str) -> list[str]:
    """Tell of which host names the certificates stay here."""
    known = store.everything(node.settings)
    return [
        f"leave the certificate of {route.host} here: {to} needs one of its own, by "
        "corpus_node.certificate_add or certificate_obtain"
        for route in record.routes
        if any(covers(one.names, route.host) for one in known)
    ]


def fit(node: Node, id: str, *, keep: bool) -> Record:
    """Return the record of an environment that can move. Raises NotFound, Conflict."""
    record = lifecycle.ready(node, node.records.resolve(id))
    if record.role is not Role.PROJECTS:
        raise Conflict(f"{record.name} is a proxy of this node", mend="make one on the other node")
    proxied = {route.port for route in record.routes if route.proxy_protocol}
    for route in record.routes:
        if route.port in proxied and not route.proxy_protocol:
            raise Conflict(
                f"port {route.port} of {record.name} is reached with the PROXY protocol and "
                f"without ({route.host}), and cannot be led to another node so",
                mend="corpus_node.unroute the one or the other",
            )
    if record.shares:
        raise Conflict(
            f"{record.name} shares directories of this machine",
            mend="push its project to an environment of the other node",
        )
    paired = [other.name for other in node.records.all()
              if any(pair.staging == record.id for pair in other.pairs)]  # fmt: skip
    if record.pairs or paired:
        raise Conflict(
            f"{record.name} is paired with an environment of this node, and pairs do not reach "
            "across nodes",
            mend="corpus_node.unpair them, move both, and pair them there",
        )
    if snapshots.names(node, record.id) and not keep:
        raise Conflict(
            f"{record.name} has snapshots, which stay here and would be removed",
            mend="delete them first (corpus_node.snapshot_delete), or say keep=True",
        )
    return record


def _carried(record: Record) -> Record:
    """Return what the other node is told of a record."""
    return record.changed(stage=Stage.READY, move=None, origin="", projects=())


def _offer(node: Node, record: Record) -> dict[str, Any]:
    used = pool.volumes(node).used(record.group)
    try:
        image = images.find(node, record.image).digest
    except CorpusError:
        image = record.image
    return {
        "record": dump(_carried(record)).decode(),
        "image": image,
        "kind": pool.volumes(node).kind,
        "bytes": used.used if used else 0,
    }


def migrate(
    node: Node,
    id: str,
    to: str,
    *,
    keep: bool = False,
    timeout: int = 30,
    say: Say = lambda line: None,
) -> dict[str, Any]:
    """Move an environment to the peer ``to``; return where it is and what that took.

    It runs until all but a little is there. Then its requests are held, it is stopped (killed
    after ``timeout`` seconds), what is left is sent, and it is started there. Once SSH answers
    there and all that ran runs again, requests are led there: by this node too, until the DNS
    has followed. Its data here is removed unless ``keep``. When anything fails it runs on here,
    and nothing is left there. Raises Conflict, NotFound, InvalidInput, CorpusError.
    """
    id = node.records.resolve(id)
    peer = peers.find(node, to)
    recovery.recover(node, id)
    with decisions.alone(node, id):
        for stays in _staying(node, fit(node, id, keep=keep), peer.name):
            say(stays)
        journey = _Journey(node, id, Figures(), say, keep, timeout)
        try:
            with channel.opened(node, peer) as line:
                journey.go(line)
        finally:
            with suppress(CorpusError, OSError):
                clear(node, id)
        if not keep:
            recovery.clear_away(node, node.records.get(id))
    journey.figures.step("clear")
    say(f"requests were held for {journey.figures.downtime:.2f} s")
    move = node.records.get(id).move
    return {"id": id, "node": peer.name, **asdict(journey.figures),
            "ssh_port": move.ssh_port if move else None}  # fmt: skip


@dataclass
class _Journey:
    """One migration, under way."""

    node: Node
    id: str
    figures: Figures
    say: Say
    keep: bool
    timeout: int
    offered: Record | None = None

    def go(self, line: Line) -> None:
        """Send all of it, and hand it over."""
        with self.node.lock(self.id):
            record = fit(self.node, self.id, keep=self.keep)
            self.offered = _carried(record)
        try:
            at = line.ask("begin", **_offer(self.node, record))
            move = Move(line.peer.name, line.peer.address, _port(line, at, "http_port"),
                        _port(line, at, "ssh_port"), kept=self.keep)  # fmt: skip
            self.figures.step("begin")
            way = sender(self.node, record, line, str(at.get("method")))
            way.share()
            self._send_warm(way)
            with self.node.lock(self.id):
                self._hand_over(way, move)
        except BaseException:
            if self.node.records.get(self.id).stage is not Stage.MOVED:
                _abort(self.node, self.id, line)
            raise

    def _send_warm(self, way: Sender) -> None:
        for number in range(_MOST):
            with self.node.lock(self.id):
                fit(self.node, self.id, keep=self.keep)
                taken = way.take()
            done = way.send(taken)
            way.line.ask("sync")  # so that little is left for when requests wait
            self.figures.sent(done)
            self.say(f"pass {number + 1}: {format_size(done.size)} in {done.seconds:.1f} s")
            if number and done.size < _LITTLE:
                break
        self.figures.step("warm")

    def _hand_over(self, way: Sender, move: Move) -> None:
        node, line = self.node, way.line
        record = fit(node, self.id, keep=self.keep)
        found = health.survey(node, record)
        running = lifecycle.state(node, record)[0] != "STOPPED"
        self.say("requests are held")
        line.patience = channel.HELD
        begun = time.monotonic()
        try:
            record = node.change(self.id, lambda now: now.changed(stage=Stage.MOVING, move=move))
            if _carried(record) != self.offered:
                raise Conflict(f"{record.name} was changed while it was sent", mend="move it again")
            _apply(node)
            _drain(node, record)
            self.figures.step("drain")
            lifecycle.halt(node, record, self.timeout)
            recovery.cut(record.address)
            self.figures.step("stop")
            self.figures.sent(way.send(way.take(last=True)))
            self.figures.step("rest")
            self._start_there(way, move, running, found)
            record = node.change(self.id, lambda now: now.changed(stage=Stage.MOVED, wanted=False))
        except BaseException:
            self.say("it is put back")
            _put_back(node, record, line)
            raise
        recovery.settle(node, record, line)
        self.figures.step("switch")
        self.figures.downtime = round(time.monotonic() - begun, 3)

    def _start_there(self, way: Sender, move: Move, running: bool, found: health.Survey) -> None:
        self.node.change(self.id, lambda now: now.changed(move=replace(move, asked=True)))
        volumes = [asdict(volume) for volume in way.passes[-1].volumes]
        way.line.ask("start", volumes=volumes, run=running, **asdict(found))
        self.figures.step("start")


def _port(line: Line, at: dict[str, Any], name: str) -> int:
    """Return a port of the other node, as it says. Raises CorpusError for what is none."""
    port = at.get(name)
    if type(port) is not int or not 0 < port < 65536:
        raise CorpusError(f"the node {line.peer.name} says nonsense: {name} {port!r:.20}")
    return port


def _apply(node: Node) -> None:
    with node.lock():
        firewall.apply(node)


def _drain(node: Node, record: Record) -> None:
    """Wait for the requests that are under way; those that last are cut off by the stop."""
    deadline = time.monotonic() + _DRAIN
    while time.monotonic() < deadline:
        shown = node.host.run(ip.connections(record.address), check=False)
        if not shown.out.strip():
            return
        time.sleep(0.01)


def _put_back(node: Node, record: Record, line: Line) -> None:
    """Have it run here again. What was not asked to start it there is told afterwards."""
    # That it has moved may be written down although the writing failed.
    record = node.change(
        record.id, lambda now: now.changed(stage=Stage.MOVING, wanted=record.wanted)
    )
    asked = record.move is not None and record.move.asked
    told = asked and _abort(node, record.id, line)
    recovery.put_back(node, record, told=told)


def _abort(node: Node, id: str, line: Line) -> bool:
    """Have the target remove it, over another line where this one fails; False: it has not."""
    try:
        line.ask("abort")
    except InvalidInput:  # nothing of it is there
        return True
    except CorpusError:
        line.close()  # who serves it has the lock there, and its signs of life renew the lease
        return recovery.withdraw(node, line.peer.name, id)
    return True
