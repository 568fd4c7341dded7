"""An environment with 1 GB, a writer and 50 requests a second moves to another node and back."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import PurePosixPath
from typing import Any

from tests.load import Load
from tests.moving import PORT, SERVICE, UNIT

from bench.figures import Figure, median, of
from bench.stage import Stage, say
from bench.traffic import Tally
from corpus.hosts.container import Container
from corpus.lab import salt, tenant
from corpus.lab.machine import Lab
from corpus.lab.tenant import LXCPATH, Environment

HOST_NAME = "moving.localhost"
_GOAL = 1.5  # seconds that requests are held
_RATE = 50.0
# A thousand directories with twenty files of 52 kB each: 1 GB.
_FILL = """
import os
for number in range(1000):
    os.makedirs(f"/srv/data/{number}")
    for inner in range(20):
        with open(f"/srv/data/{number}/{inner}", "wb") as file:
            file.write(os.urandom(52_000))
"""


def measure(stage: Stage, runs: int) -> list[Figure]:
    """Move it ``runs`` times in each direction; once stopped before, as the reference."""
    lab = stage.lab
    lab.grow(2)
    tenant.prepare(lab, 2)
    with _linked(lab), _filled(stage) as environment:
        tally, found = Tally(), []
        for number in range(2 * runs):
            source, target = (1, 2) if number % 2 == 0 else (2, 1)
            say(f"from node{source} to node{target} under load")
            found.append(_under_load(lab, environment.id, source, target, tally))
        say("the same, stopped before: a cold copy")
        cold = _cold(lab, environment.id)
    held = [one["downtime"] for one in found]
    steps = {name: median([one["steps"][name] for one in found]) for name in found[0]["steps"]}
    return [
        of("migration.held", held, reference="cold copy", reference_value=cold,
           goal=f"<= {_GOAL:g} s", met=median(held) <= _GOAL,
           more={"seconds_of": steps, "passes": found[-1]["passes"]}),
        of("migration.longest-wait", tally.waits),
        Figure("migration.failed", len(tally.failures), f"of {tally.sent}", goal="0",
               met=not tally.failures, more={"what": tally.failures[:5]}),
        Figure("migration.lost", tally.lost + tally.twice, "posts", goal="0",
               met=tally.lost + tally.twice == 0),
    ]  # fmt: skip


def _call(lab: Lab, node: int, function: str, *words: Any, **values: Any) -> Any:
    return salt.call(lab.node(node), f"corpus_node.{function}", *words, **values)


@contextmanager
def _linked(lab: Lab) -> Iterator[None]:
    """Have the two nodes know each other."""
    for here, there in ((1, 2), (2, 1)):
        identity = _call(lab, there, "peer_identity")
        _call(lab, here, "peer_add", f"node{there}", peer=json.dumps(identity))
    yield
    for here, there in ((1, 2), (2, 1)):
        _call(lab, here, "peer_remove", f"node{there}")


@contextmanager
def _filled(stage: Stage) -> Iterator[Environment]:
    """Make the environment that is moved; it is back on the first node in the end."""
    with stage.environment(size="6G") as made:
        made.host.run(["python3", "-c", _FILL], timeout=300)
        made.host.put(PurePosixPath("/srv/service.py"), SERVICE.encode())
        made.host.put(PurePosixPath("/etc/systemd/system/service.service"), UNIT.encode())
        made.host.run(["systemctl", "enable", "--quiet", "--now", "service"])
        made.route(HOST_NAME, PORT)
        try:
            yield made
        finally:
            _call(stage.lab, 2, "destroy", made.id)


def _under_load(lab: Lab, id: str, source: int, target: int, tally: Tally) -> dict[str, Any]:
    prefix = f"{time.monotonic_ns()}-"
    port = lab.member(source).member.http_port
    load = Load(port, HOST_NAME, rate=_RATE, prefix=prefix).start()
    try:
        done: dict[str, Any] = _call(lab, source, "migrate", id, f"node{target}")
    finally:
        load.finish()
    inside = Container(id, lab.node(target), LXCPATH)
    entries = inside.run(["cat", "/srv/entries"]).out.split()
    tally.take(load, [entry for entry in entries if entry.startswith(prefix)])
    return done


def _cold(lab: Lab, id: str) -> float:
    """Return for how long it is away that is stopped, sent and started."""
    begun = time.monotonic()
    _call(lab, 1, "stop", id)
    _call(lab, 1, "migrate", id, "node2")
    _call(lab, 2, "start", id)
    return time.monotonic() - begun
