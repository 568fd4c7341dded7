"""Fifty environments on one node: what grows with their number, and what stays."""

from __future__ import annotations

import json
from typing import Any

from bench.figures import Figure, of
from bench.stage import Stage, say, script

_COUNT = 50
_FEW = 5  # creates at the beginning, and at the end, that are compared
_GROWTH = 1.25  # that the last creates may take, of the first ones
_LIST = 0.05  # seconds for all: a tenth of what one call of salt-call takes by itself
_ONE = 1.5  # that one environment among all may take, of one alone
_NOISE = 0.001  # seconds
_MB = 1e6


def measure(stage: Stage, runs: int) -> list[Figure]:
    """Measure ``_COUNT`` environments, ``runs`` times after each other."""
    made: list[Figure] = []
    for _ in range(runs):
        say(f"{_COUNT} environments made, rebooted and removed")
        output = script(
            stage.lab.node(), "scale", str(_COUNT), timeout=1800, beside=("memory", "waiting")
        )
        made = figures(json.loads(output))
    return made


def figures(found: dict[str, Any]) -> list[Figure]:
    """Return what the program found."""
    return [*_creates(found), *_looks(found), *_memory(found), *_whole(found)]


def _creates(found: dict[str, Any]) -> list[Figure]:
    taken = found["create"]
    first, last = of("", taken[:_FEW]).value, of("", taken[-_FEW:]).value
    tenths = {
        str(number): round(taken[number - 1], 4) for number in (1, *range(10, _COUNT + 1, 10))
    }
    return [
        of(f"scale.create.{_COUNT}", taken[-_FEW:], reference=f"the first {_FEW}",
           reference_value=first, goal=f"<= {_GROWTH:g} x the first", met=last <= _GROWTH * first,
           more={"seconds_at": tenths}),
    ]  # fmt: skip


def _looks(found: dict[str, Any]) -> list[Figure]:
    looks = found["looks"]
    alone, full = looks["1"], looks[str(_COUNT)]
    figures = [
        Figure(f"scale.list.{_COUNT}", full["list"], "s", reference="of one",
               reference_value=alone["list"], goal=f"<= {_LIST:g} s", met=full["list"] <= _LIST,
               more={"seconds_at": {at: look["list"] for at, look in looks.items()}}),
    ]  # fmt: skip
    for name in ("inspect", "usage"):
        met = full[name] <= _ONE * alone[name] + _NOISE
        figures.append(
            Figure(f"scale.{name}.{_COUNT}", full[name], "s", reference="alone",
                   reference_value=alone[name], goal=f"<= {_ONE:g} x alone", met=met,
                   more={"seconds_at": {at: look[name] for at, look in looks.items()}})
        )  # fmt: skip
    return figures


def _memory(found: dict[str, Any]) -> list[Figure]:
    (alone, _), (together, cpus) = found["alone"], found["together"]
    return [
        of(f"scale.idle.pss.{_COUNT}", [size / _MB for size in together], "MB",
           reference="alone", reference_value=alone[0] / _MB,
           more={"all": sum(together) / _MB}),
        Figure(f"scale.idle.cpu.{_COUNT}", round(100 * cpus, 2), "% of a CPU",
               reference="alone", reference_value=round(100 * found["alone"][1], 2)),
    ]  # fmt: skip


def _whole(found: dict[str, Any]) -> list[Figure]:
    removed, one = found["destroy"], of("", found["create"]).value
    first, last = removed[:_FEW], removed[-_FEW:]
    few, many = of("", last).value, of("", first).value
    return [
        Figure(f"scale.boot.{_COUNT}", found["boot to SSH"], "s",
               reference=f"{_COUNT} x create", reference_value=_COUNT * one,
               more={"started": found["boot"], "each serves a push": found["boot to push"]}),
        Figure(f"scale.halt.{_COUNT}", found["halt"], "s"),
        of(f"scale.destroy.{_COUNT}", first, reference=f"the last {_FEW}", reference_value=few,
           goal=f"<= {_GROWTH:g} x the last", met=many <= _GROWTH * few),
    ]  # fmt: skip
