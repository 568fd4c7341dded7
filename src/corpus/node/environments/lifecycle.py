"""A made environment runs: start, stop, other limits, commands inside."""

from __future__ import annotations

import socket
import time
from collections.abc import Sequence
from contextlib import suppress

from corpus.commands import lxc
from corpus.hosts.base import Result
from corpus.hosts.container import Container
from corpus.hosts.files import write_atomic
from corpus.model.errors import CommandFailed, Conflict, CorpusError, InvalidInput
from corpus.node.context import Node
from corpus.node.environments import guest, rootfs, shares, sockets
from corpus.node.environments import limits as bounds
from corpus.node.network import bridge, firewall
from corpus.node.proxy import place, service
from corpus.node.records import Limits, Record, Stage
from corpus.node.storage import pool


def bring_up(node: Node, record: Record) -> None:
    """Start a guest unless it runs; an error tells LXC's reasons. Hold the environment's lock."""
    sockets.offer(node, record)
    rootfs.identify(node, record)
    if state(node, record)[0] != "STOPPED":
        return
    guest.shut(node.settings, record)
    folder = node.settings.lxcpath / record.id
    text = guest.config(node.settings, record, bridge.mtu(node))
    write_atomic(folder / "config", text.encode(), 0o600, durable=False)
    shares.offer(node, record)
    log = folder / "log"
    log.unlink(missing_ok=True)
    try:
        node.host.run(lxc.start(node.settings.lxcpath, record.id, log), timeout=60)
    except CommandFailed as error:
        reasons = lxc.parse_reasons(log.read_text(errors="replace")) if log.exists() else []
        output = "\n".join(reasons) or error.output
        raise CommandFailed(error.argv, error.code, output, error.mend) from None


# LXC 5.0.2 boots a guest that reboots itself without the id mapping of its root directory: all in
# it would be nobody's. A hook that fails makes LXC stop it instead, and the node starts it.
_HOOK = b"""#!/bin/sh
[ "$LXC_TARGET" = reboot ] || exit 0
systemctl start --no-block "corpus-restart@$LXC_NAME.service"
exit 1
"""
_PATIENCE = 30  # seconds until LXC has cleaned up behind a guest


def prepare(node: Node) -> None:
    """Have what LXC calls when a guest reboots itself."""
    write_atomic(guest.restart_hook(node.settings), _HOOK, 0o755)


def restart(node: Node, id: str) -> None:
    """Start a guest that has asked for a reboot, once it is down; raises NotFound."""
    deadline = time.monotonic() + _PATIENCE
    while state(node, node.records.get(id))[0] != "STOPPED" and time.monotonic() < deadline:
        time.sleep(0.05)
    with node.lock(id):
        record = ready(node, id)
        if record.wanted:
            bring_up(node, record)
            _follow(node, record)


def _follow(node: Node, record: Record) -> None:
    """Have a front that was away take what has changed meanwhile, and be the front again."""
    if record.front:
        with node.lock():
            place.wait(place.inside(node, record))
            service.apply(node)
            firewall.apply(node)


def state(node: Node, record: Record) -> tuple[str, int | None]:
    """Return the guest's state in LXC's words, and the pid of its init."""
    result = node.host.run(lxc.info(node.settings.lxcpath, record.id), check=False)
    return lxc.parse_info(result.out)


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


def _want(node: Node, id: str, *, wanted: bool, timeout: int = 30) -> Record:
    id = node.records.resolve(id)
    with node.lock(id):
        ready(node, id)
        record = node.change(id, lambda now: now.changed(wanted=wanted))
        if wanted:
            bring_up(node, record)
            _follow(node, record)
        else:
            if record.front:
                with node.lock():
                    firewall.apply(node)
            halt(node, record, timeout)
    return node.records.get(id)


def halt(node: Node, record: Record, timeout: int = 30) -> None:
    """Stop a guest if it runs, cleanly within ``timeout`` seconds, else at once."""
    if state(node, record)[0] != "STOPPED":
        node.host.run(lxc.stop(node.settings.lxcpath, record.id, timeout=timeout))


def ready(node: Node, id: str) -> Record:
    """Return the record of an environment that is whole; raises NotFound, Conflict."""
    record = node.records.get(id)
    if record.stage is not Stage.READY:
        raise Conflict(
            f"environment {id} was left half-way ({record.stage})",
            mend="create it again with this id, or destroy it",
        )
    return record


def limit(
    node: Node,
    id: str,
    *,
    size: str | int | None = None,
    memory: str | int | None = None,
    cpu: float | str | None = None,
    pids: int | None = None,
    size_limit: str | int | None = None,
) -> Record:
    """Change limits, at once when the guest runs; what is None stays. Raises InvalidInput."""
    id = node.records.resolve(id)
    with node.lock(id):
        record = ready(node, id)
        old = record.limits
        new = bounds.parse(
            old.size if size is None else size,
            old.memory if memory is None else memory,
            old.cpu if cpu is None else cpu,
            old.pids if pids is None else pids,
            old.size_limit if size_limit is None else size_limit,
        )
        volumes = pool.volumes(node)
        used = volumes.used(record.group)
        if used and new.size < used.used:
            raise Conflict(
                f"{used.used} bytes are used already: with less every write would fail",
                mend="free space first, or ask for more",
            )
        volumes.limit(record.group, new.size)
        if state(node, record)[0] == "RUNNING":
            _limit_running(node, record.id, new)
        return node.change(id, lambda now: now.changed(limits=new))


def _limit_running(node: Node, id: str, new: Limits) -> None:
    # lxc-cgroup(1) does not translate between the layouts: each name fails on the other one.
    lxcpath = node.settings.lxcpath
    names = {key.partition(".")[2]: value for key, value in guest.limits(new).items()}
    pairs = [("memory.max", "memory.limit_in_bytes"), ("cpu.max", "cpu.cfs_quota_us"),
             ("pids.max", "pids.max")]  # fmt: skip
    for modern, old in pairs:
        if old not in names:
            continue
        first = lxc.cgroup(lxcpath, id, modern, names[modern])
        if node.host.run(first, check=False).code != 0:
            node.host.run(lxc.cgroup(lxcpath, id, old, names[old]))


def execute(
    node: Node,
    id: str,
    argv: Sequence[str],
    *,
    stdin: str | None = None,
    user: str | None = None,
    timeout: float | None = None,
) -> Result:
    """Run ``argv`` inside an environment as its root, or ``user``; the caller judges its code."""
    record = ready(node, node.records.resolve(id))
    if isinstance(argv, str) or not argv:
        raise InvalidInput("a command is a list of words", mend='write ["ls", "-l"]')
    inside = Container(record.id, node.host, node.settings.lxcpath)
    words = [str(word) for word in argv]
    return inside.run(words, stdin=stdin, user=user, timeout=timeout, check=False)
