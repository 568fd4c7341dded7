"""The node's image as the lab uses it: built or found in the cache, unpacked in the pool."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from corpus.hosts import subvolumes
from corpus.hosts.base import Host
from corpus.images import builder, recipes, settings, store
from corpus.images import manifest as images
from corpus.model.errors import Conflict


class NodeImage:
    """An image of corpus.images; see ``marker.Image`` for what is asked of it."""

    def __init__(self, image: images.Image, host: Host) -> None:
        self._image = image
        self._host = host

    @property
    def digest(self) -> str:
        """The digest of the whole image."""
        return self._image.digest

    @property
    def layers(self) -> Sequence[str]:
        """The digests of its layers, lowest first."""
        return [layer.digest for layer in self._image.layers]

    def unpack(self, pool: Path, target: Path) -> None:
        """Make ``target`` a snapshot of the image, unpacked in ``pool`` as far as it is not."""
        base = store.root_of(self._image, pool)
        if not base.exists():
            found = store.import_image(self._image.directory, pool, subvolumes=True)
            if found != base:
                raise Conflict(
                    "the image was built anew meanwhile",
                    where=str(self._image.directory),
                    mend="try again",
                )
        subvolumes.snapshot(base, target)
        self._prune(pool)

    def top_files(self) -> list[str]:
        """Return the paths in the topmost layer, relative to the root."""
        archive = self._image.archive(self._image.layers[-1])
        lines = self._host.run(["tar", "--list", "--zstd", f"--file={archive}"]).out.splitlines()
        names = (line.removeprefix("./").rstrip("/") for line in lines)
        return [name for name in names if name]

    def _prune(self, pool: Path) -> None:
        """Remove unpacked images that this one does not stand on."""
        counts = range(1, len(self._image.layers) + 1)
        kept = {store.root_of(self._image, pool, count) for count in counts}
        for path in pool.iterdir():
            if path not in kept and subvolumes.is_subvolume(path):
                subvolumes.delete(path)


def current(cache: Path, host: Host, report: Callable[[str], None] | None = None) -> NodeImage:
    """Return the node's image made from the code at hand, and make the environments' too.

    What ``cache`` has is not remade. The environments' image lies beside the node's, in
    the directory that the node sees.
    """
    wanted = {recipe: shown(cache) / recipe.name for recipe in (recipes.NODE, recipes.ENVIRONMENT)}
    node, _ = builder.build_all(wanted, settings.load(), cache, report=report or builder.say)
    return NodeImage(node, host)


def shown(cache: Path) -> Path:
    """Return the directory of finished images in ``cache``: all that the node sees of it."""
    return cache / "out"
