"""What a run found, for people (Markdown), for programs (JSON) and for the reference."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from faults.cells import FAULTS, STEPS, WAY_BACK, Cell

BUILD = Path("build")
JSON = BUILD / "faults.json"
LOGS = BUILD / "faults"
REFERENCE = Path("docs/reference/faults.md")
_SIGN = {"pass": "✔", "fail": "**✘**"}


@dataclass(frozen=True)
class Row:
    """One cell with what became of it: pass, fail or n/a."""

    cell: Cell
    outcome: str
    why: str = ""

    def as_dict(self) -> dict[str, str]:
        """Return it as plain values."""
        return {"cell": self.cell.name, "outcome": self.outcome, "why": self.why}


def write_json(rows: Iterable[Row], path: Path = JSON) -> None:
    """Write the outcome of every cell."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps([row.as_dict() for row in rows], indent=2) + "\n")


def read_json(path: Path = JSON) -> dict[str, tuple[str, str]]:
    """Return outcome and reason of every cell that the last run wrote, by its name."""
    if not path.exists():
        return {}
    return {row["cell"]: (row["outcome"], row["why"]) for row in json.loads(path.read_text())}


def write_log(row: Row, lines: Sequence[str]) -> Path:
    """Keep what was said in a cell that failed."""
    LOGS.mkdir(parents=True, exist_ok=True)
    name = "".join(c if c.isalnum() else "-" for c in row.cell.name)
    path = LOGS / f"{name}.log"
    path.write_text("\n".join([row.cell.name, row.why, "", *lines]) + "\n")
    return path


def counts(rows: Sequence[Row]) -> str:
    """Return how many cells there are and how they went."""
    number = {kind: sum(row.outcome == kind for row in rows) for kind in ("pass", "fail", "n/a")}
    return (
        f"{len(rows)} cells: {number['pass']} pass, {number['fail']} fail, "
        f"{number['n/a']} are not applicable"
    )


def tables(rows: Sequence[Row]) -> str:
    """Return a table of step and fault for each way to deploy."""
    ways = list(dict.fromkeys(row.cell.way for row in rows))
    return "\n\n".join(_table(way, [r for r in rows if r.cell.way == way]) for way in ways)


def _table(way: str, rows: list[Row]) -> str:
    steps = [step for step in [*STEPS[way], *WAY_BACK] if any(r.cell.step == step for r in rows)]
    faults = [fault for fault in FAULTS if any(r.cell.fault == fault for r in rows)]
    notes = _notes(rows)
    lines = [
        f"### {way.capitalize()}",
        "",
        "| step | " + " | ".join(faults) + " |",
        "| --- |" + " --- |" * len(faults),
    ]
    for step in steps:
        there = {fault: [r for r in rows if (r.cell.step, r.cell.fault) == (step, fault)]
                 for fault in faults}  # fmt: skip
        cells = [" ".join(_sign(row, notes) for row in there[fault]) for fault in faults]
        lines.append(f"| {step} | " + " | ".join(cells) + " |")
    lines += ["", *(f"{number}. {why}" for why, number in notes.items())]
    return "\n".join(lines).rstrip()


def _notes(rows: Iterable[Row]) -> dict[str, int]:
    whys = dict.fromkeys(row.why for row in rows if row.outcome == "n/a")
    return {why: number for number, why in enumerate(whys, 1)}


def _sign(row: Row, notes: dict[str, int]) -> str:
    return f"n/a ({notes[row.why]})" if row.outcome == "n/a" else _SIGN[row.outcome]


CELLS = ("<!-- written by make faults -->", "<!-- end -->")
SOAK = ("<!-- written by a soak -->", "<!-- end of the soak -->")


def write_reference(rows: Sequence[Row], path: Path = REFERENCE) -> None:
    """Write the tables of the page of the reference; the prose around them stays."""
    _between(path, CELLS, f"{counts(rows)}.\n\n{tables(rows)}")


def write_soak(seed: int, turns: int, broken: int, path: Path = REFERENCE) -> None:
    """Write into the page of the reference how the last soak went."""
    _between(path, SOAK, f"The last one: seed {seed}, {turns} turns in a row, {broken} broken.")


def _between(path: Path, marks: tuple[str, str], text: str) -> None:
    begin, end = marks
    head, _, rest = path.read_text().partition(begin)
    tail = rest.partition(end)[2]
    path.write_text(f"{head}{begin}\n\n{text}\n\n{end}{tail}")
