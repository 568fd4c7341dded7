"""Whatever is killed, at each of its steps: called again it ends right, and so does the doctor.

A step is a command, or a change of a file, of a forked child that dies just before it.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import tempfile
import traceback
from collections.abc import Callable, Iterator, MutableMapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from corpus.hosts.base import Command, Result
from corpus.hosts.fake import Fake
from corpus.model.finding import State
from corpus.node import boot, pairing
from corpus.node.context import Node
from corpus.node.doctor import proxy
from corpus.node.doctor.examine import examine
from corpus.node.environments import lifecycle, limiting, making, removal, snapshots
from corpus.node.network import firewall, ports
from corpus.node.proxy import routes
from corpus.node.records import Stage
from instants import Fault, Instants, pass_through
from unit.node import nodes
from unit.node.test_pairing import Guests

STAGING, PROD = nodes.ID, nodes.OTHER
THIRD = "33333333-2222-4333-8444-555555555555"
MOST = 400  # steps of one operation
_STATES = {
    "lxc-start": "RUNNING\nPID: 42",
    "lxc-stop": "STOPPED",
    "lxc-freeze": "FROZEN\nPID: 42",
    "lxc-unfreeze": "RUNNING\nPID: 42",
}


class Disk(MutableMapping[str, bytes]):
    """The files of a host, which outlive whoever writes them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def _path(self, name: str) -> Path:
        return self.folder / name.replace("/", "%")

    def __getitem__(self, name: str) -> bytes:
        try:
            return self._path(name).read_bytes()
        except FileNotFoundError:
            raise KeyError(name) from None

    def __setitem__(self, name: str, data: bytes) -> None:
        beside = self.folder.parent / f"new-{os.getpid()}"  # two may write at a time
        beside.write_bytes(data)
        beside.rename(self._path(name))

    def __delitem__(self, name: str) -> None:
        self._path(name).unlink()

    def __iter__(self) -> Iterator[str]:
        return (path.name.replace("%", "/") for path in sorted(self.folder.iterdir()))

    def __len__(self) -> int:
        return len(list(self.folder.iterdir()))


class Machine(Fake):
    """A host whose files, guests and rules outlive whoever commands it."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder = folder
        (folder / "files").mkdir(parents=True, exist_ok=True)
        self.files = Disk(folder / "files")  # type: ignore[assignment]

    def _state(self, argv: Any) -> Path:
        return self.folder / next(word for word in argv if word.startswith("--name="))

    def execute(self, command: Command) -> Result:
        """Do what is asked, after a moment at which who asks may die."""
        argv = command.argv
        pass_through(argv[0])
        done = super().execute(command)
        for word, state in _STATES.items():
            if word in argv:
                self._state(argv).write_text(state)
        if argv[0] == "rm":
            for name in argv[argv.index("--") + 1 :]:
                for path in [
                    one for one in self.files if one == name or one.startswith(name + "/")
                ]:
                    del self.files[path]
        if "nft" in argv and command.stdin:
            rules = self.folder / ("aside" if "netns" in argv else "nft")
            rules.write_bytes(command.stdin)
        return done

    def wire(self, node: Node) -> None:
        """Answer as the kernel does for what it holds."""
        aside = f"ip netns exec {node.settings.bridge}-doctor nft"
        tables = [{"table": {"family": "inet", "name": node.settings.bridge}}]

        def read(name: str) -> str:
            path = self.folder / name
            return path.read_text() if path.exists() else ""

        nodes.sound(node, self)
        self.answer(
            "lxc-info",
            lambda argv: f"State: {read(self._state(argv).name) or 'STOPPED'}\n",
        )
        self.answer(f"{aside} --json", json.dumps({"nftables": tables}))
        self.answer(f"{aside} --stateless", lambda _: read("aside"))
        self.answer("nft --stateless", lambda _: read("nft"))
        Guests(self)


def machine(folder: Path) -> Node:
    node, host = nodes.make(folder, Machine(folder / "host"))
    assert isinstance(host, Machine)
    host.wire(node)
    return node


def pair_up(node: Node) -> None:
    pairing.pair(node, STAGING, PROD, "demo")


def left_half_way(node: Node) -> None:
    making.create(node, id=THIRD, wait=0)
    node.records.save(node.records.get(THIRD).changed(stage=Stage.CREATING))
    lifecycle.halt(node, node.records.get(STAGING))


def restore(node: Node) -> None:
    """Restore a snapshot; what was left half-way is ended as the error says."""
    if node.records.get(PROD).stage is Stage.RESTORING:
        snapshots.settle(node, PROD)
    else:
        snapshots.restore(node, PROD, "first")


def nothing(node: Node) -> None:
    """Begin with two environments, one of which is stopped."""


OPERATIONS: dict[str, tuple[Callable[[Node], Any], Callable[[Node], Any]]] = {
    "prepare": (lambda node: shutil.rmtree(node.settings.lxcpath), boot.prepare),
    "boot": (left_half_way, boot.boot),
    "create": (
        nothing,
        lambda node: making.create(node, id=THIRD, hosts=["third.example"], wait=0),
    ),
    "destroy": (pair_up, lambda node: removal.destroy(node, STAGING)),
    "start": (nothing, lambda node: lifecycle.start(node, PROD)),
    "stop": (nothing, lambda node: lifecycle.stop(node, STAGING)),
    "limit": (nothing, lambda node: limiting.limit(node, PROD, memory="128M")),
    "route": (
        nothing,
        lambda node: routes.route(node, PROD, routes.parse_route("new.example", 8000)),
    ),
    "unroute": (nothing, lambda node: routes.unroute(node, "one.example")),
    "open": (nothing, lambda node: ports.open_(node, STAGING, 5432)),
    "pair": (nothing, pair_up),
    "unpair": (pair_up, lambda node: pairing.unpair(node, STAGING, PROD, "demo")),
    "snapshot": (nothing, lambda node: snapshots.take(node, PROD, "first")),
    "restore": (
        lambda node: snapshots.take(node, PROD, "first"),
        restore,
    ),
}


@pytest.fixture
def scratch(tmp_path: Path) -> Iterator[Path]:
    """A directory in memory, where there is one: it is filled and emptied at each step."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else tmp_path) as name:
        yield Path(name)


