"""What the root of an environment can write over its size, in each kind of storage."""

from __future__ import annotations

import json
from typing import Any

from bench.figures import Figure
from bench.stage import Stage, say, script
from corpus.lab import tenant

KINDS = ("quota", "image", "plain")
_MB = 1e6
_OVER = 0.02  # of its size, that what is accounted may be above it


def measure(stage: Stage, runs: int) -> list[Figure]:
    """Try every way in every kind, ``runs`` times; of several the largest figure counts."""
    made: list[Figure] = []
    try:
        for kind in KINDS:
            found = []
            for _ in range(runs):
                say(f"an environment writes more than it may: {kind}")
                output = script(stage.lab.node(), "quota", kind, timeout=1800, beside=("overrun",))
                found.append(json.loads(output.splitlines()[-1]))
            made += figures(kind, found)
    finally:
        tenant.prepare(stage.lab)
    return made


def figures(kind: str, found: list[dict[str, Any]]) -> list[Figure]:
    """Return a figure for each way that there is in this kind."""
    size = found[0]["size"]
    return [
        _figure(kind, way, size, [one["ways"][way] for one in found])
        for way, one in found[0]["ways"].items()
        if not str(one["error"]).startswith("not there")
    ]


def _figure(kind: str, way: str, size: int, runs: list[dict[str, Any]]) -> Figure:
    worst = max(runs, key=lambda one: one["taken"])
    enforced = worst["accounted"] is not None
    met = max(one["accounted"] or 0 for one in runs) <= (1 + _OVER) * size
    return Figure(
        f"quota.{kind}.{way}",
        round((worst["taken"] - size) / _MB, 1),
        "MB",
        reference="its size",
        reference_value=round(size / _MB, 1),
        goal=f"accounted <= size + {_OVER:.0%}" if enforced else "",
        met=met if enforced else None,
        more={
            "held": worst["size"],
            "taken": worst["taken"],
            "accounted": worst["accounted"],
            "ended_by": worst["error"] or "nothing",
        },
    )
