"""The machines that are environments, as the node remembers them: one JSON file each."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from corpus.hosts import files
from corpus.hosts.files import read_json, write_atomic
from corpus.model.errors import Conflict, InvalidInput, NotFound
from corpus.model.mode import Platform
from corpus.model.names import environment_id
from corpus.model.typed import well_typed
from corpus.node import keypairs
from corpus.node.context import Node
from corpus.node.records import Stage

LOCK = "saltify"  # held while a file is written there; taken after that of a machine, its id


@dataclass(frozen=True)
class Machine:
    """One machine: how it is reached, what it was made of.

    ``key`` is the file of the private key that root there accepts, ``host_key`` what its SSH
    server must prove to have, ``image`` the directory of the environments' image, ``keys`` those
    that root there accepts besides.
    """

    id: str
    platform: Platform
    host: str
    port: int
    user: str
    key: str
    host_key: str
    image: str
    keys: tuple[str, ...] = ()
    digest: str = ""
    stage: Stage = Stage.CREATING
    made: str = ""

    def changed(self, **values: Any) -> Machine:
        """Return the record with other values."""
        return replace(self, **values)


class Machines:
    """The records in the directory ``saltify`` of the node's state."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self.directory = node.settings.prefix / "saltify"

    @property
    def key(self) -> Path:
        """The node's own private key, which it reaches machines with."""
        return self.directory / "key"

    def find(self, id: str) -> Machine | None:
        """Return the record of a machine, or None. Raises InvalidInput, CorpusError."""
        return _read(self._path(id))

    def get(self, id: str) -> Machine:
        """Return the record whose id is ``id``, or begins so (8 digits or more).

        Raises NotFound, InvalidInput.
        """
        found = [machine for machine in self.all() if machine.id.startswith(id)]
        if len(id) < 8 or len(found) > 1:
            raise InvalidInput(f"{ascii(id)[:60]} names no one machine", mend="give more digits")
        if not found:
            raise NotFound(f"no machine {ascii(id)[:60]}", mend="see corpus_node.saltify_list")
        return found[0]

    def all(self) -> list[Machine]:
        """Return all machines, the oldest first. Raises CorpusError for a damaged record."""
        found = filter(None, map(_read, self.directory.glob("[0-9a-f]*.json")))
        return sorted(found, key=lambda machine: (machine.made, machine.id))

    def save(self, machine: Machine) -> None:
        """Write a record so that a crash leaves the old or the new one."""
        self.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        text = json.dumps(asdict(machine), indent=2, sort_keys=True)
        with self._node.lock(LOCK):
            write_atomic(self._path(machine.id), text.encode() + b"\n", 0o600)

    def half_written(self) -> list[Path]:
        """Return what somebody writes there, or left there when he died. Hold ``LOCK``."""
        return [*files.temporary(self.directory), *keypairs.half_made(self.key)]

    def remove(self, id: str) -> None:
        """Forget a machine."""
        self._path(id).unlink(missing_ok=True)

    def _path(self, id: str) -> Path:
        return self.directory / f"{environment_id(id)}.json"


def check_no_machine(node: Node, id: str) -> None:
    """Raise Conflict where a machine has this id: no environment of the node can have it too.

    Hold the lock of that name, which both go by.
    """
    there = Machines(node).find(id)
    if there is not None:
        raise Conflict(
            f"{id} is the machine {there.host}, an environment without a container",
            mend=f"choose another id, or first: corpus_node.saltify_remove {id}",
        )


def _read(path: Path) -> Machine | None:
    return read_json(path, _machine, "the record of a machine", "restore it from a backup")


def _machine(given: Any) -> Machine:
    given["platform"] = Platform(given["platform"])
    given["stage"] = Stage(given["stage"])
    given["keys"] = tuple(given["keys"])
    return well_typed(Machine(**given))
