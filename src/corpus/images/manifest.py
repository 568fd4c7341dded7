"""An image on disk: a directory with ``manifest.json`` and one archive for each layer."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from corpus.model.errors import InvalidInput, NotFound

MANIFEST = "manifest.json"


def combined_digest(digests: Iterable[str]) -> str:
    """Return the digest of a sequence of layers: that of an image or of a prefix of one."""
    return hashlib.sha256("\n".join(digests).encode()).hexdigest()


@dataclass(frozen=True)
class Layer:
    """One archive: ``key`` is the hash of what it was made from, ``digest`` that of its bytes."""

    name: str
    key: str
    digest: str
    size: int

    @property
    def file(self) -> str:
        """The archive's file name, within the image's directory and within the cache."""
        return f"{self.name}-{self.key[:16]}.tar.zst"


@dataclass(frozen=True)
class Image:
    """A finished image in ``directory``; its layers are unpacked one over the other."""

    name: str
    directory: Path
    layers: tuple[Layer, ...]
    suite: str
    arch: str

    @property
    def digest(self) -> str:
        """The SHA-256 that names the whole image."""
        return self.prefix_digest(len(self.layers))

    @property
    def size(self) -> int:
        """Bytes of all archives."""
        return sum(layer.size for layer in self.layers)

    def prefix_digest(self, count: int) -> str:
        """Return the SHA-256 that names the first ``count`` layers."""
        return combined_digest(layer.digest for layer in self.layers[:count])

    def archive(self, layer: Layer) -> Path:
        """Return where the archive of ``layer`` lies."""
        return self.directory / layer.file

    def to_json(self) -> str:
        """Return the manifest: no paths and no times, so that the same image has the same one."""
        content = {
            "name": self.name,
            "digest": self.digest,
            "suite": self.suite,
            "arch": self.arch,
            "layers": [asdict(layer) for layer in self.layers],
        }
        return json.dumps(content, indent=2) + "\n"


def load(directory: Path) -> Image:
    """Read the image in ``directory``. Raises NotFound, or InvalidInput when it is damaged."""
    path = directory / MANIFEST
    try:
        content: dict[str, Any] = json.loads(path.read_text())
        layers = tuple(Layer(**layer) for layer in content["layers"])
        image = Image(content["name"], directory, layers, content["suite"], content["arch"])
        stated = content["digest"]
    except FileNotFoundError:
        raise NotFound(f"no image in {directory}", mend="build it first") from None
    except (ValueError, KeyError, TypeError) as error:
        raise InvalidInput(f"not an image's manifest: {error}", where=str(path)) from None
    if stated != image.digest:
        raise InvalidInput("the manifest's digest is not that of its layers", where=str(path))
    return image
