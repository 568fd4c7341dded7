"""A node, a machine that people have, and calls that lead from one to the other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from corpus.node.context import Node
from corpus.node.saltify import making, removing
from unit.node.machines import HOST_KEY, Machine, image, reach
from unit.node.nodes import ID, make

UNIT = "etc/systemd/system/corpus-deploy.service"


class Stage:
    """A node, a machine, and calls that lead from one to the other."""

    def __init__(self, folder: Path) -> None:
        self.node: Node = make(folder / "node")[0]
        self.machine = Machine(folder / "machine")
        self.root = self.machine.root
        self.image = image(folder / "image")
        (folder / "key").write_text("private")
        self.key = folder / "key"
        self.before = self.listed()

    def prepare(self, **given: Any) -> dict[str, Any]:
        values = {"id": ID, "key": str(self.key), "host_key": HOST_KEY, "image": str(self.image)}
        return making.prepare(self.node, "web.example", **{**values, **given})

    def check(self, **given: Any) -> dict[str, Any]:
        return making.check(self.node, ID, **given)

    def remove(self, **given: Any) -> dict[str, Any]:
        return removing.remove(self.node, ID, **given)

    def listed(self) -> dict[str, str]:
        found = {}
        for path in sorted(self.root.rglob("*")):
            name = str(path.relative_to(self.root))
            link = str(path.readlink()) if path.is_symlink() else ""
            found[name] = link or (path.read_text() if path.is_file() else "/")
        return found

    def project(self, name: str = "shop") -> None:
        for path in (
            f"srv/projects/{name}/.corpus",
            f"srv/projects/{name}/data",
            "etc/corpus/keys",
        ):
            (self.root / path).mkdir(parents=True)


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stage:
    """Return both; whatever connects to a machine reaches this one."""
    made = Stage(tmp_path)
    reach(monkeypatch, made.machine, tmp_path)
    return made
