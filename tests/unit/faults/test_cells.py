"""The table of the fault matrix has every step and every phase, and knows what it says."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from corpus.model.deployment import Kind, Outcome
from corpus.model.mode import Mode
from corpus.project import journal, steps
from corpus.project.phases import EXTRA, PHASES
from faults.cells import CORRUPT, FAILS, FAULTS, MODES, STEPS, WAY_BACK, cells
from faults.soak import length, throw
from faults.subject import PHASE_OF

EVERY = list(
    cells(list(STEPS), sorted({s for of in [*STEPS.values(), WAY_BACK] for s in of}), list(FAULTS))
)


@pytest.mark.parametrize("way", STEPS)
def test_the_steps_are_those_of_the_transaction(way: str) -> None:
    begun = steps.ROLLBACK if way == Kind.ROLLBACK else steps.OF_MODE[Mode(way)]
    assert STEPS[way] == [*(step.name for step in begun), "live"]


def test_the_marks_of_the_way_back_are_the_journals() -> None:
    assert set(WAY_BACK) == set(journal.MARKS)


def test_each_cell_is_there_once() -> None:
    assert max(Counter(EVERY).values()) == 1
    assert max(Counter(cell.name for cell in EVERY).values()) == 1


def test_a_cell_is_played_or_says_why_not() -> None:
    for cell in EVERY:
        if cell.why_not:
            assert " " in cell.why_not, cell.name
        else:
            assert cell.outcome == "" or cell.outcome in list(Outcome), cell.name


def test_a_state_fails_where_a_phase_runs() -> None:
    assert set(PHASE_OF.values()) <= {*PHASES, *EXTRA}
    played = {cell.step for cell in EVERY if cell.fault == FAILS and not cell.why_not}
    assert played == {*PHASE_OF, "preflight"}


def test_only_final_mode_reads_releases() -> None:
    played = {(c.way, c.step) for c in EVERY if c.fault == CORRUPT and not c.why_not}
    assert played == {("final", "fetch"), ("final", "unpack")}


def test_the_seed_of_a_soak_repeats_its_choices() -> None:
    first, second = ([throw(random.Random(7), mode) for mode in MODES.values()] for _ in range(2))
    assert first == second
    assert length("200") == (200, float("inf"))
    assert length("60s")[1] == 60
