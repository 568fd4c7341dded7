"""Images on a node: unpacked once, cloned for each environment."""

from __future__ import annotations

from pathlib import Path


def unpack(image_dir: Path, target: Path, *, subvolumes: bool) -> None:
    """Unpack the image in ``image_dir`` as the new root filesystem ``target``.

    With ``subvolumes`` the target becomes a btrfs subvolume, else a plain directory. It
    appears complete or not at all. Raises Conflict when it is there, InvalidInput when an
    archive is not the one that the manifest names.
    """
    raise NotImplementedError


def import_image(image_dir: Path, images: Path, *, subvolumes: bool) -> Path:
    """Unpack the image under ``images`` (once) and return its root filesystem.

    It is called ``<digest12>-<number of layers>``. With ``subvolumes`` every prefix of the
    layers is kept too, and an image that shares a prefix with an earlier one starts from a
    snapshot of it.
    """
    raise NotImplementedError
