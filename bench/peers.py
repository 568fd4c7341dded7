"""The same life of the same image on the same pool, with corpus and with LXD, in turns."""

from __future__ import annotations

import json
import time
from typing import Any

from bench import lxd
from bench.figures import Figure, median, of
from bench.stage import Stage, say, script
from corpus.lab.tenant import Environment

_CROWD = 10
_MB = 1e6
_GOALS = {"create": 0.5}  # of LXD's time
TIMES = {
    "create": "create",
    "stop": "stop",
    "start": "start",
    "snapshot": "snapshot",
    "restore": "restore",
    "destroy": "destroy",
    f"create {_CROWD}": "create-ten-at-once",
    f"destroy {_CROWD}": "destroy-ten-at-once",
}


def measure(stage: Stage, runs: int) -> list[Figure]:
    """Measure on the node, both in one process; ours once more through ``salt-call``."""
    with lxd.running(stage.lab.node()) as version:
        say(f"{runs} environments made and removed, LXD {version or '(not there)'} in turns")
        words = (str(runs), str(_CROWD), "lxd" if version else "alone")
        found = json.loads(
            script(
                stage.lab.node(), "peers", *words, timeout=1800, beside=("lxd", "memory", "waiting")
            )
        )
    say("the same through salt-call")
    launched = found["seconds"].get("lxd", {}).get("create by client")
    return [*figures(found, version), _by_salt(stage, _peer(version), launched)]


def figures(found: dict[str, Any], version: str) -> list[Figure]:
    """Return what the program found; ``version`` is LXD's, empty where it was not there."""
    ours, theirs = found["seconds"]["corpus"], found["seconds"].get("lxd", {})
    return [
        *(
            _time(f"peers.{name}", ours[what], _peer(version), theirs.get(what),
                  _GOALS.get(what, 1.0))
            for what, name in TIMES.items()
        ),
        *_memory(found, _peer(version)),
    ]  # fmt: skip


def _peer(version: str) -> str:
    return f"LXD {version}" if version else "LXD, not measured"


def _time(
    name: str, ours: list[float], peer: str, theirs: list[float] | None, share: float
) -> Figure:
    goal = f"<= {share:g} x LXD"
    if theirs is None:
        return of(name, ours, reference=peer, goal=goal)
    beside = median(theirs)
    met = median(ours) <= share * beside
    more = {"reference_spread": [min(theirs), max(theirs)]}
    return of(name, ours, reference=peer, reference_value=beside, goal=goal, met=met, more=more)


def _by_salt(stage: Stage, peer: str, client: list[float] | None) -> Figure:
    """Measure as a sysadmin does it: a process of ``salt-call``, beside one of ``lxc``."""
    taken = []
    for _ in range(3):
        began = time.perf_counter()
        made = Environment.create(
            stage.lab, platform="staging", size="2G", memory="1G", cpu=2, pids=1000
        )
        taken.append(time.perf_counter() - began)
        made.destroy()
    beside = None if client is None else median(client)
    name, reference = "peers.create.salt-call", f"{peer}, lxc launch"
    return of(name, taken, reference=reference, reference_value=beside)


def _memory(found: dict[str, Any], peer: str) -> list[Figure]:
    """Return what an idle one takes, LXC's monitor of it included; LXD's daemon comes once more."""
    made = []
    for name, keys in (("pss", ("pss", "monitor")), ("charged", ("charged",))):
        sums = {
            whose: [sum(look[key] for key in keys) / _MB for look in looks]
            for whose, looks in found["bytes"].items()
        }
        theirs = sums.get("lxd")
        more = {key: [look[key] / _MB for look in found["bytes"]["corpus"]] for key in keys}
        if theirs:
            more |= {f"lxd {key}": [look[key] / _MB for look in found["bytes"]["lxd"]]
                     for key in keys} | {"lxd daemon": found["daemon"] / _MB,
                               "lxd features": found["features"]}  # fmt: skip
        beside = median(theirs) if theirs else None
        made.append(of(f"peers.idle.{name}", sums["corpus"], "MB", reference=peer,
                       reference_value=beside, more=more))  # fmt: skip
    return made
