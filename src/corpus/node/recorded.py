"""The node's only memory: the records of its environments, one JSON file each."""

from __future__ import annotations

from pathlib import Path

from corpus.hosts.files import read_json, write_atomic
from corpus.model.errors import CorpusError, InvalidInput, NotFound
from corpus.model.names import environment_id
from corpus.node.records import Record, Stage, dump, of

_DAMAGED = ("the record of an environment", "restore it from a backup")


class Records:
    """The records in one directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def _path(self, id: str) -> Path:
        return self.directory / f"{environment_id(id)}.json"

    def find(self, id: str) -> Record | None:
        """Return the record of an environment, or None."""
        return read_json(self._path(id), of, *_DAMAGED)

    def get(self, id: str) -> Record:
        """Return the record of the environment ``id``, or whose id begins so; or NotFound."""
        record = self.find(self.resolve(id))
        if record is None:
            raise NotFound(f"no environment {id} on this node", mend="list the environments")
        return record

    def resolve(self, id: str) -> str:
        """Return the full id for its first eight digits or more.

        Of decimal ones Salt's command line makes a number.
        """
        id = str(id)
        if len(id) < 36 and len(id) >= 8:
            found = [r.id for r in self.all() if r.id.startswith(id) or r.name == id]
            if len(found) > 1:
                raise InvalidInput(f"{id} names {len(found)} environments", mend="give more digits")
            if not found:
                raise NotFound(f"no environment {id} on this node", mend="list the environments")
            return found[0]
        return environment_id(id)

    def all(self) -> list[Record]:
        """Return all records that can be read, the oldest first."""
        return self._read()[0]

    def lasting(self) -> list[Record]:
        """Return those of them that are not being destroyed: what others are derived from."""
        return [record for record in self.all() if record.stage is not Stage.DESTROYING]

    def damaged(self) -> dict[str, str]:
        """Return what is wrong with each record that cannot be read, by its id."""
        return self._read()[1]

    def _read(self) -> tuple[list[Record], dict[str, str]]:
        found, damaged = list[Record](), {}
        for path in self.directory.glob("[0-9a-f]*.json"):
            try:
                record = read_json(path, of, *_DAMAGED)
            except CorpusError as error:
                damaged[path.stem] = str(error)
            else:
                found += [record] if record else []
        return sorted(found, key=lambda record: (record.made, record.id)), damaged

    def save(self, record: Record) -> None:
        """Write a record so that a crash leaves the old or the new one."""
        write_atomic(self._path(record.id), dump(record), 0o600)

    def remove(self, id: str) -> None:
        """Forget an environment."""
        self._path(id).unlink(missing_ok=True)
