"""What the front's environment says of itself may be anything: the node goes on without it."""

from __future__ import annotations

import errno
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from corpus.commands import haproxy
from corpus.hosts.fake import Fake
from corpus.model.errors import Conflict, CorpusError
from corpus.node.context import Node
from corpus.node.environments import lifecycle, making
from corpus.node.proxy import front, replica, routes
from unit.node import nodes


@pytest.fixture
def node(tmp_path: Path) -> Node:
    node, host = nodes.make(tmp_path)
    making.create(node, id=nodes.ID, hosts=["a.example"], wait=0)
    making.create(node, id=nodes.OTHER, role="proxy", wait=0)
    host.answer("lxc-attach", lambda argv: nodes.attached(host, argv))
    front.move(node, nodes.OTHER)
    return node


def host_of(node: Node) -> Fake:
    assert isinstance(node.host, Fake)
    return node.host


def led(node: Node) -> bool:
    loads = [one.stdin or b"" for one in host_of(node).calls if one.argv == ("nft", "-f", "-")]
    return b"dnat ip to 10.88.0.11:443" in loads[-1]


def lies(node: Node, word: str, text: str) -> None:
    """Have the environment print ``text`` where its command ends with ``word``."""
    host = host_of(node)

    def say(argv: Sequence[str]) -> str:
        return text if argv[-1].endswith(word) else nodes.attached(host, argv)

    host.answer("lxc-attach", say)


def breaks(node: Node, error: Exception) -> None:
    """Have all that is run in an environment end with this error."""

    def trip(argv: Sequence[str]) -> str:
        raise error

    host_of(node).answer("lxc-attach", trip)


@pytest.mark.parametrize(
    "text",
    [
        r'{"\u0000": "x"}',
        r'{"\ud800": "x"}',
        '[[1, "x"]]',
        '{"hosts.map": 1, "old.map": null}',
        '{"../../shadow": "", "/etc/passwd": "", "new/hosts.map": ""}',
        json.dumps({"a" * 200_000: ""}),
        json.dumps({f"{number}.map": "" for number in range(100_000)}),
        json.dumps({"hosts.map": "a" * 200_000, "wildcards.map": "\ud800"}),
    ],
    ids=["nul", "surrogate", "number", "values", "paths", "long", "many", "digests"],
)
def test_what_it_says_it_has_taken_is_taken_for_names_of_files_alone(node: Node, text: str) -> None:
    lies(node, "applied.json", text)
    since = len(host_of(node).calls)
    routes.route(node, nodes.ID, routes.parse_route("b.example", 8000))
    assert led(node)
    assert replica.differing(node, node.records.get(nodes.OTHER)) != []
    for call in host_of(node).calls[since:]:
        words = b"".join(word.encode() + b"\0" for word in call.argv)
        assert max(map(len, call.argv)) < 10_000
        assert len(words) < 1_000_000
        assert "\0" not in "".join(call.argv)
        assert b".." not in words
        assert b"passwd" not in words


def test_a_version_is_a_number_of_few_digits() -> None:
    assert haproxy.parse_version("New version created: 12") == 12
    for odd in ("9" * 5000, "\u0661", ""):
        assert haproxy.parse_version(f"New version created: {odd}") is None


@pytest.mark.parametrize("error", [OSError(errno.E2BIG, "too long"), ValueError("\ud800\n")])
def test_whatever_goes_wrong_there_it_is_passed_over(node: Node, error: Exception) -> None:
    breaks(node, error)
    routes.route(node, nodes.ID, routes.parse_route("b.example", 8000))
    assert not led(node)
    away = node.records.get(nodes.OTHER).away
    assert "makes no sense" in away
    assert away.isprintable()
    with pytest.raises(CorpusError, match="makes no sense"):
        replica.bring(node, nodes.OTHER)
    assert front.front(node) == nodes.OTHER
    with pytest.raises(Conflict, match="may still have the sites' keys"):
        front.move(node, "node")
    replica.catch_up(node, node.records.get(nodes.OTHER))


CALLS: dict[str, Callable[[Node], object]] = {
    "thaw": lambda node: (lifecycle.freeze(node, nodes.OTHER), lifecycle.thaw(node, nodes.OTHER)),
    "create": lambda node: making.create(node, hosts=["c.example"], wait=0),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS.keys())
def test_what_others_do_ends_well(node: Node, call: Callable[[Node], object]) -> None:
    breaks(node, TypeError("no"))
    call(node)
