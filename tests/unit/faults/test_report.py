"""What a run writes into the reference, and what it leaves alone."""

from __future__ import annotations

from pathlib import Path

from faults import report
from faults.cells import FAILS, KILL, Cell
from faults.report import Row

PAGE = (
    f"prose\n{report.CELLS[0]}\nold\n{report.CELLS[1]}\nmore\n{report.SOAK[0]}\n{report.SOAK[1]}\n"
)
ROWS = [
    Row(Cell("cooking", "data", FAILS), "n/a", "no phase"),
    Row(Cell("cooking", "data", KILL), "pass"),
    Row(Cell("cooking", "data", KILL, "end"), "fail", "it broke"),
]


def test_the_page(tmp_path: Path) -> None:
    page = tmp_path / "faults.md"
    page.write_text(PAGE)
    for _ in range(2):
        report.write_reference(ROWS, page)
        report.write_soak(7, 200, 0, page)
    text = page.read_text()
    assert text.startswith("prose\n")
    assert "\nmore\n" in text
    assert "old" not in text
    assert "3 cells: 1 pass, 1 fail, 1 are not applicable" in text
    assert "| data | n/a (1) | ✔ **✘** |" in text
    assert "1. no phase" in text
    assert text.count("seed 7, 200 turns in a row, 0 broken") == 1


def test_the_json(tmp_path: Path) -> None:
    report.write_json(ROWS, tmp_path / "faults.json")
    text = (tmp_path / "faults.json").read_text()
    assert '"cell": "cooking: data: kill -9 (end)"' in text
    assert '"outcome": "fail"' in text
    known = report.read_json(tmp_path / "faults.json")
    assert known["cooking: data: kill -9 (end)"] == ("fail", "it broke")
    assert report.read_json(tmp_path / "absent") == {}
