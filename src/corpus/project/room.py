"""Room for a deployment: what the disk has, what the quota leaves, and more asked of the node.

``df`` in an environment shows the node's whole pool, so what the quota leaves is asked at the
node's socket (docs/explanation/room.md). A machine without a node has no such socket's
directory: there the filesystem alone counts.
"""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from corpus.model.errors import DeploymentRefused
from corpus.model.size import format_size
from corpus.project import trees
from corpus.project.place import Project

SECONDS = 5.0  # that all questions of one call together may take
_LONGEST = 4096  # bytes of an answer
_LARGEST = 1 << 60  # bytes of a size


def free(project: Project) -> int:
    """Return how many bytes the project may still write: of the disk and of the quota.

    Raises DeploymentRefused when there is a node and it does not answer.
    """
    return _known(project, time.monotonic() + SECONDS).free


def ensure(project: Project, needed: int, tell: Callable[[str], None]) -> None:
    """Have room for ``needed`` bytes, enlarging the environment where it lacks some.

    Raises DeploymentRefused within `SECONDS` when there is none to be had.
    """
    deadline = time.monotonic() + SECONDS
    has = _known(project, deadline)
    if has.free >= needed:
        return
    if has.size is not None and has.on_disk >= needed:
        asked = {"ask": "enlarge", "bytes": needed, "project": project.name}
        larger = _size(project, _ask(project, asked, deadline), "size")
        if larger > has.size:
            grown, now = format_size(larger - has.size), format_size(larger)
            tell(f"{grown} asked of the node: the project may now use {now}")
        has = _known(project, deadline)
    if has.free < needed:
        raise _none(project, has.free, needed)


def foresee(project: Project, needed: int, tell: Callable[[str], None]) -> None:
    """Tell what ``ensure`` would ask the node for, and ask it for nothing.

    Raises DeploymentRefused where it would too, as far as is known beforehand: a node may have
    promised more than its pool has.
    """
    has = _known(project, time.monotonic() + SECONDS)
    if has.free >= needed:
        return
    if has.size is None or has.on_disk < needed or has.limit - has.used < needed:
        raise _none(project, has.free, needed)
    tell(f"{format_size(needed - has.free)} more would be asked of the node")


def _none(project: Project, free: int, needed: int) -> DeploymentRefused:
    return DeploymentRefused(
        f"{format_size(free)} are free and this deployment needs {format_size(needed)}",
        where=str(project.paths.root),
        mend="enlarge the environment, or lower retention",
    )


def own_volume(project: Project) -> bool:
    """Have the node make the project's directory a volume that it accounts by itself.

    False where there is no node, where it does not answer or has no quotas, and where the
    directory is there already as a plain one: then that is made, or used, as it is.
    """
    if not project.place.node_socket.parent.is_dir():
        return False
    try:
        asked = {"ask": "project", "project": project.name}
        return _ask(project, asked, time.monotonic() + SECONDS).get("made") is True
    except DeploymentRefused:
        return False


@dataclass(frozen=True)
class _Room:
    """What the disk has free, and where a node enforces sizes, what is used, may be and might be.

    Of the environment or of the project, whichever leaves less.
    """

    on_disk: int
    used: int = 0
    size: int | None = None
    limit: int = 0

    @property
    def free(self) -> int:
        left = self.on_disk if self.size is None else min(self.on_disk, self.size - self.used)
        return max(0, left)


def _known(project: Project, deadline: float) -> _Room:
    on_disk = trees.free_bytes(project.paths.root)
    if not project.place.node_socket.parent.is_dir():
        return _Room(on_disk)
    told = _ask(project, {"ask": "usage", "project": project.name}, deadline)
    if told.get("used", 0) is None:  # the node enforces no sizes
        return _Room(on_disk)
    return _Room(
        on_disk, **{name: _size(project, told, name) for name in ("used", "size", "limit")}
    )


def _size(project: Project, told: dict[str, Any], name: str) -> int:
    value = told.get(name)
    if type(value) is not int or not 0 <= value < _LARGEST:
        raise _away(project, f"it answered no {name}: {_text(told)}")
    return value


def _text(value: object) -> str:
    """Return what came from outside as one short line."""
    line = " ".join(str(value).split())[:300]
    return "".join(letter if letter.isprintable() else "?" for letter in line)


def _ask(project: Project, question: dict[str, Any], deadline: float) -> dict[str, Any]:
    try:
        answer = _exchange(project, json.dumps(question).encode() + b"\n", deadline)
    except OSError as error:
        raise _away(project, str(error)) from None
    try:
        told = json.loads(answer)
    except (ValueError, RecursionError):
        raise _away(project, f"it answered {_text(answer[:80])}") from None
    if not isinstance(told, dict):
        raise _away(project, f"it answered {_text(answer[:80])}")
    if "error" in told:
        raise DeploymentRefused(
            f"the node refuses: {_text(told['error'])}",
            where=str(project.paths.root),
            mend=_text(told.get("mend") or "lower retention"),
        )
    return told


def _exchange(project: Project, question: bytes, deadline: float) -> bytes:
    answer = b""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as line:
        line.settimeout(_left(deadline))
        line.connect(str(project.place.node_socket))
        line.sendall(question)
        while not answer.endswith(b"\n") and len(answer) <= _LONGEST:
            line.settimeout(_left(deadline))
            part = line.recv(_LONGEST)
            if not part:
                break
            answer += part
    if not answer.endswith(b"\n") or len(answer) > _LONGEST:
        raise OSError(f"its answer has no end ({len(answer)} bytes)")
    return answer


def _left(deadline: float) -> float:
    seconds = deadline - time.monotonic()
    if seconds <= 0:
        raise TimeoutError(f"no answer within {SECONDS:g} s")
    return seconds


def _away(project: Project, why: str) -> DeploymentRefused:
    return DeploymentRefused(
        f"the node does not say how much room there is: {why}",
        where=str(project.place.node_socket),
        mend="on the node: corpus_node.start ID opens it anew; journalctl -u 'corpus-ask@*'",
    )
