"""Whatever is killed, at each of its steps: called again it ends right, and so does the doctor.

Here what makes, runs and connects environments; beside this what copies them, how large they are,
certificates, and machines without a container.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from corpus.hosts import idmap
from corpus.node import boot, pairing
from corpus.node.context import Node
from corpus.node.environments import lifecycle, making, removal, shares, traffic
from corpus.node.network import ports
from corpus.node.proxy import front, routes
from corpus.node.records import Stage
from unit.node.killing import PROD, STAGING, THIRD, Trial, die_at_each_step, nothing


def pair_up(node: Node) -> None:
    pairing.pair(node, STAGING, PROD, "demo")


def left_half_way(node: Node) -> None:
    making.create(node, id=THIRD, wait=0)
    node.records.save(node.records.get(THIRD).changed(stage=Stage.CREATING))
    lifecycle.halt(node, node.records.get(STAGING))


def shared(node: Node) -> Path:
    """Return a directory that a developer shares."""
    path = node.settings.prefix.parent / "laptop"
    path.mkdir(exist_ok=True)
    os.chown(path, 1234, 1235)
    return path


def share(node: Node) -> None:
    path = str(shared(node))
    making.create(node, id=THIRD, platform="dev", share={"demo": path}, wait=0)


def make_a_proxy(node: Node) -> None:
    making.create(node, id=THIRD, role="proxy", wait=0)


def move_the_front(node: Node) -> None:
    make_a_proxy(node)
    front.move(node, THIRD)


OPERATIONS: dict[str, Trial] = {
    "prepare": Trial(lambda node: shutil.rmtree(node.settings.lxcpath), boot.prepare),
    "boot": Trial(left_half_way, boot.boot),
    "create": Trial(
        nothing,
        lambda node: making.create(node, id=THIRD, hosts=["third.example"], wait=0),
    ),
    "create with a share": Trial(shared, share),
    "destroy": Trial(pair_up, lambda node: removal.destroy(node, STAGING)),
    "destroy with a share": Trial(share, lambda node: removal.destroy(node, THIRD)),
    "start": Trial(nothing, lambda node: lifecycle.start(node, PROD)),
    "stop": Trial(nothing, lambda node: lifecycle.stop(node, STAGING)),
    "restart": Trial(nothing, lambda node: traffic.restart(node, STAGING)),
    "freeze": Trial(nothing, lambda node: lifecycle.freeze(node, STAGING)),
    "thaw": Trial(
        lambda node: lifecycle.freeze(node, STAGING), lambda node: lifecycle.thaw(node, STAGING)
    ),
    "autostart": Trial(nothing, lambda node: lifecycle.autostart(node, STAGING, on=False, order=7)),
    "route": Trial(
        nothing,
        lambda node: routes.route(node, PROD, routes.parse_route("new.example", 8000)),
    ),
    "unroute": Trial(nothing, lambda node: routes.unroute(node, "one.example")),
    "maintenance": Trial(nothing, lambda node: routes.maintenance(node, STAGING, True)),
    "open": Trial(nothing, lambda node: ports.open_(node, STAGING, 5432)),
    "close": Trial(
        lambda node: ports.open_(node, STAGING, 5432),
        lambda node: ports.close(node, STAGING, 5432),
    ),
    "pair": Trial(nothing, pair_up),
    "unpair": Trial(pair_up, lambda node: pairing.unpair(node, STAGING, PROD, "demo")),
    "front_move": Trial(make_a_proxy, lambda node: front.move(node, THIRD)),
    "front_move back": Trial(move_the_front, lambda node: front.move(node, "node")),
}


@pytest.mark.parametrize("name", OPERATIONS)
def test_killed_at_each_step(
    folder: Path, scratch: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(shares, "_SYSTEM", ())  # the scratch directory lies below /dev
    # A mount is the kernel's, and would outlive the test: it is a file here.
    monkeypatch.setattr(idmap, "pin", lambda path, users, groups: path.touch())
    die_at_each_step(folder, scratch, name, OPERATIONS[name])
