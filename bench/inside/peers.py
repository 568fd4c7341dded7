"""Time the same life of the same image with corpus and with LXD, in turns; print the seconds.

Both are asked within this process and waited for by the same probe. Arguments: how often, the
number of those that are made at once, and whether LXD is there (``lxd``) or not (``alone``).
"""

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from uuid import uuid4

import lxd
import memory
import waiting

from corpus.model.mode import Platform
from corpus.node.context import Node, this_node
from corpus.node.environments import lifecycle, making, removal, rootfs, snapshots
from corpus.node.records import Limits, Record
from corpus.node.storage import images

SIZE, MEMORY, CPUS, PIDS = "2G", "1G", 2, 1000
_SETTLE = 4.0  # seconds from SSH ready: what boots besides has ended
_IDLE = 15.0
_CROWDS = 3


class Ours:
    """Environments, with the words that ``lxd.Lxd`` has for instances."""

    name = "corpus"

    def __init__(self, node: Node) -> None:
        self.node = node

    def reserve(self) -> str:
        """Return the id of an environment that is to be made."""
        return str(uuid4())

    def address(self, id: str) -> str:
        """Return its address."""
        return self.node.records.get(id).address

    def create(self, id: str) -> None:
        """Make and start an environment."""
        making.create(self.node, id=id, size=SIZE, memory=MEMORY, cpu=CPUS, pids=PIDS, wait=0)

    def start(self, id: str) -> None:
        """Start it."""
        lifecycle.start(self.node, id)

    def stop(self, id: str) -> None:
        """Stop it cleanly."""
        lifecycle.stop(self.node, id)

    def snapshot(self, id: str) -> None:
        """Take the snapshot ``one`` while it runs."""
        snapshots.take(self.node, id, "one")

    def restore(self, id: str) -> None:
        """Put the snapshot ``one`` back, and keep what was."""
        snapshots.restore(self.node, id, "one")

    def destroy(self, id: str) -> None:
        """Remove it while it runs."""
        removal.destroy(self.node, id)

    def pid(self, id: str) -> int:
        """Return the pid of its init; 0 where it does not run."""
        return lifecycle.state(self.node, self.node.records.get(id))[1] or 0


Peer = Ours | lxd.Lxd


def create(peer: Peer, name: str) -> None:
    """Make one and wait for its SSH server."""
    peer.create(name)
    waiting.for_ssh(peer.address(name))


def at_once(peer: Peer, count: int) -> list[str]:
    """Make ``count`` of them at the same time; return their names once all answer."""
    names = [peer.reserve() for _ in range(count)]
    with ThreadPoolExecutor(count) as workers:
        list(workers.map(lambda name: create(peer, name), names))
    return names


class Watch:
    """The seconds of each peer's acts."""

    def __init__(self) -> None:
        self.taken: dict[str, dict[str, list[float]]] = {}

    def time(self, peer: Peer, what: str, act: Callable[[], object]) -> Any:
        """Do it and note the seconds."""
        began = time.perf_counter()
        found = act()
        seconds = time.perf_counter() - began
        self.taken.setdefault(peer.name, {}).setdefault(what, []).append(seconds)
        return found


def life(watch: Watch, peer: Peer) -> None:
    """Make one, take a snapshot, put it back, stop it, start it, remove it."""
    name = peer.reserve()
    watch.time(peer, "create", lambda: create(peer, name))
    time.sleep(_SETTLE)
    watch.time(peer, "snapshot", lambda: peer.snapshot(name))

    def restore() -> None:
        peer.restore(name)
        waiting.for_ssh(peer.address(name))

    watch.time(peer, "restore", restore)
    time.sleep(_SETTLE)
    watch.time(peer, "stop", lambda: peer.stop(name))

    def start() -> None:
        peer.start(name)
        waiting.for_ssh(peer.address(name))

    watch.time(peer, "start", start)
    time.sleep(_SETTLE)
    watch.time(peer, "destroy", lambda: peer.destroy(name))


def crowd(watch: Watch, peer: Peer, count: int) -> None:
    """Make ``count`` at once, and remove them."""
    names = watch.time(peer, f"create {count}", lambda: at_once(peer, count))
    time.sleep(_SETTLE)
    with ThreadPoolExecutor(count) as workers:
        watch.time(peer, f"destroy {count}", lambda: list(workers.map(peer.destroy, names)))


