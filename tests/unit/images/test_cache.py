import multiprocessing
import os
from multiprocessing.synchronize import Event
from pathlib import Path

import pytest

from corpus.images.cache import KEPT, Cache
from corpus.images.manifest import Image


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    made = Cache(tmp_path / "cache")
    made.work.mkdir(parents=True)
    return made


def packed(cache: Cache, text: str) -> Path:
    path = cache.work / "packed"
    path.write_text(text)
    return path


def test_a_layer_is_found_by_its_key(cache: Cache) -> None:
    layer = cache.add("base", "k" * 64, packed(cache, "content"))
    assert cache.layer("base", "k" * 64) == layer
    assert cache.layer("base", "x" * 64) is None
    assert layer.size == 7


def test_a_cut_off_archive_is_made_again(cache: Cache) -> None:
    layer = cache.add("base", "k" * 64, packed(cache, "content"))
    cache.archive(layer).write_text("cont")
    assert cache.layer("base", "k" * 64) is None
    cache.archive(layer).unlink()
    assert cache.layer("base", "k" * 64) is None


def test_only_the_last_used_are_kept(cache: Cache) -> None:
    for number in range(KEPT + 2):
        key = f"{number}" * 64
        layer = cache.add("base", key, packed(cache, key))
        os.utime(cache.archive(layer).with_suffix("").with_suffix(".json"), (number, number))
    other = cache.add("salt", "s" * 64, packed(cache, "s"))
    cache.prune()
    found = [number for number in range(KEPT + 2) if cache.layer("base", f"{number}" * 64)]
    assert found == [2, 3, 4]
    assert cache.layer("salt", "s" * 64) == other


def test_an_image_holds_its_layers_alone(cache: Cache, tmp_path: Path) -> None:
    directory = tmp_path / "out"
    for text in ("one", "two"):
        layer = cache.add("base", text * 20, packed(cache, text))
        image = Image("environment", directory, (layer,), "bookworm", "amd64")
        cache.write_image(image)
        assert image.archive(layer).read_text() == text
        assert len(list(directory.iterdir())) == 2


def test_an_archive_made_anew_replaces_the_old_link(cache: Cache, tmp_path: Path) -> None:
    for text in ("one", "two"):
        layer = cache.add("base", "k" * 64, packed(cache, text))
        image = Image("environment", tmp_path / "out", (layer,), "bookworm", "amd64")
        cache.write_image(image)
        assert image.archive(layer).read_text() == text


def _hold(cache: Cache, ready: Event, waits: Event) -> None:
    with cache.locked(lambda: None):
        ready.set()
        assert waits.wait(30)


def test_one_build_at_a_time(cache: Cache) -> None:
    context = multiprocessing.get_context("fork")
    ready, waits = context.Event(), context.Event()
    holder = context.Process(target=_hold, args=(cache, ready, waits))
    holder.start()
    assert ready.wait(30)
    with cache.locked(waits.set):
        assert waits.is_set()
    holder.join()


def test_what_a_killed_build_left_is_removed(cache: Cache) -> None:
    (cache.work / "trees").mkdir()
    with cache.locked(lambda: None):
        assert not cache.work.exists()
