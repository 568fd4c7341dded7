"""Images in the pool: each a volume that environments are cloned from."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from corpus.hosts import subvolumes
from corpus.hosts.files import read_json, write_atomic
from corpus.images import manifest, store
from corpus.model.errors import CorpusError, NotFound
from corpus.node.context import Node
from corpus.node.storage import kinds, pool


@dataclass(frozen=True)
class Image:
    """An image of the pool. ``digest`` is that of its layers; ``volume`` its directory."""

    name: str
    digest: str
    volume: str
    imported: int  # counts up: the newest of a name is the default

    @property
    def id(self) -> str:
        """The image's short name: 12 digits of its digest."""
        return self.digest[:12]


def listed(node: Node) -> list[Image]:
    """Return the images of the pool, the oldest first; one whose file is damaged is none."""
    found = []
    for path in node.settings.images.glob("*.json"):
        with suppress(CorpusError):  # the doctor tells
            found += [image] if (image := read(path)) else []
    return sorted(found, key=lambda image: image.imported)


def read(path: Path) -> Image | None:
    """Return the image that a file tells of; None where it is gone. Raises CorpusError."""
    mend = "remove it, and import the image again"
    return read_json(path, _image, "the record of an image", mend)


def _image(given: Any) -> Image:
    image = Image(**given)
    texts = (image.name, image.digest, image.volume)
    if type(image.imported) is not int or not all(isinstance(text, str) for text in texts):
        raise ValueError(f"not an image: {given!r:.200}")
    return image


def find(node: Node, asked: str | None = None) -> Image:
    """Return the image ``asked`` (its name, or digits of its digest), by default the newest.

    Raises NotFound.
    """
    images = listed(node)
    name = asked or "environment"
    digits = len(name) >= 8
    chosen = [i for i in images if name == i.name or (digits and i.digest.startswith(name))]
    if not chosen:
        there = ", ".join(f"{image.name} ({image.id})" for image in images) or "none"
        raise NotFound(
            f"no image {ascii(name)[:60]} in the pool",
            mend=f"import one with image_import; there: {there}",
        )
    return chosen[-1]


def volume(node: Node, image: Image) -> Path:
    """Return the volume that holds an image."""
    return node.settings.images / image.volume


def import_image(node: Node, directory: Path, *, test: bool = False) -> tuple[Image, list[str]]:
    """Bring an image (a directory with ``manifest.json`` and layers) into the pool.

    Layers that an earlier image shares are not unpacked again. Idempotent: an image that is
    there already becomes the newest. Returns it, and what changes. Raises InvalidInput, NotFound.
    """
    given = manifest.load(directory)
    with node.lock("images"):
        there = [image for image in listed(node) if image.digest == given.digest]
        whole = bool(there) and volume(node, there[0]).exists()
        newest = [image for image in listed(node) if image.name == given.name][-1:]
        if whole and newest == there:
            return there[0], []
        name = f"{given.name} ({given.digest[:12]})"
        changes = [] if whole else [f"unpack the image {name}"]
        changes.append(f"{name} is the newest of that name")
        root = volume(node, there[0]) if whole else store.root_of(given, node.settings.images)
        image = Image(given.name, given.digest, root.name, _next(node))
        if test and not whole:
            for layer in given.layers:
                store.check(given, layer)
        if test:
            return image, changes
        if not whole:
            shared = kinds.chosen(node).kind == "quota"
            store.import_image(directory, node.settings.images, subvolumes=shared)
            for count in range(1, len(given.layers) + 1):
                unpacked = store.root_of(given, node.settings.images, count)
                if shared and subvolumes.is_subvolume(unpacked):
                    pool.volumes(node).own(unpacked)
        return _remember(node, image), changes


def adopt(node: Node, name: str, digest: str, source: Path) -> Image:
    """Take a volume that is unpacked already as an image: it is cloned into the pool."""
    with node.lock("images"):
        image = Image(name, digest, digest[:12], _next(node))
        if not volume(node, image).exists():
            pool.volumes(node).clone(source, volume(node, image))
        return _remember(node, image)


def _next(node: Node) -> int:
    return max((image.imported for image in listed(node)), default=0) + 1


def _remember(node: Node, image: Image) -> Image:
    text = json.dumps(asdict(image), indent=2).encode() + b"\n"
    write_atomic(node.settings.images / f"{image.id}.json", text)
    return image
