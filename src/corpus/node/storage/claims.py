"""Which quota groups of a btrfs are this node's: on one that was given to it there may be others.

Each has an empty file, ``pool/groups/LEVEL_NUMBER``, from before it is made until after it is
removed. File and group lie on one btrfs, so that a power cut does not turn their order round:
nothing is to be waited for.
"""

from __future__ import annotations

from pathlib import Path


class Claims:
    """The quota groups, written ``LEVEL/NUMBER``, that this node has made in ``pool``."""

    def __init__(self, pool: Path) -> None:
        self._folder = pool / "groups"

    def has(self, group: str) -> bool:
        """Tell whether a group is this node's."""
        return self._file(group).exists()

    def all(self) -> list[str]:
        """Return all of them, those of lower levels, which may lie within others, first."""
        if not self._folder.exists():
            return []
        return sorted(path.name.replace("_", "/") for path in self._folder.iterdir())

    def add(self, group: str) -> None:
        """Note that a group is this node's. The caller has looked that nobody has it."""
        self._folder.mkdir(mode=0o700, exist_ok=True)
        self._file(group).touch(mode=0o600)

    def forget(self, group: str) -> None:
        """Note that it is no more; fine when that is known."""
        self._file(group).unlink(missing_ok=True)

    def _file(self, group: str) -> Path:
        return self._folder / group.replace("/", "_")
