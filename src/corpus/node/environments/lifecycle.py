"""A made environment runs: start, stop, freeze, other limits, commands inside."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

from corpus.commands import lxc, seccomp
from corpus.hosts import guests
from corpus.hosts.base import MOST, Result
from corpus.hosts.container import Container
from corpus.hosts.files import write_atomic
from corpus.model.errors import CommandFailed, Conflict, CorpusError, InvalidInput
from corpus.node.context import Node
from corpus.node.environments import controls, guest, rootfs, shares, sockets
from corpus.node.network import bridge
from corpus.node.proxy import replica
from corpus.node.records import Record, Stage
from corpus.node.storage import pool


def bring_up(node: Node, record: Record) -> None:
    """Start a guest unless it runs; a frozen one goes on. Hold the environment's lock.

    A front is not led to before ``follow``. An error tells LXC's reasons.
    """
    found = state(node, record)[0]
    pool.volumes(node).attach(guest.home(node.settings, record.id), stopped=found == "STOPPED")
    sockets.offer(node, record)
    rootfs.identify(node, record)
    if found != "STOPPED":
        if found == "FROZEN":
            let_go(node, record)
            replica.catch_up(node, record)
        return
    _step_aside(node, record, "it is being started")
    controls.check(record.limits, controls.layout())  # it may have booted another kernel
    guest.shut(node.settings, record)
    configure(node, record)
    shares.offer(node, record)
    log = node.settings.lxcpath / record.id / "log"
    log.unlink(missing_ok=True)
    argv = lxc.start(node.settings.lxcpath, record.id, log)
    if node.host.run(lxc.unlimited(["true"]), check=False).code == 0:
        argv = lxc.unlimited(argv)
    try:
        node.host.run(argv, timeout=60)
    except CommandFailed as error:
        reasons = lxc.parse_reasons(log.read_text(errors="replace")) if log.exists() else []
        output = "\n".join(reasons) or error.output
        raise CommandFailed(error.argv, error.code, output, error.mend) from None


def config(node: Node, record: Record) -> Path:
    """Return the file of a guest's LXC configuration."""
    return node.settings.lxcpath / record.id / "config"


def configured(node: Node, record: Record) -> bytes:
    """Return what that file must hold."""
    return guest.config(node.settings, record, bridge.mtu(node), controls.layout()).encode()


def configure(node: Node, record: Record) -> None:
    """Write that file anew; a guest that runs has read it when it started."""
    write_atomic(config(node, record), configured(node, record), 0o600, durable=False)


# LXC 5.0.2 boots a guest that reboots itself without the id mapping of its root directory: all in
# it would be nobody's. A hook that fails makes LXC stop it instead, and the node starts it.
_HOOK = b"""#!/bin/sh
[ "$LXC_TARGET" = reboot ] || exit 0
systemctl start --no-block "corpus-restart@$LXC_NAME.service"
exit 1
"""
_PATIENCE = 30  # seconds until LXC has cleaned up behind a guest
REST = 15  # seconds for all processes of a guest to come to rest, or to go on
_ANSWER = 4 << 20  # bytes of JSON: parsed they take twenty times as many
_LAST = 1000  # the highest order of a start at boot


def prepare(node: Node) -> None:
    """Have what LXC calls when a guest reboots itself, and what it keeps every guest from."""
    write_atomic(guest.restart_hook(node.settings), _HOOK, 0o755)
    write_atomic(guest.seccomp(node.settings), seccomp.profile().encode())


def come_back(node: Node, id: str) -> None:
    """Start a guest that has asked for a reboot, once it is down; raises NotFound."""
    deadline = time.monotonic() + _PATIENCE
    while state(node, node.records.get(id))[0] != "STOPPED" and time.monotonic() < deadline:
        time.sleep(0.05)
    with node.lock(id):
        record = ready(node, id)
        if record.wanted:
            bring_up(node, record)
            follow(node, record)


def follow(node: Node, record: Record) -> None:
    """Have a front that was away take what has changed meanwhile, and be the front again."""
    if record.front:
        replica.bring(node, record.id)


def have_back(node: Node, id: str) -> bool:
    """Have a front that was passed over run and be the front again. Hold its lock.

    False where nobody wishes that: it is to be stopped, or was frozen. Raises CorpusError.
    """
    record = ready(node, id)
    if state(node, record)[0] == "FROZEN" or not (record.wanted and record.away):
        return False
    bring_up(node, record)
    follow(node, record)
    return True


