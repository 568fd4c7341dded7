"""What of a project uses the disk, and what would be free again if a part of it went."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from corpus.hosts import kernel
from corpus.model.deployment import DeploymentId
from corpus.project.ledger import Ledger
from corpus.project.place import Project
from corpus.project.survey import Holding, Survey


@dataclass(frozen=True)
class Usage:
    """Who holds what. A holder is a deployment's id, or the name of another part.

    ``parts``: for each holder its parts by name. ``shared``: how many bytes of the disk each
    set of holders has together, and nobody else. ``by``: ``extents``, or ``files`` where the
    file system does not tell those.
    """

    parts: dict[str, dict[str, Holding]]
    shared: Counter[frozenset[str]]
    by: str

    def freed(self, holders: Iterable[str]) -> int:
        """Return how many bytes would be free if these holders went."""
        gone = set(holders)
        return sum(size for those, size in self.shared.items() if those <= gone)

    def without(self, holder: str) -> Usage:
        """Return what there is once a holder went."""
        shared: Counter[frozenset[str]] = Counter()
        for those, size in self.shared.items():
            if those != {holder}:
                shared[those - {holder}] += size
        parts = {name: held for name, held in self.parts.items() if name != holder}
        return replace(self, parts=parts, shared=shared)


def measure(project: Project) -> Usage:
    """Look at every file of a project: 30,000 (btrfs) to 90,000 (ext4) a second of one core."""
    kernel.sync(project.paths.root)  # what is not on the disk yet has no place there
    survey = Survey()
    parts: dict[str, dict[str, Holding]] = {}
    seen: set[tuple[int, int]] = set()
    for holder, name, path in _parts(project):
        with contextlib.suppress(FileNotFoundError):  # a deployment may be under way
            found = path.lstat()
            if (found.st_dev, found.st_ino) in seen:  # run/ and project/ may be one directory
                continue
            seen.add((found.st_dev, found.st_ino))
            holding = parts.setdefault(holder, {}).setdefault(name, Holding())
            survey.add(holder, path, holding)
    return Usage(parts, survey.shared(), "extents" if survey.by_extents else "files")


def _parts(project: Project) -> Iterator[tuple[str, str, Path]]:
    """Yield holder, name and path of every part that there is."""
    paths = project.paths
    for path in (paths.data, paths.run, paths.project, paths.pillar, paths.git):
        if path.exists():
            yield path.name, path.name, path
    for folder in (paths.build, paths.deploy, paths.releases, paths.state / "logs"):
        for entry in _entries(folder):
            holder = DeploymentId.within(entry.name)
            yield str(holder or folder.name), folder.name if holder else entry.name, entry
    for entry in _entries(paths.state):
        if entry.name != "logs":
            yield "records", entry.name, entry
    for archive in _entries(paths.archives):
        holder = DeploymentId.within(archive.name)
        for inner in _entries(archive) if holder else [archive]:
            yield str(holder or "archives"), inner.name, inner


def _entries(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(entry for entry in folder.iterdir() if not entry.is_symlink())


def report(project: Project) -> dict[str, Any]:
    """Return what uses the disk as plain values, in bytes; deployments oldest first.

    ``size`` is what files appear to have, ``freed`` what would be free without them.
    """
    usage = measure(project)
    ledger = Ledger(project.paths.ledger)
    outcomes = {entry.id: str(entry.outcome) for entry in ledger.entries()}
    live = ledger.live()
    deployments = sorted(holder for holder in usage.parts if _is_id(holder))
    others = {holder: usage.parts[holder] for holder in usage.parts if not _is_id(holder)}
    return {
        "name": project.name,
        "on_disk": sum(usage.shared.values()),
        "told_by": usage.by,
        "kept": usage.freed(deployments),
        "parts": {
            holder: _sum(parts.values()) | {"freed": usage.freed([holder])}
            for holder, parts in others.items()
        },
        "deployments": [
            {
                "id": holder,
                "outcome": outcomes.get(holder),
                "live": live is not None and live.id == holder,
                **_sum(usage.parts[holder].values()),
                "freed": usage.freed([holder]),
                "parts": {name: part.size for name, part in usage.parts[holder].items()},
            }
            for holder in deployments
        ],
    }


def _is_id(holder: str) -> bool:
    return DeploymentId.within(holder) is not None


def _sum(parts: Iterable[Holding]) -> dict[str, int]:
    total = Holding()
    for part in parts:
        total.size += part.size
        total.files += part.files
    return asdict(total)
