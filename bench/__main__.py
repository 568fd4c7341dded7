"""``python -m bench``: measure, print a table, write build/bench.json."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from bench import (
    data,
    figures,
    lifecycle,
    memory,
    migration,
    neighbours,
    peers,
    promote,
    push,
    quota,
    release,
    scale,
    traffic,
)
from bench.figures import Figure
from bench.stage import NAME, Stage, load_average
from corpus.model.errors import CorpusError

OUTPUT = Path("build/bench.json")
MEASURES: dict[str, tuple[Callable[[Stage, int], list[Figure]], int, str]] = {
    "push": (push.measure, 10, "one-line change to live: static, guestbook; floor, salt-call"),
    "promote": (promote.measure, 5, "a baked commit to live in production, beside rsync"),
    "data": (data.measure, 5, "backup and restore of data, 10 MB and 1 GB, three ways"),
    "release": (release.measure, 3, "make, check, unpack a release of 1 GB, and the bare tools"),
    "traffic": (traffic.measure, 1, "100 requests a second during a good and a bad push"),
    "memory": (memory.measure, 3, "idle memory of an environment and of the deploy service"),
    "lifecycle": (lifecycle.measure, 5, "create, stop, start, destroy of an environment"),
    "peers": (peers.measure, 7, "an environment's life beside LXD, same image, same pool"),
    "migration": (migration.measure, 3, "1 GB moves to another node under load, and back"),
    "quota": (quota.measure, 1, "what a guest can write over its size, in each kind of storage"),
    "neighbours": (neighbours.measure, 5, "p99 next door to bombs, beside busy loops"),
    "scale": (scale.measure, 1, "fifty environments: what grows with their number"),
}


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    listed = "\n".join(f"  {name:10} {told} (runs: {n})" for name, (_, n, told) in MEASURES.items())
    made = argparse.ArgumentParser(
        prog="python -m bench",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description=f"Measure corpus on a lab of its own ({NAME}), which is made for it and "
        "removed\nafterwards. Each figure stands beside a reference of the same run.",
        epilog=f"measures:\n{listed}\n\nexamples:\n"
        "  python -m bench                              all of them, some thirty minutes\n"
        "  python -m bench --only push --runs 10        one of them\n"
        "  python -m bench --only push memory --keep    and leave the lab up for the next run\n\n"
        f"The figures are written to {OUTPUT}; docs/reference/bench.md says what each means.\n"
        "Exit code: 0 when every goal is met, 1 when one is not, 2 and up for errors.",
    )
    made.add_argument("--only", nargs="+", choices=MEASURES, metavar="MEASURE",
                      help="which measures, instead of all")  # fmt: skip
    made.add_argument("--runs", type=int, metavar="N", help="how often, instead of the usual")
    made.add_argument("--keep", action="store_true", help="leave the lab up")
    made.add_argument("--output", type=Path, default=OUTPUT, metavar="FILE",
                      help=f"where the figures go (default: {OUTPUT})")  # fmt: skip
    return made


def main(argv: list[str] | None = None) -> int:
    """Measure what is asked; 0 when every goal is met."""
    asked = parser().parse_args(argv)
    if asked.runs is not None and asked.runs < 1:
        parser().error("--runs is at least 1")
    began, burden = time.monotonic(), load_average()
    found: list[Figure] = []
    stage = Stage()
    try:
        try:
            print("==> the lab", flush=True)
            stage.open()
            for name in asked.only or MEASURES:
                measure, usual, told = MEASURES[name]
                print(f"==> {name}: {told}", flush=True)
                before = load_average()
                new = measure(stage, asked.runs or usual)
                around = {"load_average": [before, load_average()]}
                found += [replace(figure, more={**figure.more, **around}) for figure in new]
        finally:
            stage.close(keep=asked.keep)
    except CorpusError as error:
        print(f"\n{error}", file=sys.stderr)
        return error.exit_code
    figures.write(found, asked.output)
    print(f"\n{figures.table(found)}\n{figures.parts(found)}")
    missed = [figure.name for figure in found if figure.met is False]
    print(
        f"\n{len(found)} figures in {time.monotonic() - began:.0f} s, written to {asked.output}; "
        f"load average before: {burden:.1f}\n"
        + (f"goals not met: {', '.join(missed)}" if missed else "every goal is met")
    )
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
