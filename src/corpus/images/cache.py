"""The directory of finished layers, wheels and images; one build at a time works in it."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from corpus.hosts.files import write_atomic
from corpus.images import keys
from corpus.images.manifest import MANIFEST, Image, Layer

KEPT = 3
"""How many versions of a layer stay in the cache."""


@dataclass(frozen=True)
class Cache:
    """``layers/`` archives with a record each, ``wheels/`` and ``tools/`` by key, ``work/``."""

    root: Path

    @property
    def work(self) -> Path:
        """Scratch space of the running build; what lies there otherwise is of a killed one."""
        return self.root / "work"

    @contextmanager
    def locked(self, waiting: Callable[[], None]) -> Iterator[None]:
        """Hold the cache for this process; ``waiting`` is called when another one has it.

        The lock ends with its holder, so what lies in ``work`` then is nobody's.
        """
        self.root.mkdir(parents=True, exist_ok=True)
        handle = os.open(self.root / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                waiting()
                fcntl.flock(handle, fcntl.LOCK_EX)
            if self.work.exists():
                shutil.rmtree(self.work)
            yield
        finally:
            os.close(handle)

    def layer(self, name: str, key: str) -> Layer | None:
        """Return the finished layer ``name`` with ``key``, or None."""
        record = self._record(name, key)
        try:
            layer = Layer(**json.loads(record.read_text()))
            size = self.archive(layer).stat().st_size
        except (OSError, ValueError, TypeError):
            return None
        if layer.key != key or layer.size != size:
            return None
        os.utime(record)
        return layer

    def archive(self, layer: Layer) -> Path:
        """Return where the archive of ``layer`` lies."""
        return self.root / "layers" / layer.file

    def add(self, name: str, key: str, packed: Path) -> Layer:
        """Take the finished archive ``packed`` (a file in ``work``) into the cache."""
        layer = Layer(name, key, keys.digest_of_file(packed), packed.stat().st_size)
        archive = self.archive(layer)
        archive.parent.mkdir(exist_ok=True)
        packed.replace(archive)
        write_atomic(self._record(name, key), json.dumps(asdict(layer)).encode())
        return layer

    def directory(self, kind: str, key: str) -> Path:
        """Return where the directory ``kind`` with ``key`` lies when it is finished."""
        return self.root / kind / key[:16]

    def add_directory(self, kind: str, key: str, made: Path) -> Path:
        """Take the finished directory ``made`` into the cache in place of older ones."""
        target = self.directory(kind, key)
        target.parent.mkdir(exist_ok=True)
        made.rename(target)
        for other in _oldest(list(target.parent.iterdir())):
            shutil.rmtree(other)
        return target

    def write_image(self, image: Image) -> None:
        """Make ``image.directory`` hold the image: links to the archives, then the manifest."""
        image.directory.mkdir(parents=True, exist_ok=True)
        for layer in image.layers:
            _link(self.archive(layer), image.archive(layer))
        manifest = image.directory / MANIFEST
        if not manifest.exists() or manifest.read_text() != image.to_json():
            write_atomic(manifest, image.to_json().encode())
        wanted = {MANIFEST, *(layer.file for layer in image.layers)}
        for path in image.directory.glob("*.tar.zst"):
            if path.name not in wanted:
                path.unlink()

    def prune(self) -> None:
        """Remove all but the last used layers of each name."""
        records: dict[str, list[Path]] = {}
        for record in (self.root / "layers").glob("*.json"):
            records.setdefault(record.name.rpartition("-")[0], []).append(record)
        for found in records.values():
            for record in _oldest(found):
                record.unlink()
                record.with_suffix(".tar.zst").unlink(missing_ok=True)

    def _record(self, name: str, key: str) -> Path:
        return self.root / "layers" / f"{name}-{key[:16]}.json"


def _oldest(paths: list[Path]) -> list[Path]:
    """Return those of ``paths`` that are beyond the number that is kept."""
    return sorted(paths, key=lambda path: path.stat().st_mtime, reverse=True)[KEPT:]


def _link(source: Path, target: Path) -> None:
    """Make ``target`` the file ``source``: a hard link, or a copy on another filesystem."""
    if target.exists():
        one, other = source.stat(), target.stat()
        if (one.st_size, one.st_mtime_ns) == (other.st_size, other.st_mtime_ns):
            return
        target.unlink()
    try:
        os.link(source, target)
    except OSError:
        partial = target.with_name(f".{target.name}.partial")
        shutil.copy2(source, partial)
        partial.replace(target)
