"""Time an environment's life on its node, and beside it LXC's own start of the same image.

The plain one is the same image without the deploy service, started by lxc-start(1) alone.
"""

import json
import sys
import time
from collections.abc import Callable

import waiting

from corpus.commands import lxc
from corpus.node.context import Node, this_node
from corpus.node.environments import guest, lifecycle, making, removal
from corpus.node.records import Record

_LONGEST = 30.0
_DEPLOY = "etc/systemd/system/multi-user.target.d/corpus-deploy.conf"
taken: dict[str, list[float]] = {}


def timed(name: str, act: Callable[[], object]) -> None:
    """Do it and note the seconds under ``name``."""
    began = time.perf_counter()
    act()
    taken.setdefault(name, []).append(time.perf_counter() - began)


def life(node: Node) -> None:
    """Make one environment, stop it, start it, remove it."""
    began = time.perf_counter()
    made = making.create(node, size="2G", wait=_LONGEST)
    taken.setdefault("create", []).append(time.perf_counter() - began)
    id = str(made["id"])
    waiting.for_deploy(node, node.records.get(id))
    taken.setdefault("create to deployable", []).append(time.perf_counter() - began)
    timed("stop", lambda: lifecycle.stop(node, id))

    def start() -> None:
        lifecycle.start(node, id)
        lifecycle.wait_for_ssh(node, id, _LONGEST)

    timed("start", start)
    waiting.for_deploy(node, node.records.get(id))
    timed("destroy", lambda: removal.destroy(node, id))


def plain(node: Node, record: Record) -> None:
    """Start by LXC alone until SSH answers, and stop by LXC alone."""
    folder = node.settings.lxcpath

    def start() -> None:
        node.host.run(lxc.start(folder, record.id, folder / record.id / "log"))
        lifecycle.wait_for_ssh(node, record.id, _LONGEST)

    timed("plain start", start)
    time.sleep(1)
    timed("plain stop", lambda: node.host.run(lxc.stop(folder, record.id)))


def main(runs: int) -> None:
    """Measure in turns and print the seconds."""
    node = this_node()
    id = str(making.create(node, size="2G")["id"])
    try:
        lifecycle.stop(node, id)
        (guest.rootfs(node.settings, id) / _DEPLOY).unlink()
        record = node.records.get(id)
        for _ in range(runs):
            life(node)
            plain(node, record)
    finally:
        removal.destroy(node, id)
    print(json.dumps(taken))


main(int(sys.argv[1]))
