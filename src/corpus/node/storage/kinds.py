"""Which kind of storage a node has: chosen by what the kernel can do, then remembered."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from corpus.hosts.files import read_json, write_atomic
from corpus.model.errors import Conflict
from corpus.node.context import Node

FEATURES = Path("/sys/fs/btrfs/features")
LOOPS = Path("/dev/loop-control")
FILESYSTEMS = Path("/proc/filesystems")
KINDS = ("quota", "image", "plain")


@dataclass(frozen=True)
class Choice:
    """A kind of storage, and why it is that one."""

    kind: str
    why: str


def chosen(node: Node) -> Choice:
    """Return the kind of this node's pool: what it remembers, else what would be chosen.

    Raises Conflict when environments lie in a pool of another kind than the setting's.
    """
    asked, there = node.settings.storage, remembered(node)
    if there is None or (there.kind != asked and asked != "auto" and is_empty(node)):
        return _choose(node, asked)
    if asked not in ("auto", there.kind):
        raise Conflict(
            f'the setting storage is "{asked}" and the pool holds environments of the kind '
            f'"{there.kind}"',
            str(_file(node)),
            f'write storage = "{there.kind}" or "auto" in /etc/corpus/node.toml; to change the '
            "kind, move the environments to another node or destroy them",
        )
    return there


def remember(node: Node, choice: Choice) -> None:
    """Write into the pool of which kind it is, unless it says so already."""
    if remembered(node) != choice:
        write_atomic(_file(node), json.dumps(asdict(choice), indent=2).encode() + b"\n")


def _file(node: Node) -> Path:
    return node.settings.pool / "storage.json"


def remembered(node: Node) -> Choice | None:
    """Return of which kind the pool says that it is; None where it says nothing."""
    mend = 'write {"kind": KIND, "why": "written anew"} into it; KIND is one of ' + ", ".join(KINDS)
    what = "what the pool remembers of its kind"
    return read_json(_file(node), lambda given: Choice(**given), what, mend)


def is_empty(node: Node) -> bool:
    """Tell whether the node has no environment."""
    return not (node.records.all() or node.records.damaged())


def _choose(node: Node, asked: str) -> Choice:
    if asked != "auto":
        return Choice(asked, f"the setting storage is {asked}")
    node.host.run(["modprobe", "--quiet", "--all", "btrfs", "loop"], check=False)
    if "btrfs" not in FILESYSTEMS.read_text().split():
        return Choice("plain", "this kernel has no btrfs")
    if (FEATURES / "simple_quota").exists():
        return Choice("quota", "this kernel has btrfs with simple quotas")
    return without_quotas("this kernel's btrfs has no simple quotas (6.7 brings them)")


def without_quotas(why: str) -> Choice:
    """Return what remains where simple quotas cannot be, because of ``why``."""
    if LOOPS.exists():
        return Choice("image", why)
    return Choice("plain", f"{why}, and there are no loop devices")
