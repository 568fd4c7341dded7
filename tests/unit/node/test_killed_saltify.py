"""A machine becomes an environment, and stops being one: killed at each step, on either side."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from pathlib import Path, PurePath
from typing import Any

import pytest

from corpus.hosts.base import Command, Result
from corpus.model.errors import NotFound
from corpus.node.context import Node
from corpus.node.saltify import making, removing
from corpus.node.saltify.records import Machines
from instants import pass_through
from unit.node import machines, outliving
from unit.node.killing import THIRD, Trial, die_at_each_step, nothing
from unit.node.nodes import KEY
from unit.node.test_pairing import KEY as PUBLIC


class Machine(machines.Machine):
    """A machine that goes on when who commands it dies; what it is told dies with them."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.lacks = set() if (root / "packages").exists() else {"nftables", "rsync"}
        self.active = (root / "active").exists()

    def execute(self, command: Command) -> Result:
        pass_through(command.argv[0])
        done = super().execute(command)
        if not self.lacks:
            (self.root / "packages").touch()
        if self.active:
            (self.root / "active").touch()
        else:
            (self.root / "active").unlink(missing_ok=True)
        return done

    def _answer(self, argv: tuple[str, ...]) -> Result:
        if "mc_project.remove" in argv:  # which has a table of its own: here it is one step
            project = self.root / "srv/projects" / argv[-2]
            if project.exists():
                project.rename(self.root.parent / "gone")
            return Result(argv, 0)
        return super()._answer(argv)

    def send(self, source: Path, path: PurePath, *, timeout: float) -> None:
        pass_through("send")
        super().send(source, path, timeout=timeout)


def wake(folder: Path) -> Node:
    return outliving.keygen(outliving.machine(folder), PUBLIC)


def place(node: Node) -> Path:
    """Return where the machine, its key and the image lie."""
    return node.settings.prefix.parent


def prepare(node: Node) -> None:
    folder = place(node)
    (folder / "key").write_text("private")
    making.prepare(
        node, "web.example", id=THIRD, key=str(folder / "key"), keys=[KEY],
        host_key=machines.HOST_KEY, image=str(folder / "image"),
    )  # fmt: skip


def prepared(node: Node) -> None:
    prepare(node)
    (place(node) / "machine/srv/projects/shop/.corpus").mkdir(parents=True)


def remove(node: Node) -> None:
    """Remove it; when all but the answer came to be before, there is none any more."""
    known = Machines(node).find(THIRD)
    with suppress(*([] if known else [NotFound])):
        removing.remove(node, THIRD, data=True)


def kept(node: Node) -> Any:
    """Return what is on the machine, and what the node remembers."""
    root = place(node) / "machine"
    found: dict[str, Any] = {
        str(path.relative_to(root)): path.read_bytes() if path.is_file() else b""
        for path in root.rglob("*")
    }
    return found | {"machines": [machine.changed(made="") for machine in Machines(node).all()]}


def forget(node: Node) -> None:
    known = Machines(node).find(THIRD)
    with suppress(*([] if known else [NotFound])):
        removing.remove(node, THIRD, forget=True)


OPERATIONS: dict[str, Trial] = {
    "saltify_key": Trial(nothing, making.own_key),
    "saltify_prepare": Trial(nothing, prepare),
    "saltify_check": Trial(
        lambda node: (prepare(node), (place(node) / "machine/opt/corpus/code.py").unlink()),
        lambda node: making.check(node, THIRD, mend=True),
    ),
    "saltify_remove": Trial(prepared, remove),
    "saltify_remove forget": Trial(prepared, forget),
}


@pytest.mark.parametrize("name", OPERATIONS)
def test_killed_at_each_step(
    folder: Path, scratch: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    machines.image(folder / "image")

    def connected(*how: Any) -> Any:
        return machines.connected(Machine(folder / "machine"), folder, how)

    monkeypatch.setattr(machines.looking, "connected", connected)
    die_at_each_step(folder, scratch, name, replace(OPERATIONS[name], wake=wake, also=kept))
