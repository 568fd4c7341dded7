"""Where production environments of a node reach the staging environments of their pairs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from corpus.node.records import Record


@dataclass(frozen=True)
class Door:
    """A port of the gateway that leads to the SSH server of a staging environment.

    It is that environment's SSH port on the node; ``readers`` are the addresses of the
    environments that may use it.
    """

    id: str
    address: str
    port: int
    readers: tuple[str, ...]


def doors(records: Iterable[Record]) -> list[Door]:
    """Return the doors that the records' pairs need, one for each staging environment."""
    known = {record.id: record for record in records}
    readers: dict[str, set[str]] = {}
    for record in known.values():
        for pair in record.pairs:
            readers.setdefault(pair.staging, set()).add(record.address)
    return [
        Door(id, known[id].address, known[id].ssh_port, tuple(sorted(addresses)))
        for id, addresses in sorted(readers.items())
        if id in known
    ]
