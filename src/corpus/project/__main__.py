"""``python -m corpus.project hold``: at boot, before any service starts, hold the traffic of
projects whose deployment was cut off; the deploy service then finishes it and admits it."""

from __future__ import annotations

import sys

from corpus.project import journal, traffic
from corpus.project.ledger import Ledger
from corpus.project.place import Place, Project


def hold_unfinished(place: Place) -> list[int]:
    """Hold the ports of every project with an unfinished deployment; return them."""
    held: set[int] = set()
    for name in place.names():
        project = Project.existing(place, name)
        history = journal.read(project.paths.journal)
        if history and "hold" in history.begun:
            live = Ledger(project.paths.ledger).live()
            for runtime in (history.facts.get("runtime", {}), live.runtime if live else {}):
                held |= {int(port) for port in runtime.get("ports", [])}
    traffic.hold(place, sorted(held))
    return sorted(held)


def main() -> int:
    """Run the one command."""
    if sys.argv[1:] != ["hold"]:
        print(__doc__, file=sys.stderr)
        return 2
    ports = hold_unfinished(Place())
    print(f"held: {ports}" if ports else "nothing to hold")
    return 0


if __name__ == "__main__":
    sys.exit(main())
