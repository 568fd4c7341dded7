"""The front in an environment: it follows the node's own, which takes over when it does not.

Whoever changes what the front does is done once the node's own has taken it. An environment that
does not follow, because it is broken or does not wish to, is passed over: the node's ports are its
own until the environment has caught up. So nothing that happens there keeps the node from
anything, and the node's lock is never held while something there is waited for.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from corpus.commands import haproxy, systemctl
from corpus.model.errors import CommandFailed, Conflict, CorpusError
from corpus.node.context import Node
from corpus.node.network import firewall
from corpus.node.proxy import place, service
from corpus.node.records import Record, Role

WATCH = "corpus-front.service"
LOCK = "front"  # taken before the node's: it is held while an environment is waited for
_CHANGE = 20.0  # seconds for a change
_START = 60.0  # seconds for an environment that has just been started
_REASON = 300  # characters of it that are kept


@contextmanager
def following(node: Node, *, test: bool = False) -> Iterator[None]:
    """Hold the node's lock; have a front in an environment follow what was done within it."""
    with node.lock():
        yield
    if not test:
        follow(node)


def active(node: Node) -> Record | None:
    """Return the environment that is the front, or None where that is the node."""
    return next((record for record in node.records.all() if record.front), None)


def follow(node: Node) -> None:
    """Have a front in an environment take what has changed; one that does not is passed over.

    One that is passed over already, or does not run, takes all of it later. Hold no lock of the
    node's.
    """
    if active(node) is None:
        return
    with node.lock(LOCK):
        record = active(node)
        if record is None or record.away or not place.runs(node, record):
            return
        try:
            there = place.inside(node, record, _CHANGE)
            with node.lock():
                wanted = service.files(node, there)
            with _heard(record):
                service.update(there, wanted)
        except CorpusError as error:
            pass_over(node, record.id, reason(error))


def bring(node: Node, id: str) -> None:
    """Have an environment that runs be ready as the front, and be it where its record says so.

    Raises NotFound; CorpusError when it does not get ready: then all is as it was.
    """
    with node.lock(LOCK):
        record = node.records.get(id)
        if not place.runs(node, record):
            raise Conflict(f"environment {record.name} does not run", mend="start it first")
        there = place.inside(node, record, _START)
        with _heard(record):
            place.wait(there)
            if record.away and not there.ask(["show info"]):
                there.stop()  # it hangs, or does not run
        with node.lock():
            wanted = service.files(node, there)
        with _heard(record):
            service.renew(there, wanted)
        with node.lock():
            record = node.records.get(id)
            if record.away:
                node.records.save(record.changed(away=""))
            firewall.apply(node)


def pass_over(node: Node, id: str, why: str) -> None:
    """Have the node's own proxy at the node's ports, until the environment has caught up."""
    with node.lock():
        record = node.records.find(id)
        if record is None or not record.front:
            return
        if not record.away:
            say(f"the front is the node's own instead of that in {record.name}: {why}")
            node.records.save(record.changed(away=why[:_REASON]))
        firewall.apply(node)


def catch_up(node: Node, record: Record) -> None:
    """Do in an environment that was frozen what could not be done meanwhile; the doctor tells."""
    if record.role is Role.PROXY:
        with suppress(CorpusError):
            follow(node)
        with suppress(CorpusError):
            leave(node, record)


def leave(node: Node, record: Record) -> None:
    """Remove the sites' keys and all else of the front from an environment that is it no more.

    Its proxy ends with the last of the connections that it has, after an hour at most. In one
    that does not run nothing is left. Raises CorpusError.
    """
    with node.lock(LOCK):
        now = node.records.find(record.id)
        if now is None or now.role is not Role.PROXY or now.front or not place.runs(node, now):
            return
        there = place.inside(node, now, _CHANGE)
        try:
            with _heard(now):
                there.host.run(haproxy.leave(there.folder, service.SERVICE))
        except CorpusError as error:
            raise Conflict(
                f"environment {now.name} may still have the sites' keys: {reason(error)}",
                mend=f"corpus_node.stop {now.id}: they lie in its memory alone",
            ) from None


def keeping(node: Node) -> list[Record]:
    """Return the environments that run, are not the front, and still have files of it."""
    found = []
    for record in node.records.lasting():
        if record.role is Role.PROXY and not record.front and place.runs(node, record):
            there = place.inside(node, record, _CHANGE)
            try:
                with _heard(record):
                    shown = there.host.run(["ls", "-A", str(there.folder)], check=False)
                kept = shown.out.strip()
            except CorpusError:
                kept = "nobody knows"
            if kept:
                found.append(record)
    return found


def differing(node: Node, record: Record) -> list[str]:
    """Return the files in an environment that are not what the records say, or not taken.

    Raises CorpusError when it does not answer.
    """
    there = place.inside(node, record, _CHANGE)
    with node.lock():
        wanted = service.files(node, there)
    with _heard(record):
        return service.differences(there, wanted)


def watch(node: Node) -> None:
    """Have the front in an environment watched, from now on and while there is one."""
    node.host.run(systemctl.command("restart", [WATCH], wait=False), check=False)


@contextmanager
def _heard(record: Record) -> Iterator[None]:
    """Have whatever goes wrong with what an environment says be a CorpusError: it may say all."""
    try:
        yield
    except CorpusError:
        raise
    except Exception as error:
        raise CorpusError(f"what it answers makes no sense: {_told(error)}", record.name) from error


def _told(error: Exception) -> str:
    return ascii(error)[:_REASON]


def reason(error: Exception) -> str:
    """Return in a line what went wrong; what an environment printed may hold anything."""
    if not isinstance(error, CorpusError):
        return _told(error)
    if not isinstance(error, CommandFailed):
        return error.what.partition("\n")[0]
    if error.code is None:
        return "it does not do in time what it is told"
    last = (error.output.strip().splitlines() or ["no reason given"])[-1][:_REASON]
    told = "".join(sign if sign.isprintable() else "?" for sign in last)
    return f"a command there ended with {error.code}: {told}"


def say(line: str) -> None:
    """Tell the log what becomes of the front."""
    print(line, file=sys.stderr, flush=True)
