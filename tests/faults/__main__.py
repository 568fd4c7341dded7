"""``make faults``: break deployments on purpose and write ``build/faults.json``.

A cell is a step of the transaction × a fault. Each is a test of ``tests/e2e/test_kills.py``
on the test lab; what a cell asserts is there.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

OUTPUT = Path("build/faults.json")
CELLS = "tests/e2e/test_kills.py"


class Collector:
    """Turn pytest's reports into the rows of the matrix."""

    def __init__(self) -> None:
        self.rows: dict[str, dict[str, str]] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when != "call" and report.passed:
            return
        cell = report.nodeid.partition("[")[2].rstrip("]") or report.nodeid
        why = "" if report.passed else str(report.longrepr).strip().splitlines()[-1]
        outcome = "n/a" if report.skipped else "pass" if report.passed else "fail"
        self.rows[cell] = {"cell": cell, "outcome": outcome, "why": why}


def main() -> int:
    """Run every cell; 0 when none failed."""
    collector = Collector()
    code = pytest.main(["-q", CELLS, *sys.argv[1:]], plugins=[collector])
    OUTPUT.parent.mkdir(exist_ok=True)
    OUTPUT.write_text(json.dumps(list(collector.rows.values()), indent=2) + "\n")
    for row in collector.rows.values():
        print(f"{row['outcome']:5} {row['cell']}  {row['why']}")
    print(f"{len(collector.rows)} cells in {OUTPUT}")
    return int(code)


if __name__ == "__main__":
    sys.exit(main())
