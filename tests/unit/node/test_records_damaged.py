"""A file of the node's state that cannot be read is its own misfortune: all else goes on."""

from __future__ import annotations

import errno
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from corpus.hosts.fake import Fake
from corpus.model.errors import CorpusError
from corpus.node import boot
from corpus.node.context import Node
from corpus.node.environments import guest, making
from corpus.node.migration import peers
from corpus.node.records import INTERFACES
from corpus.node.saltify.records import Machines
from corpus.node.storage import images, weights
from unit.node import nodes
from unit.node.doctored import found

DEEP = b"[" * 100_000 + b"]" * 100_000
BYTES = {"no text": b'{"id": "\xff"}', "too deep": DEEP, "a number": b"5", "empty": b""}
bytes_of = pytest.mark.parametrize("data", BYTES.values(), ids=BYTES)


@pytest.fixture
def made(tmp_path: Path) -> tuple[Node, Fake]:
    """Return a node with two environments, as it is after a reboot."""
    node, _ = nodes.make(tmp_path)
    for id in (nodes.ID, nodes.OTHER):
        making.create(node, id=id, hosts=[f"{id[:3]}.example"], wait=0)
    return nodes.reload(tmp_path)


def record_of(node: Node, id: str) -> Path:
    return node.settings.records / f"{id}.json"


def goes_on(node: Node, host: Fake) -> str:
    """Boot; the first environment, the front and the firewall are there. Tell of the second."""
    outcome = boot.boot(node)
    assert outcome[nodes.ID] == "started"
    assert "front" not in outcome
    assert len(nodes.ran(host, "lxc-start")) == 1
    assert "111.example" in nodes.front(node, "hosts.map")
    assert f"{INTERFACES}{nodes.ID.replace('-', '')[:11]}" in nodes.rules(node)
    return outcome.get(nodes.OTHER, "")


OPENING = {"protocol": "tcp", "port": 5432, "node_port": 23000, "sources": ["0.0.0.0/0"]}
MOVE = {"node": "n2", "address": "192.0.2.7", "http_port": 80, "ssh_port": 22}


@bytes_of
def test_a_record_that_cannot_be_read_keeps_no_other_down(
    made: tuple[Node, Fake], data: bytes
) -> None:
    node, host = made
    record_of(node, nodes.OTHER).write_bytes(data)
    assert goes_on(node, host).startswith("failed: the record of an environment is damaged: ")
    with pytest.raises(CorpusError, match="damaged"):
        node.records.find(nodes.OTHER)


@pytest.mark.parametrize(
    "wrong",
    [
        {"made": 5},
        {"order": "first"},
        {"wanted": 1},
        {"slot": None},
        {"limits": {"memory": "1G"}},
        {"ssh_port": -7},
        {"ssh_port": 70000},
        {"openings": [OPENING | {"sources": ["nonsense"]}]},
        {"openings": [OPENING | {"sources": []}]},
        {"openings": [OPENING | {"protocol": "{"}]},
        {"openings": [OPENING | {"node_port": 0}]},
        {"move": MOVE | {"http_port": 0}},
        {"move": MOVE | {"address": "there"}},
    ],
    ids=str,
)
def test_a_record_that_holds_other_things_than_it_should_keeps_no_other_down(
    made: tuple[Node, Fake], wrong: dict[str, object]
) -> None:
    node, host = made
    path = record_of(node, nodes.OTHER)
    path.write_text(json.dumps(json.loads(path.read_text()) | wrong))
    assert goes_on(node, host).startswith("failed: the record of an environment is damaged: ")


def test_a_disk_that_fails_below_a_record_keeps_no_other_down(
    made: tuple[Node, Fake], monkeypatch: pytest.MonkeyPatch
) -> None:
    node, host = made
    _reading(monkeypatch, record_of(node, nodes.OTHER), _fails)
    assert "Input/output error" in goes_on(node, host)


def test_a_record_that_goes_after_its_name_was_listed_is_none(
    made: tuple[Node, Fake], monkeypatch: pytest.MonkeyPatch
) -> None:
    node, host = made
    _reading(monkeypatch, record_of(node, nodes.OTHER), Path.unlink)
    assert goes_on(node, host) == ""
    assert node.records.damaged() == {}


@bytes_of
def test_an_image_that_cannot_be_read_keeps_nothing_down(
    made: tuple[Node, Fake], data: bytes
) -> None:
    node, _ = made
    (image,) = images.listed(node)
    path = node.settings.images / f"{image.id}.json"
    path.write_bytes(data)
    outcome = boot.boot(node)
    assert [outcome[id] for id in (nodes.ID, nodes.OTHER)] == ["started", "started"]
    assert images.listed(node) == []
    told = [one for one in found(node) if one["check"] == "images"]
    assert [one["where"] for one in told] == [str(path)]
    assert told[0]["mend"] == "remove it, and import the image again"
    identity = guest.rootfs(node.settings, nodes.ID) / "etc/corpus/environment.json"
    assert json.loads(identity.read_text())["image"] == image.id


@bytes_of
def test_other_state_that_cannot_be_read_keeps_nothing_down(
    made: tuple[Node, Fake], data: bytes
) -> None:
    node, _ = made
    paths = [
        node.settings.prefix / "peers" / "other.json",
        weights._file(node, nodes.ID),
        Machines(node)._path(nodes.THIRD),
        node.settings.certificates / "a.example" / "source.json",
    ]
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    outcome = boot.boot(node)
    assert {*outcome.values()} == {"started"}
    assert peers.addresses(node) == {}
    assert weights.last(node, nodes.ID) is None
    for read in (peers.listed, lambda node: Machines(node).all()):
        with pytest.raises(CorpusError, match="damaged"):
            read(node)


def _fails(path: Path) -> None:
    raise OSError(errno.EIO, "Input/output error", str(path))


def _reading(monkeypatch: pytest.MonkeyPatch, path: Path, first: Callable[[Path], object]) -> None:
    """Have ``first`` done whenever the file ``path`` is about to be read, where it is there."""
    read = Path.read_text

    def reading(self: Path, *given: str, **more: str) -> str:
        if self == path and self.exists():
            first(self)
        return read(self, *given, **more)

    monkeypatch.setattr(Path, "read_text", reading)
