"""Idle memory: an environment with nothing deployed, with and without the deploy service."""

from __future__ import annotations

import json
import time
from contextlib import ExitStack
from typing import Any

from bench.figures import Figure, median, of
from bench.stage import Stage, say, script
from corpus.lab import salt
from corpus.lab.tenant import Environment

_SETTLE = 15.0  # seconds from SSH ready: boot jobs have ended
_LIMIT = 100.0  # MB of the goal
_MB = 1e6


def measure(stage: Stage, runs: int) -> list[Figure]:
    """Measure ``runs`` environments at once: their images share no page with each other."""
    with ExitStack() as stack:
        made = [stack.enter_context(stage.environment(size="2G")) for _ in range(runs)]
        say(f"{runs} environments settle")
        time.sleep(_SETTLE)
        idle = [_look(environment) for environment in made]
        for environment in made:
            environment.host.run(["systemctl", "stop", "corpus-deploy.service"])
        time.sleep(1)
        plain = [_look(environment) for environment in made]
    deploy = _of(idle, "deploy")
    return [
        _beside("memory.environment.pss", idle, plain, "pss"),
        _beside("memory.environment.charged", idle, plain, "charged"),
        of("memory.deploy-service.pss", deploy, "MB", goal=f"<= {_LIMIT:.0f} MB",
           met=median(deploy) <= _LIMIT,
           reference="all of the plain Debian", reference_value=median(_of(plain, "pss"))),
    ]  # fmt: skip


def _look(environment: Environment) -> dict[str, Any]:
    node = environment.lab.node()
    pid = salt.call(node, "corpus_node.inspect", environment.id)["pid"]
    found: dict[str, Any] = json.loads(script(node, "memory", str(pid)))
    return found


def _of(looks: list[dict[str, Any]], key: str) -> list[float]:
    return [look[key] / _MB for look in looks]


def _beside(name: str, idle: list[dict[str, Any]], plain: list[dict[str, Any]], key: str) -> Figure:
    beside = "the same without deploy service"
    more = {"processes": idle[0]["processes"]}
    return of(name, _of(idle, key), "MB", reference=beside,
              reference_value=median(_of(plain, key)), more=more)  # fmt: skip
