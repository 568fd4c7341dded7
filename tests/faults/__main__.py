"""``make faults``: break deployments on purpose, in every step and every way.

A lab of its own is made and removed; ``build/faults.json`` and the page
``docs/reference/faults.md`` tell how it went, ``build/faults/`` what was said in cells that
failed.
"""

from __future__ import annotations

import argparse
import random
import shutil
import sys
import tempfile
import time
from pathlib import Path

from corpus.lab import tenant
from corpus.lab.machine import Lab, assert_clean
from corpus.lab.settings import settings_for
from corpus.model.errors import CorpusError
from faults import matrix, report, soak
from faults.cells import FAULTS, MODES, STEPS, WAY_BACK, cells

NAME = "faults"
_ALL_STEPS = list(dict.fromkeys(step for steps in [*STEPS.values(), WAY_BACK] for step in steps))


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    made = argparse.ArgumentParser(prog="make faults", description=__doc__)
    ways = "a push in a mode; a rollback, which a soak has none of"
    made.add_argument("--way", nargs="+", choices=STEPS, default=list(STEPS), help=ways)
    made.add_argument("--step", nargs="+", choices=_ALL_STEPS, default=_ALL_STEPS)
    made.add_argument("--fault", nargs="+", choices=FAULTS, default=list(FAULTS))
    made.add_argument(
        "--again", action="store_true", help="not those that pass in build/faults.json already"
    )
    made.add_argument("--soak", metavar="N", help="N random faults, or for a time such as 600s")
    made.add_argument("--seed", type=int, help="of the soak; one is drawn where none is given")
    made.add_argument("--keep", action="store_true", help="leave the lab up")
    made.add_argument("--lab", default=NAME, help=f"the lab's name (default: {NAME})")
    return made


def main(argv: list[str] | None = None) -> int:
    """Play the cells, or a soak; 0 when nothing is broken."""
    asked = parser().parse_args(argv)
    modes = [way for way in asked.way if MODES[way] == way]
    if asked.soak and not modes:
        parser().error("a soak is of pushes: name a mode of theirs")
    began = time.monotonic()
    lab = Lab(asked.lab, settings_for(asked.lab), say=print)
    folder = Path(tempfile.mkdtemp(prefix="corpus-faults-"))
    shutil.rmtree(report.LOGS, ignore_errors=True)
    try:
        lab.up()
        tenant.prepare(lab)
        if asked.soak:
            seed = asked.seed if asked.seed is not None else random.SystemRandom().randrange(10**6)
            broken = soak.run(lab, folder, modes, seed, *soak.length(asked.soak))
        else:
            broken = _matrix(lab, folder, asked)
    except CorpusError as error:
        print(f"\n{error}", file=sys.stderr)
        return error.exit_code
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        if not asked.keep:
            lab.down()
            assert_clean(asked.lab, lab.settings)
    print(f"{time.monotonic() - began:.0f} s")
    return 1 if broken else 0


def _matrix(lab: Lab, folder: Path, asked: argparse.Namespace) -> int:
    chosen = list(cells(asked.way, asked.step, asked.fault))
    rows = matrix.run(lab, folder, chosen, report.read_json() if asked.again else {})
    whole = (asked.way, asked.step, asked.fault) == (list(STEPS), _ALL_STEPS, list(FAULTS))
    if whole:
        report.write_reference(rows)
    print(f"\n{report.tables(rows)}\n\n{report.counts(rows)}, in {report.JSON}")
    return sum(row.outcome == "fail" for row in rows)


if __name__ == "__main__":
    sys.exit(main())
