"""Fill the node with environments and time what may grow with their number; print the seconds.

Argument: how many. Each is made when the one before has finished its boot.
"""

import json
import statistics
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import memory
import waiting

from corpus.node import boot
from corpus.node.context import Node, this_node
from corpus.node.environments import lifecycle, listing, making, removal, room

_STEP = 10
_LOOKS = 9
_SETTLE = 5.0


def timed(act: Callable[[], object]) -> float:
    """Return the seconds that it takes."""
    began = time.perf_counter()
    act()
    return time.perf_counter() - began


def look(node: Node) -> dict[str, float]:
    """Return what it takes to list all, to describe the newest, and to tell its room."""
    newest = node.records.all()[-1]
    acts: dict[str, Callable[[], object]] = {
        "list": lambda: listing.listed(node),
        "inspect": lambda: listing.inspect(node, newest.id),
        "usage": lambda: room.room(node, newest),
    }
    return {
        name: statistics.median(timed(act) for _ in range(_LOOKS)) for name, act in acts.items()
    }


def idle(node: Node) -> tuple[list[int], float]:
    """Return the PSS of each environment with its monitor, and the CPUs that all use at rest."""
    sums = []
    for record in node.records.all():
        pid = str(lifecycle.state(node, record)[1])
        shares = [memory.pss(process) for process in memory.processes(pid)]
        sums.append(sum(shares) + memory.pss(memory.parent(pid)))
    began, before = time.monotonic(), busy()
    time.sleep(10)
    return sums, (busy() - before) / (time.monotonic() - began)


def busy() -> float:
    """Return the seconds that the node's control group, environments included, has computed."""
    root = Path("/sys/fs/cgroup")
    if (old := root / "cpuacct/cpuacct.usage").exists():
        return int(old.read_text()) / 1e9
    fields = dict(line.split() for line in (root / "cpu.stat").read_text().splitlines())
    return int(fields["usage_usec"]) / 1e6


def reboot(node: Node) -> dict[str, float]:
    """Stop all and start them as the node's service does, until each serves a push."""
    halted = timed(lambda: boot.halt(node))
    began = time.perf_counter()
    boot.boot(node)
    started = time.perf_counter() - began
    with ThreadPoolExecutor(8) as workers:
        list(workers.map(lambda r: lifecycle.wait_for_ssh(node, r.id, waiting.LONGEST),
                         node.records.all()))  # fmt: skip
        reached = time.perf_counter() - began
        list(workers.map(partial(waiting.for_deploy, node), node.records.all()))
    served = time.perf_counter() - began
    return {"halt": halted, "boot": started, "boot to SSH": reached, "boot to push": served}


def main(count: int) -> dict[str, Any]:
    """Measure; nothing is left afterwards."""
    node, made = this_node(), []
    found: dict[str, Any] = {"create": [], "looks": {}, "destroy": []}
    try:
        for number in range(1, count + 1):
            began = time.perf_counter()
            made.append(str(making.create(node, size="1G", wait=waiting.LONGEST)["id"]))
            found["create"].append(time.perf_counter() - began)
            waiting.for_deploy(node, node.records.get(made[-1]))
            if number == 1 or number % _STEP == 0:
                time.sleep(_SETTLE)
                found["looks"][number] = look(node)
            if number == 1:
                found["alone"] = idle(node)
        found["together"] = idle(node)
        found |= reboot(node)
    finally:
        for id in made:
            found["destroy"].append(timed(partial(removal.destroy, node, id)))
    return found


if __name__ == "__main__":
    print(json.dumps(main(int(sys.argv[1]))))
