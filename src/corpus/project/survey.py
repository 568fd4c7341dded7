"""Which holders have which bytes of the disk, and which bytes they have with nobody else.

Bytes that several files share (snapshots, reflinks, hard links) are free only when the last
of them goes. Where the file system tells the extents of files, those are compared; else the
files themselves are, which sees hard links alone.
"""

from __future__ import annotations

import os
import stat
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path

from corpus.hosts import subvolumes
from corpus.hosts.extents import Extents

ELSEWHERE = "elsewhere"
"""The holder of what is shared with a file that was not looked at."""


@dataclass(slots=True)
class Holding:
    """The bytes and the number of some files, as they appear."""

    size: int = 0
    files: int = 0


@dataclass(slots=True)
class _Piece:
    """Bytes of the disk: the bits of their holders, and in how many files they were seen."""

    bits: int = 0
    seen: int = 0
    shared: bool = False


@dataclass(slots=True)
class _Linked:
    """A file of several names: how many were seen."""

    path: str
    volume: int
    links: int
    size: int
    bits: int = 0
    seen: int = 0


class Survey:
    """Look at one directory after another, then ask who shares what."""

    def __init__(self) -> None:
        self.by_extents = True
        self._extents = Extents()
        self._bits: dict[str, int] = {ELSEWHERE: 1}
        self._pieces: dict[tuple[int, int, int], _Piece] = {}
        self._linked: dict[tuple[int, int], _Linked] = {}
        self._whole: Counter[int] = Counter()

    def add(self, holder: str, path: Path, holding: Holding) -> None:
        """Look at a file, or at all files below a directory; count them in ``holding``."""
        bit = self._bits.setdefault(holder, 1 << len(self._bits))
        # One btrfs has a device number for each subvolume.
        volume = 0 if subvolumes.is_btrfs(path) else path.stat().st_dev
        for name in _files(path):
            try:
                found = os.lstat(name)
            except FileNotFoundError:  # the application goes on
                continue
            holding.files += 1
            holding.size += found.st_size
            if not stat.S_ISREG(found.st_mode) or not found.st_blocks:
                continue
            size = found.st_blocks * 512
            if found.st_nlink == 1:
                self._lay(name, bit, volume, size)
                continue
            key = (found.st_dev, found.st_ino)
            linked = self._linked.setdefault(key, _Linked(name, volume, found.st_nlink, size))
            linked.bits |= bit
            linked.seen += 1

    def _lay(self, name: str, bits: int, volume: int, size: int) -> None:
        """Note where the bytes of one file lie."""
        try:
            extents = self._extents.of(name)
        except OSError:  # gone meanwhile, or another kind of file by now
            return
        if extents is None:
            self.by_extents = False
            self._whole[bits] += size
            return
        for place, length, shared in extents:
            piece = self._pieces.setdefault((volume, place, length), _Piece())
            piece.bits |= bits
            piece.seen += 1
            piece.shared |= shared

    def shared(self) -> Counter[frozenset[str]]:
        """Return how many bytes each set of holders has together, and nobody else."""
        for file in self._linked.values():
            elsewhere = self._bits[ELSEWHERE] if file.seen < file.links else 0
            self._lay(file.path, file.bits | elsewhere, file.volume, file.size)
        self._linked.clear()
        found = self._whole.copy()
        for cluster in _clusters(self._pieces):
            _count(cluster, found)
        return Counter(
            {
                frozenset(name for name, bit in self._bits.items() if bits & bit): size
                for bits, size in found.items()
            }
        )


def _files(path: Path) -> Iterator[str]:
    if not path.is_dir():
        yield str(path)
        return
    for folder, _names, files in os.walk(path):
        for name in files:
            yield f"{folder}/{name}"


def _clusters(
    pieces: dict[tuple[int, int, int], _Piece],
) -> Iterator[list[tuple[int, int, _Piece]]]:
    """Yield the pieces in groups that do not overlap: start, end and piece of each."""
    cluster: list[tuple[int, int, _Piece]] = []
    volume, end = 0, 0
    for (where, start, length), piece in sorted(pieces.items(), key=itemgetter(0)):
        if cluster and (where != volume or start >= end):
            yield cluster
            cluster, end = [], 0
        cluster.append((start, start + length, piece))
        volume, end = where, max(end, start + length)
    if cluster:
        yield cluster


def _count(cluster: list[tuple[int, int, _Piece]], found: Counter[int]) -> None:
    """Add to ``found`` the bytes that each set of holders has of one cluster."""
    if len(cluster) == 1:
        start, end, piece = cluster[0]
        # The file system says that somebody else has it too, and it was seen once only.
        found[piece.bits | (piece.shared and piece.seen == 1)] += end - start
        return
    changes = [(start, 1, piece.bits) for start, _end, piece in cluster]
    changes += [(end, -1, piece.bits) for _start, end, piece in cluster]
    present: Counter[int] = Counter()
    before = 0
    for place, change, bits in sorted(changes):
        if place > before and (holders := _union(present)):
            found[holders] += place - before
        present[bits] += change
        before = place


def _union(present: Counter[int]) -> int:
    holders = 0
    for bits, count in present.items():
        if count:
            holders |= bits
    return holders
