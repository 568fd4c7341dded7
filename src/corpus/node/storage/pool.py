"""The storage pool: made, mounted, and which kind of volumes it holds."""

from __future__ import annotations

from dataclasses import dataclass

from corpus.commands import btrfs
from corpus.hosts import subvolumes
from corpus.hosts.base import Host
from corpus.model.errors import CommandFailed, Unsupported
from corpus.model.size import parse_size
from corpus.node.context import Node
from corpus.node.settings import Settings
from corpus.node.storage import kinds
from corpus.node.storage.plain import PlainVolumes
from corpus.node.storage.quota import QuotaVolumes
from corpus.node.storage.volumes import Volumes

_KINDS: dict[str, type[Volumes]] = {kind.kind: kind for kind in (QuotaVolumes, PlainVolumes)}


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

    Raises Unsupported when it cannot be of its kind here; it names the setting to change.
    """
    settings = node.settings
    settings.pool.mkdir(parents=True, exist_ok=True)
    choice = kinds.chosen(node)
    if choice.kind == "quota":
        if not subvolumes.is_btrfs(settings.pool):
            _make_file(node.host, settings)
        choice = kinds.chosen(node)  # what the pool itself remembers, now that it is mounted
        subvolumes.enable_simple_quotas(settings.pool)
    for folder in (settings.images, settings.pool / "env"):
        folder.mkdir(exist_ok=True, mode=0o711)
    kinds.remember(node, choice)
    return support(node)


def _make_file(host: Host, settings: Settings) -> None:
    image = settings.prefix / "pool.img"
    try:
        if not image.exists():
            part = image.with_suffix(".part")
            with part.open("wb") as file:
                file.truncate(parse_size(settings.pool_size))
            host.run(btrfs.make(part))
            part.rename(image)
        host.run(btrfs.mount(image, settings.pool))
    except (OSError, CommandFailed) as error:
        raise Unsupported(
            f"no btrfs pool can be made in a file: {error}",
            str(image),
            'mount a btrfs filesystem there, or set storage = "plain" in /etc/corpus/node.toml '
            "(copies instead of snapshots, sizes not enforced)",
        ) from None
