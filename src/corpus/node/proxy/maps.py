"""What of the front changes while it runs, without a reload: where host names lead.

Each map is a file of keys and values, and is replaced in the running proxy as a whole.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from corpus.node.proxy.config import ACME, backend_name
from corpus.node.records import Record, Route

HOSTS = "hosts.map"  # a host name: backend|https|hsts
WILDCARDS = "wildcards.map"  # the end of host names: the same, the longest first
MAINTENANCE = "maintenance.map"  # ids of environments
CHALLENGES = "challenges.map"  # host names whose HTTP challenges the node answers
NAMES = (HOSTS, WILDCARDS, MAINTENANCE, CHALLENGES)


def texts(
    records: Iterable[Record],
    routes: Sequence[tuple[Record, Route]],
    challenged: Iterable[str],
) -> dict[str, str]:
    """Return the text of each map; ``challenged`` are the names of ``CHALLENGES``."""
    exact = [(route.host, target(record, route)) for record, route in routes
             if not route.host.startswith("*.")]  # fmt: skip
    below = [(route.host[1:], target(record, route)) for record, route in routes
             if route.host.startswith("*.")]  # fmt: skip
    below.sort(key=lambda line: (-len(line[0]), line[0]))
    return {
        HOSTS: _lines(exact),
        WILDCARDS: _lines(below),
        MAINTENANCE: _lines([(record.id, "on") for record in records if record.maintenance]),
        CHALLENGES: _lines([(host, f"{ACME}|both|0") for host in sorted(challenged)]),
    }


def target(record: Record, route: Route) -> str:
    """Return what a host name leads to."""
    return f"{backend_name(record.id, route)}|{route.https}|{route.hsts}"


def _lines(pairs: Iterable[tuple[str, str]]) -> str:
    return "".join(f"{key} {value}\n" for key, value in pairs)
