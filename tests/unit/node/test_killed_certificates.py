"""Certificates, killed at each step: called again it ends right, and no key is left to nobody."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import pytest

from corpus.hosts.base import Command, Result
from corpus.hosts.local import Local
from corpus.node.certificates import acme, changes
from corpus.node.context import Node
from corpus.node.proxy import service
from functional.certified import Authority, Issued
from unit.node import nodes
from unit.node.killing import Trial, die_at_each_step, nothing
from unit.node.outliving import Machine

HOST = "one.example"


class Certified(Machine):
    """A machine with openssl, and lego, which leaves what was issued to it beforehand."""

    said: ClassVar[dict[tuple[object, ...], Result]]
    issued: ClassVar[Issued]

    def execute(self, command: Command) -> Result:
        if command.argv[0] == "openssl":
            asked = (command.argv, command.stdin)
            return self.said.get(asked) or self.said.setdefault(asked, Local().execute(command))
        done = super().execute(command)
        if command.argv[0] == "lego":
            words = command.argv
            place = Path(words[words.index("--path") + 1]) / "certificates"
            place.mkdir(exist_ok=True)
            (place / f"{HOST}.crt").write_text(self.issued.chain)
            (place / f"{HOST}.key").write_bytes(self.issued.key.read_bytes())
        return done


def wake(folder: Path) -> Node:
    node, host = nodes.make(folder, Certified(folder / "host"), acme_email="a@example.org")
    assert isinstance(host, Certified)
    host.wire(node)
    return node


def add(node: Node) -> None:
    changes.add(node, HOST, str(Certified.issued.certificate), str(Certified.issued.key))


def obtain(node: Node) -> None:
    acme.obtain(node, HOST)


def due(node: Node) -> None:
    """Have one that is to be renewed, with what lego left thrown away."""
    obtain(node)
    for path in (node.settings.certificates / "_acme/certificates").iterdir():
        path.unlink()


def kept(node: Node) -> Any:
    """Return what lies where certificates do, but for lego's own, and what the front lacks.

    Half-written files are the doctor's.
    """
    found = [path for path in node.settings.certificates.rglob("[!.]*") if path.is_file()]
    texts = {str(path): path.read_text() for path in found if "_acme" not in path.parts}
    return texts, service.differing(node)


TIMER = ("certificates",)
"""The doctor tells of what is not obtained yet, and leaves it to what renews each day."""
OPERATIONS: dict[str, Trial] = {
    "certificate_add": Trial(nothing, add),
    "certificate_remove": Trial(add, lambda node: changes.remove(node, HOST), told=TIMER),
    "certificate_obtain": Trial(nothing, obtain, told=TIMER),
    "certificate_renew": Trial(due, lambda node: acme.renew(node, 90)),
}


@pytest.mark.parametrize("name", OPERATIONS)
def test_killed_at_each_step(
    folder: Path, scratch: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(Certified, "said", {}, raising=False)
    issued = Authority(tmp_path / "authority").issue(HOST)
    monkeypatch.setattr(Certified, "issued", issued, raising=False)
    trial = replace(OPERATIONS[name], wake=wake, also=kept)
    die_at_each_step(folder, scratch, name, trial)
