"""Which image a root was made from: written last, so a root without it is half-made."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from corpus.hosts.files import write_atomic


class Image(Protocol):
    """What the lab asks of a node's image (see corpus.images)."""

    @property
    def digest(self) -> str:
        """The digest of the whole image."""

    @property
    def layers(self) -> Sequence[str]:
        """The digests of its layers, lowest first."""

    def unpack(self, store: Path, target: Path) -> None:
        """Make the subvolume ``target`` with the image's files; ``store`` keeps prefixes of it."""

    def top_files(self) -> list[str]:
        """Return the paths in the topmost layer, relative to the root."""


@dataclass(frozen=True)
class Marker:
    """The image that a root was made from. ``top``: the paths of its topmost layer."""

    digest: str
    layers: tuple[str, ...]
    top: tuple[str, ...]


def _file(root: Path) -> Path:
    return root / "var/lib/corpus-lab-image.json"


def read(root: Path) -> Marker | None:
    """Return the marker of a root, None where it is absent or half-made."""
    try:
        values = json.loads(_file(root).read_text())
        return Marker(values["digest"], tuple(values["layers"]), tuple(values["top"]))
    except (FileNotFoundError, NotADirectoryError, ValueError, KeyError, TypeError):
        return None


def write(root: Path, image: Image) -> None:
    """Say that ``root`` is whole and made from ``image``."""
    values = {
        "digest": image.digest,
        "layers": list(image.layers),
        "top": sorted(set(image.top_files())),
    }
    write_atomic(_file(root), json.dumps(values).encode(), durable=False)
