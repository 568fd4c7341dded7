"""Let the root of an environment write more than it may: argument the KIND of storage.

On the node, with a pool, a bridge and environments of its own that go afterwards. Prints, for each
way of ``overrun``, what the guest held, what the node's disk gave for it, what was accounted.
"""

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import overrun

from corpus.commands import ip, loop
from corpus.hosts import weighing
from corpus.hosts.container import Container
from corpus.hosts.local import Local
from corpus.lab import tenant
from corpus.node import boot
from corpus.node.context import Node
from corpus.node.environments import lifecycle, making, removal
from corpus.node.network import bridge, firewall
from corpus.node.settings import Settings
from corpus.node.storage import images, pool

SIZE = 256 << 20
PREFIX = Path("/var/lib/corpus-overrun")
PYTHON = "/opt/corpus/bin/python"
NAME = "overrun0"
IDS = 210_000_000


@contextmanager
def standing(kind: str) -> Iterator[Node]:
    """A node beside the machine's own, with a pool of that kind; it has no front."""
    host = Local()
    settings = Settings(
        prefix=PREFIX, storage=kind, pool_size="3G", bridge=NAME, subnet="10.97.0.0/16",
        ssh_base=9700, idmap_base=IDS, idmap_slots=8, asks=Path("/run/corpus-overrun"),
    )  # fmt: skip
    node = Node(settings, host)
    for folder in (settings.prefix, settings.records, settings.lxcpath, settings.locks):
        folder.mkdir(parents=True, exist_ok=True)
    try:
        boot.grant_ids(node)
        pool.prepare(node)
        bridge.prepare(node)
        lifecycle.prepare(node)
        firewall.apply(node)
        images.import_image(node, Path(tenant.IMAGES))
        yield node
    finally:
        for record in node.records.all():
            removal.destroy(node, record.id)
        for family in ("inet", "bridge"):
            host.run(["nft", "delete", "table", family, NAME], check=False)
        host.run(ip.delete_link(NAME), check=False)
        host.run(loop.unmount(settings.pool), check=False)
        host.run(["rm", "-r", str(PREFIX)])
        host.run(["sed", "-i", f"/:{IDS}:/d", "/etc/subuid", "/etc/subgid"])


def taken(node: Node, id: str) -> int:
    """Return the bytes that the disk beneath gives for an environment, and nobody else there."""
    os.sync()
    kind, settings = pool.volumes(node).kind, node.settings
    if kind == "quota":
        found = os.statvfs(settings.pool)
        return (found.f_blocks - found.f_bfree) * found.f_frsize
    if kind == "image":
        return (settings.pool / f"disks/{id}.img").stat().st_blocks * 512
    return sum(weighing.weigh(settings.pool / "env" / id, 60).found.values())


def run(node: Node, way: str) -> dict[str, Any]:
    """Let an environment of its own do it; return bytes, and what ended it."""
    made = making.create(node, size=SIZE, wait=0)
    try:
        guest = Container(made["id"], node.host, node.settings.lxcpath)
        before = taken(node, made["id"])
        argv = [PYTHON, "-", way, str(SIZE)]
        told = json.loads(guest.run(argv, stdin=Path(overrun.__file__).read_text()).out)
        after = taken(node, made["id"])
        used = pool.volumes(node).used(node.records.get(made["id"]).group)
        return {**told, "taken": after - before, "accounted": used.used if used else None}
    finally:
        removal.destroy(node, made["id"])
        # Else the next would begin with what this removal still frees, which the first has begin.
        for what in ("filesystem", "subvolume"):
            node.host.run(["btrfs", what, "sync", str(node.settings.pool)], check=False)


def main() -> None:
    """Print what came of each way, and the size that there was."""
    with standing(sys.argv[1]) as node:
        ways = {way: run(node, way) for way in overrun.WAYS}
    print(json.dumps({"size": SIZE, "ways": ways}))


if __name__ == "__main__":
    main()
