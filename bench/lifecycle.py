"""An environment's life: made until SSH answers, stopped, started, removed."""

from __future__ import annotations

import json
import time
from typing import Any

from bench.figures import Figure, median, of
from bench.stage import Stage, say, script
from corpus.lab.tenant import Environment


def measure(stage: Stage, runs: int) -> list[Figure]:
    """Measure on the node itself; once more through ``salt-call``, as a sysadmin does it."""
    say(f"{runs} environments made and removed, plain LXC between them")
    taken: dict[str, list[float]] = json.loads(
        script(stage.lab.node(), "lifecycle", str(runs), timeout=600, beside=("waiting",))
    )
    say("the same through salt-call")
    whole, removal = [], []
    for _ in range(min(runs, 3)):
        began = time.perf_counter()
        made = Environment.create(stage.lab, platform="staging", size="2G")
        ended = time.perf_counter()
        made.destroy()
        whole.append(ended - began)
        removal.append(time.perf_counter() - ended)
    start: dict[str, Any] = {
        "reference": "lxc-start to SSH",
        "reference_value": median(taken["plain start"]),
    }
    stop: dict[str, Any] = {"reference": "lxc-stop", "reference_value": median(taken["plain stop"])}
    return [
        of("lifecycle.create", taken["create"], **start),
        of("lifecycle.create-to-deployable", taken["create to deployable"], **start),
        of("lifecycle.start", taken["start"], **start),
        of("lifecycle.stop", taken["stop"], **stop),
        of("lifecycle.destroy-running", taken["destroy"], **stop),
        of("lifecycle.create.salt-call", whole, **start),
        of("lifecycle.destroy.salt-call", removal, **stop),
        of("lifecycle.plain.start", taken["plain start"]),
        of("lifecycle.plain.stop", taken["plain stop"]),
    ]


def _beside(name: str, values: list[float]) -> dict[str, Any]:
    return {"reference": name, "reference_value": median(values)}
