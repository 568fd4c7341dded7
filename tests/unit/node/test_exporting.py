"""An export: a private file that is whole or not there, and nothing of it beside."""

from __future__ import annotations

import os
import stat
import tarfile
from pathlib import Path
from typing import Any

import pytest

from corpus.model.errors import Conflict, CorpusError, InvalidInput
from corpus.node.context import Node
from corpus.node.environments import archives, exporting, making
from corpus.node.records import Record, Share
from corpus.node.storage import copies
from unit.node import nodes
from unit.node.exported import file as file
from unit.node.exported import node as node

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="owners and devices are made by root")


def test_the_file_is_private_and_nothing_else_is_left(node: Node, file: Path) -> None:
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [path.name for path in file.parent.glob(".*")] == []
    assert not exporting.staged(node, nodes.ID).exists()
    assert [p for p in node.settings.locks.iterdir() if "export" in p.name] == []
    with tarfile.open(file) as tar:
        assert tar.getnames() == ["rootfs.tar.zst", "srv.tar.zst", "manifest.json"]


def test_what_cannot_be_exported_is_refused(node: Node, file: Path, tmp_path: Path) -> None:
    for call in (exporting.export, exporting.changes):
        with pytest.raises(Conflict, match="there is a file"):
            call(node, nodes.ID, file)
        for place in ("relative.tar", tmp_path / "absent/x.tar", tmp_path / ".."):
            with pytest.raises(InvalidInput, match="not a place"):
                call(node, nodes.ID, place)
        node.change(nodes.ID, lambda now: now.changed(shares=(Share("demo", "/x", 60514),)))
        with pytest.raises(InvalidInput, match="shares directories"):
            call(node, nodes.ID, tmp_path / "new.tar")
        node.change(nodes.ID, lambda now: now.changed(shares=()))


def test_an_export_that_fails_leaves_nothing(
    node: Node, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = copies.put_aside

    def with_a_disk(node: Node, source: Path, target: Path, record: Record) -> None:
        copy(node, source, target, record)
        os.mknod(target / "srv/disk", stat.S_IFBLK, os.makedev(7, 0))

    monkeypatch.setattr(copies, "put_aside", with_a_disk)
    before = sorted(tmp_path.iterdir())
    with pytest.raises(CorpusError, match="cannot be exported: a member of a kind"):
        exporting.export(node, nodes.ID, tmp_path / "new.tar")
    assert sorted(tmp_path.iterdir()) == before
    assert not exporting.staged(node, nodes.ID).exists()


def test_two_exports_at_once_are_one_too_many(node: Node, tmp_path: Path) -> None:
    with node.lock(f"export-{nodes.ID}"), pytest.raises(Conflict, match="busy"):
        exporting.export(node, nodes.ID, tmp_path / "new.tar")


def test_two_environments_may_go_to_one_name_and_neither_is_in_the_others_file(
    node: Node, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    making.create(node, id=nodes.OTHER, wait=0)
    file, write, inner = tmp_path / "new.tar", archives.write_manifest, list[str]()

    def slow(handle: int, record: Record, *rest: Any) -> str:
        if record.id == nodes.ID:  # meanwhile, the other one begins and ends
            inner.append(exporting.export(node, nodes.OTHER, file)["digest"])
        return write(handle, record, *rest)

    monkeypatch.setattr(archives, "write_manifest", slow)
    with pytest.raises(Conflict, match="there is a file"):
        exporting.export(node, nodes.ID, file)
    assert [archives.read(file).digest] == inner
    assert archives.read(file).record.id == nodes.OTHER
    assert [path.name for path in tmp_path.glob(".*")] == []


def test_what_a_killed_export_left_goes_at_boot(node: Node) -> None:
    left = exporting.staged(node, nodes.ID)
    left.mkdir()
    record = node.records.get(nodes.ID)
    with node.lock(f"export-{nodes.ID}"):
        exporting.tidy(node, record)
    assert left.exists()  # one is under way
    exporting.tidy(node, record)
    assert not left.exists()


def test_people_are_told_how_far_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr(exporting, "_EVERY", 0.0)
    tell = exporting.progress(said.append, "srv", 10 << 20)
    tell(1 << 20)
    assert said == ["srv: 1M of 10M"]
