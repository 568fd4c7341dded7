"""Checks of the records: readable, whole, each with its own address, port, ids and names."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from ipaddress import IPv4Address

from corpus.model.finding import Finding, State
from corpus.node import boot
from corpus.node.context import Node
from corpus.node.doctor.looking import busy
from corpus.node.environments import removal, snapshots
from corpus.node.migration import peers, recovery
from corpus.node.records import Record, Stage
from corpus.node.saltify.records import Machines

_MIGRATION = "its migration is ended, as at boot: the other node must answer"
_ENDS: Mapping[Stage, tuple[str, Callable[[Node, str], object]]] = {
    Stage.RESTORING: ("the restore is ended, as at boot", snapshots.settle),
    Stage.MOVING: (_MIGRATION, recovery.recover),
    Stage.MOVED: (_MIGRATION, recovery.recover),
    Stage.ARRIVED: (_MIGRATION, recovery.recover),
}


def readable(node: Node) -> Iterator[Finding]:
    """Each record can be read, and its file bears the id that it holds."""
    for id, problem in node.records.damaged().items():
        what = problem.splitlines()[0]
        where = str(node.settings.records / f"{id}.json")
        yield Finding("records", State.BAD, what, where, "restore it from a backup")
    names = {path.stem for path in node.settings.records.glob("[0-9a-f]*.json")}
    for record in node.records.all():
        if record.id not in names:
            what = f"the record of {record.id} lies in a file of another name"
            yield Finding("records", State.BAD, what, str(node.settings.records), "rename it")


def half_way(node: Node) -> Iterator[Finding]:
    """No environment was left half-way by a crash; one that is worked on now is none."""
    for record in node.records.all():
        if record.stage is Stage.READY:
            continue
        if record.stage is Stage.MOVED and not recovery.changes(node, record.id):
            continue
        mend, repair = _ENDS.get(record.stage, ("it is removed, as at boot", removal.sweep))
        if busy(node, record.id) or busy(node, f"migration-{record.id}"):
            yield Finding("half_way", State.OK, f"{record.stage} is under way", record.id)
            continue
        yield Finding(
            "half_way", State.BAD, f"left half-way: {record.stage}", record.id, mend,
            partial(repair, node, record.id),
        )  # fmt: skip


def taken(node: Node) -> Iterator[Finding]:
    """No two environments have the same, and all have what the settings allow."""
    owners: dict[tuple[str, object], str] = {}
    machines = {machine.id for machine in Machines(node).all()}
    for record in node.records.all():
        for what, value in _own(record):
            other = owners.setdefault((what, value), record.id)
            if other != record.id:
                yield Finding(
                    "taken", State.BAD, f"the {what} {value} is also that of {other}", record.id,
                    f"change one of the records, or corpus_node.destroy {record.id}",
                )  # fmt: skip
        if record.id in machines:
            yield Finding(
                "taken", State.BAD, "a machine without a container has its id", record.id,
                f"corpus_node.saltify_remove {record.id}, and make that anew with another id",
            )  # fmt: skip
        yield from _outside(node, record)


def _own(record: Record) -> list[tuple[str, object]]:
    return [
        ("address", record.address),
        ("SSH port", record.ssh_port),
        ("range of user ids", record.slot),
        ("name", record.name),
        ("quota group", record.group),
        *(("host name", route.host) for route in record.routes),
    ]


def _outside(node: Node, record: Record) -> Iterator[Finding]:
    settings = node.settings
    if IPv4Address(record.address) not in settings.network:
        what = f"its address {record.address} is not in {settings.network}"
        mend = "set subnet in /etc/corpus/node.toml back, or make it anew"
        yield Finding("taken", State.BAD, what, record.id, mend)
    if record.slot >= settings.idmap_slots:
        what = f"its range of user ids is past the last of {settings.idmap_slots}"
        mend = "raise idmap_slots in /etc/corpus/node.toml"
        yield Finding("taken", State.BAD, what, record.id, mend)


def pairs(node: Node) -> Iterator[Finding]:
    """Each pair leads to a staging environment that is there."""
    known = {record.id for record in node.records.all()} | node.records.damaged().keys()
    for record in node.records.all():
        for pair in record.pairs:
            if pair.staging not in known:
                yield Finding(
                    "pairs", State.WARN, f"{pair.project} comes from {pair.staging}, which is gone",
                    record.id, "the pair is forgotten",
                    partial(_forget, node, record.id, pair.staging),
                )  # fmt: skip


def _forget(node: Node, id: str, staging: str) -> None:
    def without(now: Record) -> Record:
        return now.changed(pairs=tuple(one for one in now.pairs if one.staging != staging))

    node.change(id, without)


def authorised(node: Node) -> Iterator[Finding]:
    """Root's account lets in the nodes that are known, and none that is known no more."""
    if not busy(node, peers.LOCK) and not peers.authorises(node):
        yield Finding(
            "peers", State.BAD, "not the keys of the nodes that are known", str(peers.AUTHORIZED),
            "they are put there, and those of others taken away", partial(peers.authorise, node),
        )  # fmt: skip


def user_ids(node: Node) -> Iterator[Finding]:
    """LXC may use the environments' ranges of user ids."""
    for path in boot.ungranted(node):
        yield Finding(
            "user_ids", State.BAD, "the range of the environments is not in it", str(path),
            "it is added", partial(boot.grant_ids, node),
        )  # fmt: skip
