"""``python -m corpus.project hold``: at boot, before any service starts, hold the traffic of
projects whose deployment was cut off; the deploy service then finishes it and admits it.

In editable mode services run from the checkout, so that is put back to what is live here.
"""

from __future__ import annotations

import sys

from corpus.model.deployment import DeploymentId
from corpus.model.errors import CorpusError
from corpus.project import binding, editable, journal, traffic, worktree
from corpus.project.ledger import Ledger
from corpus.project.log import Log
from corpus.project.place import Place, Project


def hold_unfinished(place: Place) -> list[int]:
    """Hold the ports of every project with an unfinished deployment; return them."""
    held: set[int] = set()
    for name in place.names():
        try:
            held |= _to_hold(Project.existing(place, name))
        except Exception as error:  # one that is damaged must not keep the others from it
            print(f"{name}: {error!r}", file=sys.stderr)
    traffic.hold(place, sorted(held))
    return sorted(held)


def _to_hold(project: Project) -> set[int]:
    """Return the ports to hold of one project, whose checkout is put back too."""
    history = journal.read(project.paths.journal)
    live = Ledger(project.paths.ledger).live()
    if history and not history.live and binding.is_bound(project):
        _put_back(project, history, live.commit if live else "")
    if not history or "hold" not in history.begun:
        return set()
    both = (history.facts.get("runtime", {}), live.runtime if live else {})
    return {int(port) for runtime in both for port in runtime.get("ports", [])}


def _put_back(project: Project, history: journal.History, live: str) -> None:
    """Put the checkout back; what hinders it is for the deploy service to say."""
    identity = DeploymentId.parse(history.header["id"])
    record = journal.Journal(project.paths.journal)
    log = Log(project.paths.log(identity), lambda line: print(line, file=sys.stderr))
    try:
        # First: once the commit of before is checked out, nothing tells what lies over it.
        if editable.put_back(project, identity, record, log.alarm):
            worktree.put_back(project, str(history.header["commit"]), live)
    except (CorpusError, OSError) as error:
        print(f"{project.name}: {error}", file=sys.stderr)
    finally:
        log.close()


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
