"""Checks of the guests: what LXC has and runs of them, against their records."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from corpus.commands import lxc, systemctl
from corpus.hosts import guests
from corpus.model.errors import Conflict, CorpusError
from corpus.model.finding import Finding, State
from corpus.node.context import Node
from corpus.node.doctor.looking import entries, is_id, of_nobody, unclaimed, whole
from corpus.node.environments import (
    controls,
    guest,
    leftovers,
    lifecycle,
    removal,
    shares,
    sockets,
    stillness,
)
from corpus.node.records import Record

_STOPPED = "STOPPED"
_PAGE = 4096


def _state(node: Node, id: str) -> str:
    return guests.state(node.host, node.settings.lxcpath, id)[0]


def orphans(node: Node) -> Iterator[Finding]:
    """No guest has control groups, and processes in them, without LXC's monitor."""
    for record in whole(node):
        if leftovers.groups(record.id) and _state(node, record.id) == _STOPPED:
            yield Finding(
                "control_groups", State.BAD, "LXC calls it stopped, and it has control groups",
                record.id, "what runs in them is killed, they are removed",
                partial(_clear, node, record.id),
            )  # fmt: skip


def _clear(node: Node, id: str) -> None:
    with node.lock(id):
        if _state(node, id) == _STOPPED:
            leftovers.clear(id)


def containers(node: Node) -> Iterator[Finding]:
    """Each container of the node's has a record."""
    lxcpath = node.settings.lxcpath
    folders = [path for path in entries(lxcpath) if path.is_dir()]
    for path in folders:
        if not is_id(path.name):
            what = "not the node's: it is never removed"
            yield Finding("containers", State.WARN, what, str(path), "move it away")
    for path in of_nobody(node, folders):
        if _state(node, path.name) != _STOPPED:
            yield Finding(
                "containers", State.BAD, "it runs and has no record", path.name,
                f"bring its record back, or: lxc-stop --lxcpath={lxcpath} --name={path.name}",
            )  # fmt: skip
        else:
            yield Finding(
                "containers", State.WARN, "the configuration of a guest without a record",
                str(path), "it is removed", partial(_forget, node, path),
            )  # fmt: skip


def _forget(node: Node, path: Path) -> None:
    with unclaimed(node, path.name):
        if _state(node, path.name) != _STOPPED:
            raise Conflict(f"the guest {path.name} runs")
        leftovers.clear(path.name)
        removal.unconfigure(path)


def configuration(node: Node) -> Iterator[Finding]:
    """Each guest's LXC configuration is what its record says; it counts from the next start."""
    for record in whole(node):
        path = lifecycle.config(node, record)
        held = path.read_bytes() if path.is_file() else b""
        if held == lifecycle.configured(node, record):
            continue
        if held or _state(node, record.id) != _STOPPED:
            what = "it differs from the record" if held else "it is not there"
            repair = partial(_configure, node, record.id)
            mend = "it is written anew"
            yield Finding("configuration", State.WARN, what, str(path), mend, repair)


def _configure(node: Node, id: str) -> None:
    with node.lock(id):
        lifecycle.configure(node, lifecycle.ready(node, id))


def shared(node: Node) -> Iterator[Finding]:
    """Each directory that is shared may still be."""
    for record in whole(node):
        for share in record.shares:
            try:
                shares.check(node.settings, share)
            except CorpusError as error:
                where = f"{record.id}: {error.where}"
                yield Finding("shares", State.BAD, error.what, where, error.mend or "")


def listening(node: Node) -> Iterator[Finding]:
    """Each guest that runs is listened to when it asks; no socket is of nobody."""
    for path in of_nobody(node, entries(node.settings.asks)):
        yield Finding(
            "sockets", State.WARN, "it belongs to no environment", str(path), "it is removed",
            partial(_withdraw, node, path.name),
        )  # fmt: skip
    records = [record for record in whole(node) if _state(node, record.id) != _STOPPED]
    units = [sockets.unit(record.id) for record in records]
    shown = node.host.run(systemctl.show(units), check=False).out if units else ""
    states = {name: unit["ActiveState"] for name, unit in systemctl.parse_show(shown).items()}
    for record in records:
        active = states.get(sockets.unit(record.id)) == "active"
        if not active or not guest.asks(node.settings, record.id).is_dir():
            yield Finding(
                "sockets", State.BAD, "nobody listens when it asks its node", record.id,
                "its socket is made anew", partial(_offer, node, record.id),
            )  # fmt: skip


def _withdraw(node: Node, id: str) -> None:
    with unclaimed(node, id):
        sockets.withdraw(node, id)


def _offer(node: Node, id: str) -> None:
    with node.lock(id):
        sockets.offer(node, lifecycle.ready(node, id))


def running(node: Node) -> Iterator[Finding]:
    """The guests that are wanted run, and no others."""
    for record in whole(node):
        state = _state(node, record.id)
        if record.wanted == (state != _STOPPED):
            continue
        what = "it is wanted and does not run" if record.wanted else "it runs and is not wanted"
        mend = "it is started" if record.wanted else "it is stopped"
        repair = partial(lifecycle.settle, node, record.id)
        yield Finding("running", State.BAD, what, record.id, mend, repair)


def frozen(node: Node) -> Iterator[Finding]:
    """No guest was left frozen by a copy that was killed."""
    for record in whole(node):
        if stillness.is_left(node, record):
            yield Finding(
                "frozen", State.BAD, "it was halted for a copy, which was killed", record.id,
                "it goes on", partial(_wake, node, record.id),
            )  # fmt: skip


def _wake(node: Node, id: str) -> None:
    with node.lock(id):
        stillness.wake(node, lifecycle.ready(node, id))


def limited(node: Node) -> Iterator[Finding]:
    """What runs is held to what its record says of memory, CPUs and processes."""
    for record in whole(node):
        if _state(node, record.id) == _STOPPED:
            continue
        for key, wanted, held in _differing(node, record):
            yield Finding(
                "limits", State.BAD, f"its {key} is {held}, and its record says {wanted}",
                record.id, "it is set anew", partial(_limit, node, record.id),
            )  # fmt: skip


def _differing(node: Node, record: Record) -> Iterator[tuple[str, str, str]]:
    """Yield each control group value that is not as the record says: key, wanted, held."""
    for setting in controls.settings(record.limits, controls.layout()):
        shown = node.host.run(
            lxc.cgroup(node.settings.lxcpath, record.id, setting.key), check=False
        )
        held = shown.out.strip()
        if shown.code == 0 and held and not _same(setting.value, held):
            yield setting.key, setting.value, held


def _same(wanted: str, held: str) -> bool:
    """Tell whether two values are one, to the page that the kernel counts memory in."""
    if wanted.isdigit() and held.isdigit():
        large = int(wanted) >= _PAGE << 8  # bytes, and no count of processes
        return wanted == held or (large and int(wanted) // _PAGE == int(held) // _PAGE)
    return wanted.split() == held.split()


def _limit(node: Node, id: str) -> None:
    with node.lock(id):
        record = lifecycle.ready(node, id)
        settings = controls.settings(record.limits, controls.layout())
        for check in (False, True):  # of two that bound each other, one is refused at first
            for one in settings:
                argv = lxc.cgroup(node.settings.lxcpath, id, one.key, one.value)
                node.host.run(argv, check=check)
