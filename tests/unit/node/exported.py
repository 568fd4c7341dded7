"""An environment on a plain pool, its export, and an export whose manifest says something else."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from corpus.node.context import Node
from corpus.node.environments import archives, exporting, guest, making
from unit.node import nodes


@pytest.fixture
def node(tmp_path: Path) -> Node:
    made, _ = nodes.make(tmp_path)
    making.create(made, id=nodes.ID, hosts=["a.example"], size="1G", wait=0)
    (guest.srv(made.settings, nodes.ID) / "file").write_text("one")
    (guest.rootfs(made.settings, nodes.ID) / "etc/corpus/release_key").write_text("mine")
    return made


@pytest.fixture
def file(node: Node, tmp_path: Path) -> Path:
    path = tmp_path / "environment.tar"
    exporting.export(node, nodes.ID, path)
    return path


def rewritten(file: Path, change: Callable[[dict[str, Any]], object]) -> Path:
    """Return the file with another manifest, whose digests are right."""
    found = archives.read(file)
    text = file.read_bytes()
    end = found.parts[-1].offset + found.parts[-1].length
    start = end + -end % 512
    manifest = json.loads(text[start + 512 :].rstrip(b"\0"))
    change(manifest)
    new = json.dumps(manifest).encode()
    member = archives.header(archives.MANIFEST, len(new)) + new
    bad = file.with_name("bad.tar")
    bad.write_bytes(text[:start] + member + bytes(-len(member) % 512 + 1024))
    return bad
