"""Figures: a value never stands alone, but beside its reference, its goal and its spread."""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Figure:
    """One measured value. ``met`` is None where no goal is set, ``ratio`` value by reference.

    ``value`` and ``reference_value`` are of ``unit``. ``spread`` tells n, min and max of what
    ``value`` is the median of; ``more`` is what else the measure found.
    """

    name: str
    value: float
    unit: str
    reference: str = ""
    reference_value: float | None = None
    goal: str = ""
    met: bool | None = None
    spread: dict[str, float] = field(default_factory=dict)
    more: dict[str, Any] = field(default_factory=dict)

    @property
    def ratio(self) -> float | None:
        """The value in units of its reference."""
        if not self.reference_value:
            return None
        return round(self.value / self.reference_value, 3)

    def as_dict(self) -> dict[str, Any]:
        """Return it as build/bench.json holds it."""
        return {**asdict(self), "ratio": self.ratio}


def median(values: Sequence[float]) -> float:
    """Return the median, to a tenth of a thousandth."""
    return round(statistics.median(values), 4)


def spread(values: Sequence[float]) -> dict[str, float]:
    """Return how many values there are, the least and the greatest."""
    return {"n": len(values), "min": round(min(values), 4), "max": round(max(values), 4)}


def of(name: str, values: Sequence[float], unit: str = "s", **rest: Any) -> Figure:
    """Return the median of ``values`` as a figure with its spread."""
    return Figure(name, median(values), unit, spread=spread(values), **rest)


def write(figures: Sequence[Figure], path: Path) -> None:
    """Write the figures; those that a former run found and this one did not are kept."""
    found = {figure.name: figure.as_dict() for figure in figures}
    try:
        former = {entry["name"]: entry for entry in json.loads(path.read_text())}
    except (FileNotFoundError, ValueError):
        former = {}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps([*({**former, **found}).values()], indent=2) + "\n")


def shown(value: float | None, unit: str) -> str:
    """Return a value for the table."""
    if value is None:
        return ""
    if unit == "s":
        return f"{value:.3f} s"
    return f"{value:.1f} {unit}" if value % 1 else f"{value:.0f} {unit}"


def table(figures: Sequence[Figure]) -> str:
    """Return the figures as a table for people."""
    head = ("figure", "value", "n", "min – max", "reference", "ratio", "goal", "met")
    rows = [head]
    for figure in figures:
        extent = figure.spread
        limits = f"{extent['min']:.3f} – {extent['max']:.3f}" if extent.get("n", 1) > 1 else ""
        beside = shown(figure.reference_value, figure.unit)
        rows.append(
            (
                figure.name,
                shown(figure.value, figure.unit),
                f"{extent.get('n', 1):.0f}",
                limits,
                f"{figure.reference} {beside}".strip(),
                f"{figure.ratio:.2f}" if figure.ratio is not None else "",
                figure.goal,
                {True: "yes", False: "NO", None: ""}[figure.met],
            )
        )
    widths = [max(len(row[n]) for row in rows) for n in range(len(head))]
    lines = ["  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)) for row in rows]
    lines.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join(line.rstrip() for line in lines)


def parts(figures: Sequence[Figure]) -> str:
    """Return, for the figures that know it, where the time goes: the longest part first."""
    lines = []
    for figure in figures:
        seconds = figure.more.get("seconds_of")
        if seconds:
            ordered = sorted(seconds.items(), key=lambda pair: -pair[1])
            told = ", ".join(f"{name} {1000 * value:.0f}" for name, value in ordered)
            lines.append(f"\n{figure.name}, ms: {told}")
    return "".join(lines)
