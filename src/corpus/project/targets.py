"""What a rollback may go back to, with which data, and what was written since."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from corpus.model.deployment import DeploymentId, Outcome
from corpus.model.errors import DeploymentRefused
from corpus.project import trees
from corpus.project.ledger import Entry, Ledger
from corpus.project.place import Project


def choose(project: Project, wanted: str = "") -> Entry:
    """Return the deployment to go back to: ``wanted``, or the last good one before the live one.

    Raises DeploymentRefused with what there is.
    """
    offered = kept(project)
    names = ", ".join(entry.id for entry in offered) or "none is kept"
    found = [entry for entry in offered if wanted in ("", entry.id)]
    if not found:
        raise DeploymentRefused(
            f"{wanted} is no deployment to go back to" if wanted else "nothing to go back to",
            mend=f"choose one that was live, was not rolled back from and is kept: {names}",
        )
    return found[0]


def kept(project: Project) -> list[Entry]:
    """Return the deployments that one may go back to and that are kept, newest first."""
    return [
        entry
        for entry in Ledger(project.paths.ledger).targets()
        if project.paths.deployment(entry.deployment).is_dir()
    ]


def data_of(project: Project, target: str) -> DeploymentId:
    """Return the deployment whose archive holds the data as ``target`` left it.

    It is the first that went live after it: it put that data aside before it changed
    anything. Raises DeploymentRefused when that is not kept any more.
    """
    live = [e for e in Ledger(project.paths.ledger).entries() if e.outcome is Outcome.LIVE]
    names = [entry.id for entry in live]
    after = live[names.index(target) + 1 :] if target in names else []
    if not after or not project.paths.archive(after[0].deployment).data.is_dir():
        raise DeploymentRefused(
            f"the data that {target} left is not kept any more",
            where=str(project.paths.archives),
            mend="roll back with code_only=True, or choose a newer target",
        )
    return after[0].deployment


def size_of(project: Project, target: str) -> int:
    """Return the bytes of the ``run/`` that ``target`` left: as recorded, else as weighed."""
    entry = Ledger(project.paths.ledger).find(target)
    recorded = int(entry.runtime.get("size", 0)) if entry else 0
    return recorded or trees.size_of(project.paths.deployment(DeploymentId.parse(target)))[0]


@dataclass
class Written:
    """What was written into ``data/`` since a copy of it: names of files, bytes."""

    new: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    size: int = 0

    def __bool__(self) -> bool:
        return bool(self.new or self.changed or self.removed)


def written_since(data: Path, kept: Path) -> Written:
    """Return how ``data`` differs from the earlier copy ``kept``, by size and time of files.

    ``size`` is the bytes of the new and changed files.
    """
    before, now = dict(_files(kept)), dict(_files(data))
    found = Written()
    for name, facts in now.items():
        if name not in before:
            found.new.append(name)
        elif before[name] != facts:
            found.changed.append(name)
        else:
            continue
        found.size += facts[0]
    found.removed = [name for name in before if name not in now]
    return found


def _files(folder: Path) -> Iterator[tuple[str, tuple[int, int]]]:
    for place, _names, files in os.walk(folder):
        for name in sorted(files):
            path = Path(place, name)
            try:
                facts = path.lstat()
            except FileNotFoundError:  # the application goes on
                continue
            yield str(path.relative_to(folder)), (facts.st_size, facts.st_mtime_ns)


def preview(project: Project, wanted: str = "") -> dict[str, Any]:
    """Return what a rollback would go back to, and what was written since; change nothing."""
    target = choose(project, wanted)
    found: dict[str, Any] = {
        "target": target.id,
        "commit": target.commit,
        "ended": target.ended,
        "next": "say code_only=True to keep the data, or with_data=True to put them back too",
    }
    try:
        kept = project.paths.archive(data_of(project, target.id)).data
    except DeploymentRefused as error:
        return found | {"written": None, "why": str(error)}
    return found | {"written": asdict(written_since(project.paths.data, kept))}


_MOST = 20


def tell(written: Written) -> list[str]:
    """Return lines for a person: how much was written, and where."""
    if not written:
        return ["no data was written since"]
    counts = [
        f"{len(names)} {how}"
        for how, names in (
            ("new", written.new),
            ("changed", written.changed),
            ("removed", written.removed),
        )
        if names
    ]
    lines = [f"written since: {', '.join(counts)} files, {written.size} bytes"]
    all_of_them = [
        f"  {sign} {name}"
        for sign, names in (("+", written.new), ("~", written.changed), ("-", written.removed))
        for name in names
    ]
    lines += all_of_them[:_MOST]
    if len(all_of_them) > _MOST:
        lines.append(f"  and {len(all_of_them) - _MOST} more")
    return lines