def _step_aside(node: Node, record: Record, why: str) -> None:
    """Have the node's own proxy be the front while an environment that is it does not run."""
    if record.front:
        replica.pass_over(node, record.id, why)


def settle(node: Node, id: str) -> None:
    """Let an environment run, or not, as its record says. Raises NotFound, Conflict."""
    with node.lock(id):
        record = ready(node, id)
        if record.wanted:
            bring_up(node, record)
            follow(node, record)
        else:
            halt(node, record)


def state(node: Node, record: Record) -> tuple[str, int | None]:
    """Return the guest's state in LXC's words, and the pid of its init."""
    return guests.state(node.host, node.settings.lxcpath, record.id)


def wait_for_ssh(node: Node, id: str, seconds: float) -> None:
    """Wait until the environment's SSH server greets; raises CommandFailed past ``seconds``."""
    record = node.records.get(id)
    deadline = time.monotonic() + seconds
    while True:
        with suppress(OSError), socket.create_connection((record.address, 22), 0.5) as line:
            line.settimeout(2)
            if line.recv(4) == b"SSH-":
                return
        if time.monotonic() > deadline:
            raise CorpusError(
                f"environment {id} started but its SSH server does not answer",
                f"{record.address}:22",
                'look with: corpus_node.exec ID \'["systemctl", "--failed"]\'',
            )
        time.sleep(0.01)


def start(node: Node, id: str) -> Record:
    """Start an environment, now and at every boot. Raises NotFound, CommandFailed."""
    return _want(node, id, wanted=True)


def stop(node: Node, id: str, timeout: int = 30) -> Record:
    """Stop an environment, also across boots; killed when ``timeout`` seconds are over."""
    return _want(node, id, wanted=False, timeout=timeout)


def freeze(node: Node, id: str) -> Record:
    """Halt every process of a running environment where it is; fine when it is frozen.

    Not across boots. Raises Conflict when it does not run.
    """
    id = node.records.resolve(id)
    with node.lock(id):
        record = runs(node, id)
        guest.halted(node.settings, id).unlink(missing_ok=True)  # from here on it is wished
        if state(node, record)[0] != "FROZEN":
            hold_still(node, record)
    return record


def thaw(node: Node, id: str) -> Record:
    """Let a frozen environment go on; fine when it runs. Raises Conflict when it is stopped."""
    id = node.records.resolve(id)
    with node.lock(id):
        record = runs(node, id)
        if state(node, record)[0] == "FROZEN":
            let_go(node, record)
            replica.catch_up(node, record)
    return record


def check_awake(node: Node, record: Record) -> None:
    """Raise Conflict when an environment is frozen: nothing that begins there would go on."""
    if state(node, record)[0] == "FROZEN":
        raise Conflict(f"environment {record.name} is frozen", mend=f"corpus_node.thaw {record.id}")


def runs(node: Node, id: str) -> Record:
    """Return the record of an environment that runs, frozen or not. Raises Conflict."""
    record = ready(node, id)
    if state(node, record)[0] == "STOPPED":
        raise Conflict(f"environment {record.name} is stopped", mend=f"corpus_node.start {id}")
    return record


def hold_still(node: Node, record: Record) -> None:
    """Freeze a running guest; one that does not come to rest goes on, and CommandFailed says so."""
    try:
        node.host.run(lxc.freeze(node.settings.lxcpath, record.id), timeout=REST)
    except CommandFailed:
        let_go(node, record)
        raise


def let_go(node: Node, record: Record) -> None:
    """Thaw a frozen guest."""
    node.host.run(lxc.thaw(node.settings.lxcpath, record.id), timeout=REST)
    guest.halted(node.settings, record.id).unlink(missing_ok=True)


def autostart(node: Node, id: str, *, on: bool | None = None, order: int | None = None) -> Record:
    """Say whether an environment starts at boot, and when; what is None stays.

    Lower orders start first, equal ones together. Raises InvalidInput, NotFound.
    """
    given = check_autostart(on, order)
    return node.change(node.records.resolve(id), lambda now: now.changed(**given))