@pytest.fixture
def folder(scratch: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(proxy, "answers", lambda port: True)
    place = scratch / "it"
    node = machine(place)
    boot.prepare(node)
    making.create(node, id=STAGING, hosts=["one.example"], wait=0)
    making.create(node, id=PROD, platform="prod", wait=0)
    lifecycle.stop(node, PROD)
    return place


def killed(folder: Path, operation: Callable[[Node], Any], step: int) -> bool:
    """Tell whether a child that is to die before its step of that number came so far."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            node = machine(folder)
            fault = Fault("death", "begun", step + 1)
            Instants(folder, [fault], each=lambda: None, large=folder / "none").arm()
            pass_through("begun")
            operation(node)
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert code in (0, -signal.SIGKILL)
    return code != 0


def content(folder: Path) -> str:
    """A digest of all that lies in a folder, by which equal states are tried once."""
    found = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        found.update(str(path.relative_to(folder)).encode())
        found.update(path.read_bytes() if path.is_file() else b"")
    return found.hexdigest()


def put_back(saved: Path, folder: Path) -> None:
    shutil.rmtree(folder)
    shutil.copytree(saved, folder, symlinks=True)


def ended(node: Node) -> dict[str, Any]:
    """All that an operation ends in: records, places, guests, rules, the proxy's files."""
    host, settings = node.host, node.settings
    assert isinstance(host, Machine)
    states = {path.name: path.read_text() for path in host.folder.glob("--name=*")}
    running = sorted(name for name, state in states.items() if state.startswith("RUNNING"))
    return {
        "records": {one.id: replace(one, made="") for one in node.records.all()},
        # Locks and half-written files are the doctor's.
        "left": [one for one in nodes.left(node) if "/." not in one and "/locks/" not in one],
        "snapshots": sorted(
            str(path) for path in (settings.pool / "env").glob("*/snapshots/[!.]*")
        ),
        "running": running,
        "rules": (host.folder / "nft").read_text(),
        "files": {name: host.files[name] for name in host.files if name.startswith("/")},
    }


def unwell(node: Node, *, mend: bool = False) -> list[dict[str, Any]]:
    return [
        one for one in examine(node, mend=mend) if one["state"] != State.OK and not one["mended"]
    ]


@pytest.mark.parametrize("name", OPERATIONS)
def test_killed_at_each_step(folder: Path, scratch: Path, name: str) -> None:
    before, operation = OPERATIONS[name]
    before(machine(folder))
    start, cut = scratch / "start", scratch / "cut"
    shutil.copytree(folder, start, symlinks=True)
    operation(machine(folder))
    wanted, tried = ended(machine(folder)), set()
    for step in range(MOST):
        put_back(start, folder)
        if not killed(folder, operation, step):
            break
        if (state := content(folder)) in tried:
            continue
        tried.add(state)
        shutil.rmtree(cut, ignore_errors=True)
        shutil.copytree(folder, cut, symlinks=True)
        where = f"killed before step {step} of {name}"
        operation(machine(folder))
        assert ended(machine(folder)) == wanted, f"{where}, called again"
        put_back(cut, folder)
        node = machine(folder)
        assert unwell(node, mend=True) == [], f"{where}, mended"
        assert unwell(node) == [], f"{where}, after it was mended"
        assert ended(node)["rules"] == firewall.ruleset(node), where
        assert not [path for path in nodes.left(node) if "/." in path], where
        held = {path.name.removeprefix("export-") for path in node.settings.locks.glob("*-*")}
        assert held <= {one.id for one in node.records.all()}, where
    else:
        pytest.fail(f"{name} has no end")
    assert len(tried) > 1
