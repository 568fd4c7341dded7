from pathlib import Path

import pytest

from corpus.images import manifest
from corpus.images.manifest import Image, Layer
from corpus.model.errors import InvalidInput, NotFound


def image(directory: Path) -> Image:
    layers = (Layer("base", "k" * 64, "d1", 10), Layer("salt", "l" * 64, "d2", 5))
    return Image("environment", directory, layers, "bookworm", "amd64")


def test_what_is_written_is_read(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text(image(tmp_path).to_json())
    assert manifest.load(tmp_path) == image(tmp_path)


def test_digests_name_prefixes(tmp_path: Path) -> None:
    made = image(tmp_path)
    assert made.digest == made.prefix_digest(2) != made.prefix_digest(1)
    assert made.size == 15
    assert made.archive(made.layers[0]) == tmp_path / f"base-{'k' * 16}.tar.zst"


def test_an_absent_image(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no image"):
        manifest.load(tmp_path)


@pytest.mark.parametrize("change", [("d1", "d9"), ("{", "["), ('"size"', '"bytes"')])
def test_a_damaged_manifest(tmp_path: Path, change: tuple[str, str]) -> None:
    (tmp_path / "manifest.json").write_text(image(tmp_path).to_json().replace(*change))
    with pytest.raises(InvalidInput):
        manifest.load(tmp_path)