def check_autostart(on: bool | None, order: int | None) -> dict[str, bool | int]:
    """Return what is to be changed in a record. Raises InvalidInput."""
    found: dict[str, bool | int] = {}
    if on is not None:
        if not isinstance(on, bool):
            raise InvalidInput(f"on is true or false, not {on!r:.40}")
        found["autostart"] = on
    if order is not None:
        if isinstance(order, bool) or not isinstance(order, int) or abs(order) > _LAST:
            raise InvalidInput(f"not an order: {order!r:.40}", mend=f"use -{_LAST} to {_LAST}")
        found["order"] = order
    return found


def rename(node: Node, id: str, name: str) -> NoReturn:
    """Refuse another name for an environment, and say what to do. Raises Conflict, NotFound."""
    record = node.records.get(id)
    raise Conflict(
        f"environment {record.name} cannot be called {ascii(name)[:60]}: its name is made of its "
        "type and its id, and pairs, signatures of releases, and what watches it know it by these",
        mend=f"lead a host name to it: corpus_node.route {record.id} NAME; or for another id: "
        f"corpus_node.clone {record.id}, then destroy this one",
    )


def _want(node: Node, id: str, *, wanted: bool, timeout: int = 30) -> Record:
    id = node.records.resolve(id)
    with node.lock(id):
        ready(node, id)
        record = node.change(id, lambda now: now.changed(wanted=wanted))
        if wanted:
            bring_up(node, record)
            follow(node, record)
        else:
            halt(node, record, timeout)
    return node.records.get(id)


def halt(node: Node, record: Record, timeout: int = 30) -> None:
    """Stop a guest if it runs, cleanly within ``timeout`` seconds, else at once.

    A frozen one would not hear that it is to end: it is thawed. Of a front the node takes over.
    """
    found = state(node, record)[0]
    if found != "STOPPED":
        _step_aside(node, record, "it is being stopped")
    if found == "FROZEN":
        let_go(node, record)
    if found != "STOPPED":
        node.host.run(lxc.stop(node.settings.lxcpath, record.id, timeout=timeout))


def ready(node: Node, id: str) -> Record:
    """Return the record of an environment that is whole; raises NotFound, Conflict."""
    record = node.records.get(id)
    if record.stage is Stage.MOVED and record.move:
        raise Conflict(
            f"environment {id} lives on the node {record.move.node}", mend="ask that node"
        )
    if record.stage is not Stage.READY:
        ends = {
            Stage.RESTORING: f"corpus_node.start {id} ends it",
            Stage.MOVING: f"corpus_node.migration_recover {id} ends it",
            Stage.ARRIVED: f"corpus_node.migration_recover {id} ends it",
        }
        raise Conflict(
            f"environment {id} was left half-way ({record.stage})",
            mend=ends.get(record.stage, "create it again with this id, or destroy it"),
        )
    return record


def execute(
    node: Node,
    id: str,
    argv: Sequence[str],
    *,
    stdin: str | None = None,
    user: str | None = None,
    timeout: float | None = None,
    most: int = MOST,
) -> Result:
    """Run ``argv`` inside an environment as its root, or ``user``; the caller judges its code.

    ``most``: bytes that it may print. Raises CommandFailed past that, or ``timeout``.
    """
    record = ready(node, node.records.resolve(id))
    if isinstance(argv, str) or not argv:
        raise InvalidInput("a command is a list of words", mend='write ["ls", "-l"]')
    check_awake(node, record)
    inside = Container(record.id, node.host, node.settings.lxcpath)
    words = [str(word) for word in argv]
    return inside.run(words, stdin=stdin, user=user, timeout=timeout, check=False, most=most)


def salted(node: Node, record: Record, *words: str, timeout: float = 60.0) -> Any:
    """Return what a function of Salt returns inside an environment. Raises CorpusError."""
    argv = ["salt-call", "--local", "--out=json", "--retcode-passthrough", "--log-level=quiet"]
    done = execute(node, record.id, [*argv, *words], timeout=timeout, most=_ANSWER)
    try:
        answer = json.loads(done.out)["local"]
    except (ValueError, KeyError, TypeError, RecursionError):
        answer = None
    if done.code != 0 or answer is None:
        said = answer if isinstance(answer, str) else done.err or done.out
        raise CorpusError(f"{words[0]} failed\n{said.strip()[:2000]}", where=record.name)
    return answer
