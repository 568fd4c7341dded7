"""Images on a node: unpacked once, cloned for each environment."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from corpus.commands import layers
from corpus.hosts import subvolumes as btrfs
from corpus.hosts.base import Host
from corpus.hosts.local import Local
from corpus.images import keys, manifest
from corpus.images.manifest import Image, Layer
from corpus.model.errors import Conflict, InvalidInput


def unpack(image_dir: Path, target: Path, *, subvolumes: bool, host: Host | None = None) -> None:
    """Unpack the image in ``image_dir`` as the new root filesystem ``target``, as root.

    With ``subvolumes`` the target becomes a btrfs subvolume, else a plain directory. It
    appears complete or not at all. Raises Conflict when it is there already, InvalidInput
    when an archive is not the one that the manifest names.
    """
    image = manifest.load(image_dir)
    if target.exists():
        raise Conflict("there is something already where the image should go", where=str(target))
    target.parent.mkdir(parents=True, exist_ok=True)
    _grow(host or Local(), image, image.layers, None, target, subvolumes=subvolumes)


def import_image(
    image_dir: Path, images: Path, *, subvolumes: bool, host: Host | None = None
) -> Path:
    """Unpack the image under ``images``, once, and return its root filesystem.

    It is called ``<digest12>-<number of layers>``. With ``subvolumes`` every prefix of the
    layers is kept too, and an image that shares a prefix with an earlier one starts from a
    snapshot of it. Raises as `unpack` does.
    """
    image = manifest.load(image_dir)
    final = root_of(image, images)
    if final.exists():
        return final
    images.mkdir(parents=True, exist_ok=True)
    with _locked(images):
        if final.exists():
            return final
        runner = host or Local()
        if not subvolumes:
            _grow(runner, image, image.layers, None, final, subvolumes=False)
            return final
        ready, lower = _longest_prefix(image, images)
        for count in range(ready + 1, len(image.layers) + 1):
            target = root_of(image, images, count)
            _grow(runner, image, image.layers[count - 1 : count], lower, target, subvolumes=True)
            lower = target
    return final


def root_of(image: Image, images: Path, count: int | None = None) -> Path:
    """Return where the first ``count`` layers (default: all) of an image lie unpacked."""
    number = len(image.layers) if count is None else count
    return images / f"{image.prefix_digest(number)[:12]}-{number}"


def remove(root: Path) -> None:
    """Remove an unpacked image or a part of one; nothing is fine too."""
    if btrfs.is_subvolume(root):
        btrfs.delete(root)
    elif root.exists():
        shutil.rmtree(root)


def _longest_prefix(image: Image, images: Path) -> tuple[int, Path | None]:
    for count in range(len(image.layers), 0, -1):
        root = root_of(image, images, count)
        if btrfs.is_subvolume(root):
            return count, root
    return 0, None


def _grow(
    host: Host,
    image: Image,
    added: Sequence[Layer],
    lower: Path | None,
    target: Path,
    *,
    subvolumes: bool,
) -> None:
    """Make ``target`` of ``lower`` and the layers ``added``: beside it first, then renamed."""
    partial = target.with_name(f".{target.name}.partial")
    remove(partial)
    if lower is not None:
        btrfs.snapshot(lower, partial)
    elif subvolumes:
        btrfs.create(partial)
    else:
        partial.mkdir()
    try:
        for layer in added:
            check(image, layer)
            host.run(layers.unpack(image.archive(layer), partial))
        partial.rename(target)
    except BaseException:
        remove(partial)
        raise


def check(image: Image, layer: Layer) -> None:
    """Raise InvalidInput unless the archive of ``layer`` is the one that the manifest names."""
    path = image.archive(layer)
    if not path.is_file():
        raise InvalidInput(f"the archive of layer {layer.name} is missing", where=str(path))
    if keys.digest_of_file(path) != layer.digest:
        raise InvalidInput(
            f"the archive of layer {layer.name} is damaged",
            where=str(path),
            mend="copy the image again, or remove it from the cache and build it",
        )


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Let one process at a time import under ``folder``."""
    handle = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
