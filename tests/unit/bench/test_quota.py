"""Figures of what was written over a size."""

from __future__ import annotations

from typing import Any

from bench import quota

SIZE = 100_000_000


def run(**ways: dict[str, Any]) -> dict[str, Any]:
    usual = {"size": SIZE, "error": "EDQUOT", "taken": SIZE, "accounted": SIZE}
    return {"size": SIZE, "ways": {way: usual | told for way, told in ways.items()}}


def test_the_worst_of_several_runs_counts() -> None:
    found = [run(file={"taken": SIZE + 1_000_000}), run(file={"taken": SIZE + 3_000_000})]
    (figure,) = quota.figures("quota", found)
    assert (figure.name, figure.value, figure.unit) == ("quota.quota.file", 3.0, "MB")
    assert (figure.reference_value, figure.met) == (100.0, True)
    assert figure.more["ended_by"] == "EDQUOT"


def test_what_is_accounted_over_the_size_misses_the_goal() -> None:
    found = [run(file={"accounted": SIZE * 1.03}, threads={})]
    assert [figure.met for figure in quota.figures("image", found)] == [False, True]


def test_where_nothing_is_enforced_there_is_no_goal_and_absent_ways_are_left_out() -> None:
    loose = {"accounted": None, "error": "", "taken": 2 * SIZE}
    found = [run(file=loose, subvolumes={"error": "not there: ENOTTY"})]
    (figure,) = quota.figures("plain", found)
    assert (figure.value, figure.goal, figure.met) == (100.0, "", None)
    assert figure.more["ended_by"] == "nothing"