def image(node: Node, folder: Path) -> Path:
    """Pack the environments' image for LXD, with the files that an environment of its own has."""
    found = images.find(node)
    record = Record(
        id=str(uuid4()), platform=Platform.STAGING, image=found.id, address=f"{lxd.NET}.2",
        ssh_port=1, slot=0, limits=Limits(1 << 30),
    )  # fmt: skip
    scratch = folder / "rootfs"
    node.host.run(["cp", "--archive", "--reflink=auto", f"{images.volume(node, found)}/.",
                   str(scratch)])  # fmt: skip
    rootfs.write(scratch, rootfs.files(node, record, []))
    about = folder / "metadata.yaml"
    about.write_text(json.dumps({
        "architecture": "x86_64", "creation_date": 1, "properties": {"description": found.id},
    }))  # fmt: skip
    archive = folder / "image.tar"
    node.host.run(["tar", "--create", "--numeric-owner", "--xattrs", f"--file={archive}",
                   f"--directory={folder}", about.name, scratch.name])  # fmt: skip
    return archive


def give_image(node: Node) -> None:
    """Let LXD have the image, as a volume of its pool too: the first instance makes that."""
    folder = node.settings.pool / "bench-image"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700)
    try:
        made = lxd.ask("POST", "/images", image(node, folder))
        lxd.ask(
            "POST",
            "/images/aliases",
            {"name": lxd.IMAGE, "target": made["metadata"]["fingerprint"]},
        )
    finally:
        shutil.rmtree(folder)


def idle(peers: list[Peer], count: int) -> dict[str, list[dict[str, Any]]]:
    """Return what ``count`` idle ones of each peer take, all there at the same time."""
    made = [(peer, peer.reserve()) for _ in range(count) for peer in peers]
    found: dict[str, list[dict[str, Any]]] = {}
    try:
        for peer, name in made:
            create(peer, name)
        time.sleep(_IDLE)
        for peer, name in made:
            found.setdefault(peer.name, []).append(memory.look(str(peer.pid(name))))
    finally:
        for peer, name in made:
            peer.destroy(name)
    return found


def by_client(watch: Watch, peer: lxd.Lxd) -> None:
    """Make an instance with LXD's own client instead."""
    name = peer.reserve()

    def launch() -> None:
        argv = ["lxc", "launch", lxd.IMAGE, name, "--no-profiles", "--quiet",
                f"--network={lxd.NETWORK}", f"--storage={lxd.POOL}",
                f"--device=root,size={lxd.SIZE}"]  # fmt: skip
        settings = {**lxd.LIMITS, "raw.lxc": peer.network(name)}
        subprocess.run([*argv, *(f"--config={key}={value}" for key, value in settings.items())],
                       check=True, stdin=subprocess.DEVNULL)  # fmt: skip
        waiting.for_ssh(peer.address(name))

    watch.time(peer, "create by client", launch)
    peer.destroy(name)


def main(runs: int, crowded: int, peers: list[Peer]) -> dict[str, Any]:
    """Measure in turns; return the seconds of each peer's acts and the bytes of idle ones."""
    watch = Watch()
    for peer in peers:  # once without a watch: caches, volumes of the image
        life(Watch(), peer)
    for turn in range(runs):
        for peer in peers if turn % 2 else reversed(peers):
            life(watch, peer)
    for _ in range(_CROWDS):
        for peer in peers:
            crowd(watch, peer, crowded)
    daemon, features = 0, dict[str, str]()
    for peer in peers:
        if isinstance(peer, lxd.Lxd):
            for _ in range(_CROWDS):
                by_client(watch, peer)
            daemon, features = memory.pss(str(peer.daemon())), peer.features()
    return {
        "seconds": watch.taken,
        "bytes": idle(peers, _CROWDS),
        "daemon": daemon,
        "features": features,
    }


if __name__ == "__main__":
    here = this_node()
    both: list[Peer] = [Ours(here)]
    if sys.argv[3] == "lxd":
        give_image(here)
        both.append(lxd.Lxd())
    print(json.dumps(main(int(sys.argv[1]), int(sys.argv[2]), both)))
