"""Subvolumes at the bottom of very deep directories: paths are bounded; a pretended kernel."""

from __future__ import annotations

import errno
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from corpus.hosts import beneath, nested, subvolume_names, subvolumes
from corpus.model.errors import Conflict
from corpus.node.context import Node
from corpus.node.settings import Settings
from corpus.node.storage.quota import QuotaVolumes

TOP, FIRST = 5, 256
ROOT_TREE = 1


class Kernel:
    """Subvolumes, by ids, in directories that lie in a chain: inode 256 + N is N below the top.

    A directory that is moved to the top begins there.
    """

    def __init__(self, patch: pytest.MonkeyPatch, depth: int, count: int, name: bytes) -> None:
        self.name = name
        self.there = {1000 + number: FIRST + depth for number in range(count)}
        self.up: dict[int, bytes] = {}
        self.walked = 0
        patch.setattr("fcntl.ioctl", self.ioctl)
        patch.setattr(subvolume_names, "number", lambda _: TOP)
        patch.setattr(subvolume_names, "_search", self.search)

    def ioctl(self, _: int, request: int, argument: bytearray) -> None:
        if request != nested._GET_SUBVOL_ROOTREF:  # all paths are too long for the answer
            raise OSError(errno.ENAMETOOLONG, "")
        least = struct.unpack_from("<Q", argument)[0]
        found = sorted((id, folder) for id, folder in self.there.items() if id >= least)
        for place, one in enumerate(found[:255]):
            struct.pack_into("<QQ", argument, 8 + place * 16, *one)
        argument[8 + 255 * 16] = len(found[:255])
        if len(found) > 255:
            raise OSError(errno.EOVERFLOW, "")

    def search(
        self, handle: int, tree: int, object: int, kind: int, first: int = 0
    ) -> Iterator[tuple[int, bytes]]:
        if tree == ROOT_TREE:
            for id, folder in sorted(self.there.items()):
                if object == TOP and id >= first:
                    name = b"v%d" % id
                    yield id, struct.pack("<QQH", folder, 0, len(name)) + name
            return
        self.walked += 1
        name = self.up.get(object, self.name)
        above = FIRST if object in self.up else object - 1
        yield above, struct.pack("<QH", 0, len(name)) + name


def test_a_listing_holds_64_mib_of_paths_at_the_most(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    kernel = Kernel(monkeypatch, 2000, 1000, b"n" * 255)  # of half a MiB each
    with pytest.raises(Conflict, match="more than 64 MiB") as caught:
        nested.inner(3)
    assert "have the environment remove them" in str(caught.value.mend)
    with pytest.raises(Conflict, match="64 MiB"):
        subvolume_names.below(tmp_path)
    assert QuotaVolumes(Node(Settings(prefix=tmp_path), None)).parts(tmp_path) is None  # type: ignore
    assert kernel.walked == 3 * 2000  # once each


def test_many_short_names_count_too(monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = Kernel(monkeypatch, 1 << 21, 1, b"n")
    with pytest.raises(Conflict, match="64 MiB"):
        nested.inner(3)
    assert kernel.walked < 1 << 19


def test_what_lies_before_the_paths_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    Kernel(monkeypatch, 2, 100, b"n")
    assert [one.path for one in nested.inner(3)][:2] == [b"n/n/v1000", b"n/n/v1001"]
    with pytest.raises(Conflict):
        nested.inner(3, subvolume_names.Paths(), b"x" * (1 << 20))


def test_removal_holds_one_path_and_moves_what_is_deep_up(monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = Kernel(monkeypatch, 30_000, 600, b"n" * 255)  # 4 GiB of paths
    opened: list[bytes] = []
    moved: list[tuple[int, bytes]] = []

    @contextmanager
    def open_(path: bytes, folder: int) -> Iterator[int]:
        opened.append(path)
        yield 7

    def rename(name: bytes, new: bytes, *, src_dir_fd: int, dst_dir_fd: int) -> None:
        names = [*opened[-1].split(b"/"), name]
        inodes = {name: inode for inode, name in kernel.up.items()}
        inode = inodes[names[0]] + len(names) - 1 if names[0] in inodes else FIRST + len(names)
        kernel.up[inode] = new
        moved.append((inode, new))

    def destroy(folder: int, name: bytes) -> bool:
        del kernel.there[int(name[1:])]
        return True

    monkeypatch.setattr(beneath, "opened", open_)
    monkeypatch.setattr(os, "rename", rename)
    monkeypatch.setattr(subvolumes, "destroy", destroy)
    monkeypatch.setattr(subvolumes, "set_read_only", lambda *_: None)
    assert nested._emptied(3, 4) == []
    assert kernel.there == {}
    assert max(path.count(b"/") for path in opened) < 1000
    assert [inode - FIRST for inode, _ in moved] == list(range(1000, 30_000, 999))
    assert kernel.walked < 30_000 + 600 * 1000
