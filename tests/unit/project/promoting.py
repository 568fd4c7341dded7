"""A staging and a production environment that are paired, and one who wants a release of them."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from corpus.model.manifest import Manifest
from corpus.project import promotion
from pairs import Pair

C, D = "c" * 40, "d" * 40


@pytest.fixture
def both(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Pair:
    """Return both, paired; whoever waits before another attempt does not wait."""
    made = Pair(tmp_path, monkeypatch)
    made.pair()
    monkeypatch.setattr(time, "sleep", lambda _seconds: None)
    return made


class Told(list[str]):
    """What a person was told."""

    @property
    def text(self) -> str:
        return "\n".join(self)


def obtain(pair: Pair, commit: str = C, wanted: str | None = None) -> tuple[Manifest, Told]:
    """Return the release that production has obtained, and what was told."""
    told = Told()
    return promotion.obtain(pair.prod.project, commit, wanted, told.append), told


def here(pair: Pair) -> list[str]:
    """The files in production's releases/."""
    return sorted(path.name for path in pair.prod.paths.releases.iterdir())
