"""The cache of images that tests share, and scratch caches that start from it.

``CORPUS_TEST_IMAGES`` names it, where it is not the usual one. A module takes part with
``from imagecache import image_cache``.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from corpus.images import builder, settings
from corpus.images.manifest import Image
from corpus.images.recipes import ENVIRONMENT


@pytest.fixture(scope="session")
def image_cache() -> Path:
    """Return a cache that holds the environment's image; made when it does not yet."""
    if os.geteuid() != 0:
        pytest.skip("images are made by root alone")
    cache = Path(os.environ.get("CORPUS_TEST_IMAGES") or builder.DEFAULT_CACHE)
    builder.build(ENVIRONMENT, settings.load(), cache)
    return cache


def scratch(cache: Path, target: Path, image: Image, *names: str) -> Path:
    """Return a new cache at ``target`` that has the layers ``names`` of ``image`` and wheels."""
    (target / "layers").mkdir(parents=True)
    for layer in image.layers:
        if layer.name in names:
            for suffix in (".tar.zst", ".json"):
                name = layer.file.removesuffix(".tar.zst") + suffix
                shutil.copyfile(cache / "layers" / name, target / "layers" / name)
    for kind in ("wheels", "tools"):
        shutil.copytree(cache / kind, target / kind)
    return target
