"""A few cells of the fault matrix; ``make faults`` plays them all."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from corpus.lab.machine import Lab
from faults.cells import DROP, FAILS, FULL, KILL, RESTORE, SLAY, STOP, Cell
from faults.play import play
from faults.stand import Stand
from faults.visitors import Visitors
from sites import lab, prepared

__all__ = ["lab", "prepared"]

CELLS = [
    Cell("cooking", "build", SLAY),
    Cell("cooking", "swap", KILL, "end"),
    Cell("cooking", "start", STOP),
    Cell("cooking", "data", FULL),
    Cell("cooking", "live", FULL),
    Cell("cooking", "live", KILL),
    Cell("cooking", "health", DROP),
    Cell("cooking", "start", RESTORE),
    Cell("cooking", "rollback", KILL, "end"),
    Cell("cooking", "resume", SLAY),
    Cell("rollback", "revert", FAILS),
    Cell("rollback", "revert", KILL, "end"),
    Cell("rollback", "take", DROP),
]


@dataclass
class Theatre:
    """A stand with its visitors."""

    stand: Stand
    visitors: Visitors


@pytest.fixture(scope="module")
def theatre(prepared: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Theatre]:
    folder: Path = tmp_path_factory.mktemp("faults")
    stand = Stand.make(prepared, "cooking", "faulty", folder)
    try:
        yield Theatre(stand, Visitors(*stand.http))
    finally:
        stand.close()


@pytest.mark.parametrize("cell", CELLS, ids=lambda cell: cell.name)
def test_cell(theatre: Theatre, cell: Cell) -> None:
    assert not cell.why_not
    assert play(theatre.stand, theatre.visitors, cell) == []
