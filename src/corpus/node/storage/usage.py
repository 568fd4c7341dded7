"""What of the pool belongs to whom, from the quota groups: no file is looked at.

Where there are none, from the last walk of the node's timer, with its age (``weights``).

A byte is counted once, where it was written: a snapshot that has not changed since counts nothing,
and its original counts as long as one of the two holds the byte. So what a removed ``run/`` wrote,
and an archive still holds, is in no volume that there is: it is told as ``shared``.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from corpus.model.errors import CorpusError, NotFound
from corpus.model.names import project_name
from corpus.node.context import Node
from corpus.node.environments import guest
from corpus.node.records import Record
from corpus.node.storage import images, pool, weights
from corpus.node.storage.volumes import Volumes

PARTS = ("data", "run", "archives", "releases", "deploy")
"""The directories of a project that are told apart; what is in no volume of theirs is ``other``."""
_PROJECTS = "projects"


def usage(node: Node, id: str | None = None) -> list[dict[str, Any]]:
    """Return what one environment uses, or each of the node, the oldest first; in bytes.

    What a kind of storage does not tell is None. Raises NotFound.
    """
    volumes = pool.volumes(node)
    records = node.records.all() if id is None else [node.records.get(id)]
    holders = Counter(record.image for record in node.records.all())
    return [measured(node, volumes, record, holders) for record in records]


def measured(node: Node, volumes: Volumes, record: Record, holders: Counter[str]) -> dict[str, Any]:
    """Return what one environment uses; ``holders``: how many were made of each image."""
    settings = node.settings
    weight = weights.last(node, record.id) if volumes.kind == "plain" else None
    whole = volumes.used(record.group)
    system = volumes.parts(guest.rootfs(settings, record.id))
    stored = volumes.parts(guest.srv(settings, record.id))
    found: dict[str, Any] = {
        "id": record.id,
        "name": record.name,
        "size": record.limits.size,
        "used": whole.used if whole else None,
        "image": _image(node, volumes, record, holders[record.image]),
        "system": None if system is None else sum(system.values()),
        "projects": None,
        "other": None,
        "shared": None,
        "age": 0 if whole else None,
        "complete": whole is not None,
    }
    if weight is not None:
        found |= {"used": weight.used, "age": round(weight.age), "complete": weight.complete}
        found["system"], stored = max(0, weight.system - weight.image), weight.stored
        found["image"]["used"] = weight.image
    found["over"] = (found["used"] or 0) > record.limits.size
    if found["used"] is None or found["system"] is None or stored is None:
        return found
    projects = _projects(volumes, record, stored)
    others = [size for path, size in stored.items() if _owner(path) not in projects]
    found["projects"] = projects
    found["other"] = sum(others)
    if whole is None:
        return found
    told = found["system"] + found["other"] + sum(one["used"] for one in projects.values())
    found["shared"] = max(0, whole.used - told)
    return found


def _image(node: Node, volumes: Volumes, record: Record, holders: int) -> dict[str, Any]:
    """Return the image, whose files the environments made of it have in common."""
    used: int | None = None
    try:
        found = volumes.parts(images.volume(node, images.find(node, record.image)))
        used = None if found is None else sum(found.values())
    except (NotFound, OSError):  # it was removed: what environments hold of it stays
        pass
    return {"id": record.image, "used": used, "environments": holders}


def _owner(path: str) -> str:
    """Return the project that a path in ``/srv`` belongs to, or nothing."""
    words = path.split("/", 2)
    if len(words) < 2 or words[0] != _PROJECTS:
        return ""
    try:
        return project_name(words[1])
    except CorpusError:
        return ""


def _projects(volumes: Volumes, record: Record, stored: dict[str, int]) -> dict[str, Any]:
    names = {_owner(path) for path in stored} - {""}
    return {name: _project(volumes, record, stored, name) for name in sorted(names)}


def _project(volumes: Volumes, record: Record, stored: dict[str, int], name: str) -> dict[str, Any]:
    """Return what a project uses. One in a plain directory has only its volumes accounted."""
    top = f"{_PROJECTS}/{name}"
    parts: Counter[str] = Counter()
    for path, size in stored.items():
        if path == top or path.startswith(f"{top}/"):
            part = path.removeprefix(f"{top}/").split("/", 1)[0]
            parts[part if part in PARTS else "other"] += size
    own = record.allotment(name) if top in stored else None
    whole = volumes.used(record.project_group(name)) if own else None
    used = whole.used if whole else parts.total()
    return {
        "accounted": whole is not None,
        "size": own.size if own else None,
        "used": used,
        **{part: parts[part] for part in (*PARTS, "other")},
        "shared": max(0, used - parts.total()) if whole else None,
    }
