"""LXD on the bench's own node: Debian's package, with pool, bridge and addresses of its own.

The node is a container of the lab: nothing of LXD touches the machine that the bench runs on, and
all of it goes with the lab. Its pool is a subvolume of the pool that the environments lie in.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager

from bench.stage import say
from corpus.commands import debian, systemctl
from corpus.hosts.base import Host
from corpus.model.errors import CorpusError

NAME, NETWORK, GATEWAY = "corpus-bench", "lxdbench0", "10.97.0.1/24"  # as inside/lxd.py has them
POOL = "/var/lib/corpus/pool/lxd-bench"
PACKAGES = ("lxd", "dnsmasq-base")
UNITS = ("lxd.socket", "lxd.service")
_FETCHING = ("Acquire::Retries=3", "DPkg::Lock::Timeout=120")
_SECONDS = 120.0


@contextmanager
def running(node: Host) -> Iterator[str]:
    """Have LXD run on the node and give its version; empty, with the reason said, without it.

    Afterwards it holds nothing and is stopped: it takes no time of other measures.
    """
    try:
        version = _install(node)
    except CorpusError as error:
        say(f"no LXD, so nothing is measured of it: {error}")
        version = ""
    try:
        yield version
    finally:
        if version:
            _empty(node)
            node.run(systemctl.command("stop", UNITS), timeout=_SECONDS)


def _install(node: Host) -> str:
    if node.run(["which", "lxd"], check=False).code != 0:
        say("LXD is installed on the node")
        quiet = {"DEBIAN_FRONTEND": "noninteractive"}
        node.run(debian.update(options=_FETCHING), env=quiet, timeout=300)
        node.run(debian.install(PACKAGES, options=_FETCHING), env=quiet, timeout=600)
    node.run(systemctl.command("start", UNITS), timeout=_SECONDS)
    node.run(["lxd", "waitready", f"--timeout={_SECONDS:.0f}"], timeout=_SECONDS + 5)
    _empty(node)  # a former run may have been cut off
    node.run(["btrfs", "subvolume", "create", POOL])
    bridge = {"ipv4.address": GATEWAY, "ipv4.nat": "false", "ipv6.address": "none"}
    preseed = {
        "storage_pools": [{"name": NAME, "driver": "btrfs", "config": {"source": POOL}}],
        "networks": [{"name": NETWORK, "type": "bridge", "config": bridge}],
    }
    # What is JSON is YAML too.
    node.run(["lxd", "init", "--preseed"], stdin=json.dumps(preseed), timeout=_SECONDS)
    return node.run(["lxd", "--version"]).out.strip()


def _empty(node: Host) -> None:
    """Remove what LXD holds."""
    for name in _names(node, "instances"):
        node.run(["lxc", "delete", "--force", name], timeout=_SECONDS)
    for name in _names(node, "images"):
        node.run(["lxc", "image", "delete", name], timeout=_SECONDS)
    for kind, own in (("storage-pools", NAME), ("networks", NETWORK)):
        if own in _names(node, kind):
            word = kind.partition("-")[0].removesuffix("s")
            node.run(["lxc", word, "delete", own], timeout=_SECONDS)
    node.run(["btrfs", "subvolume", "delete", POOL], check=False)


def _names(node: Host, kind: str) -> list[str]:
    listed = node.run(["lxc", "query", f"/1.0/{kind}"], timeout=_SECONDS).out
    return [path.rpartition("/")[2] for path in json.loads(listed)]
