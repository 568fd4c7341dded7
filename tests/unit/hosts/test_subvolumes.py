"""Subvolumes are removed with those within, however many lie in one another; a pretended kernel."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from corpus.hosts import subvolumes


class Kernel:
    """Directories of a tree are subvolumes; one goes when none is within and it is writable."""

    def __init__(self, patch: pytest.MonkeyPatch, top: Path) -> None:
        self.there = {top}
        self.read_only = set[Path]()
        patch.setattr(subvolumes, "call", self.destroy)
        patch.setattr(subvolumes, "set_read_only", self.set_read_only)
        patch.setattr(subvolumes, "nested", self.nested)

    def nested(self, path: Path) -> list[Path]:
        return [one for one in self.there if one.parent == path]

    def set_read_only(self, path: Path, wanted: bool) -> None:
        (self.read_only.add if wanted else self.read_only.discard)(path)

    def destroy(self, folder: Path, request: int, argument: bytearray) -> None:
        path = folder / bytes(argument[8:]).partition(b"\0")[0].decode()
        if path in self.read_only:
            raise OSError(errno.EROFS, "")
        if self.nested(path):
            raise OSError(errno.ENOTEMPTY, "")
        self.there.remove(path)


def test_a_thousand_within_one_another_go(monkeypatch: pytest.MonkeyPatch) -> None:
    top = Path("/top")
    kernel = Kernel(monkeypatch, top)
    deepest = top
    for _ in range(1200):
        deepest = deepest / "d"
        kernel.there.add(deepest)
    kernel.there |= {top / "beside", top / "d/beside"}
    kernel.read_only |= {top / "d", deepest}
    subvolumes.delete(top)
    assert kernel.there == set()


def test_one_that_stays_full_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = Kernel(monkeypatch, Path("/top"))
    kernel.there.add(Path("/top/d"))
    monkeypatch.setattr(subvolumes, "nested", lambda path: [])
    with pytest.raises(OSError, match="39"):
        subvolumes.delete(Path("/top"))
