"""Make images: each layer once, what is cached never again."""

from __future__ import annotations

from pathlib import Path

from corpus.images.manifest import Image
from corpus.images.recipes import Recipe
from corpus.images.settings import Settings

DEFAULT_CACHE = Path("/var/cache/corpus/images")


def build(
    recipe: Recipe, settings: Settings, cache: Path = DEFAULT_CACHE, output: Path | None = None
) -> Image:
    """Return the image of ``recipe``, making the layers that ``cache`` lacks (as root).

    It lies in ``output`` (default: ``cache/out/<recipe name>``). Raises CommandFailed when a
    step fails, Unsupported when this machine lacks a tool.
    """
    raise NotImplementedError
