"""The storage pool: made, mounted, and which kind of volumes it holds."""

from __future__ import annotations

from dataclasses import dataclass

from corpus.hosts import mounts, quota, subvolumes
from corpus.model.errors import Unsupported
from corpus.node.context import Node
from corpus.node.storage import ground, kinds
from corpus.node.storage.image import ImageVolumes
from corpus.node.storage.kinds import Choice
from corpus.node.storage.plain import PlainVolumes
from corpus.node.storage.quota import QuotaVolumes
from corpus.node.storage.volumes import Volumes

_KINDS: dict[str, type[Volumes]] = {
    kind.kind: kind for kind in (QuotaVolumes, ImageVolumes, PlainVolumes)
}


@dataclass(frozen=True)
class Support:
    """What the pool can do: its kind, ``why`` that, and ``enforced`` or ``soft`` sizes."""

    storage: str
    why: str
    quota: str
    quota_why: str


def volumes(node: Node) -> Volumes:
    """Return the volumes of the node's pool, of its kind. Raises Conflict as ``kinds.chosen``."""
    return _KINDS[kinds.chosen(node).kind](node)


def support(node: Node) -> Support:
    """Return what the pool can do."""
    choice = kinds.chosen(node)
    enforced = _KINDS[choice.kind].enforced
    return Support(
        choice.kind,
        choice.why,
        "enforced" if enforced else "soft",
        "" if enforced else f"{choice.why}: sizes are not enforced in directories",
    )


def prepare(node: Node) -> Support:
    """Make the pool when it is absent, mount it when it is not mounted; tell what it can do.

    Raises Unsupported when it cannot be of its kind here; it names the setting to change. Raises
    Conflict where that would take the place of a pool that is not there at the moment.
    """
    settings = node.settings
    settings.pool.mkdir(parents=True, exist_ok=True)
    ground.attach(node)
    ground.check_there(node)
    choice = kinds.chosen(node)
    if choice.kind == "quota":
        choice = _with_quotas(node, choice)
    for folder in (settings.images, settings.pool / "env"):
        folder.mkdir(exist_ok=True, mode=0o711)
    kinds.remember(node, choice)
    return support(node)


def _with_quotas(node: Node, choice: Choice) -> Choice:
    """Have btrfs with simple quotas; where ``auto`` finds that they cannot be, another kind."""
    pool = node.settings.pool
    try:
        # One that is mounted for the pool: another's filesystem is not given quotas.
        if not mounts.is_point(pool):
            ground.make_file(node)
        elif not subvolumes.is_btrfs(pool):
            raise Unsupported(
                "what is mounted at the pool is no btrfs", str(pool), 'set storage = "image"'
            )
        subvolumes.enable_simple_quotas(pool)
        if quota.mode(pool) == "qgroup":
            raise Unsupported(
                "this btrfs has classic quotas, which a subvolume of a guest's escapes",
                str(pool),
                "switch them off before there are environments: btrfs quota disable",
            )
    except Unsupported as error:
        if node.settings.storage != "auto" or not kinds.is_empty(node):
            raise
        return kinds.without_quotas(error.what)
    return choice
