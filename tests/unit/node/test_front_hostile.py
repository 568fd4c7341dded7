"""What the front's environment says of itself may be anything: the node goes on without it."""

from __future__ import annotations

import errno
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from corpus.commands import haproxy
from corpus.model.errors import CommandFailed, Conflict, CorpusError
from corpus.node.context import Node
from corpus.node.doctor import proxy
from corpus.node.environments import lifecycle, making
from corpus.node.migration import decisions
from corpus.node.proxy import front, replica, routes, service
from unit.node import nodes
from unit.node.nodes import host_of

FIRST = "33333333-2222-4333-8444-555555555555"


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return nodes.with_front(tmp_path)


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
    assert nodes.led(node)
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
    assert not nodes.led(node)
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


def kept(node: Node) -> list[str]:
    """What the environment of role proxy has of the front."""
    return [path for path in host_of(node).files if path.startswith(str(nodes.INSIDE))]


def test_one_that_is_started_instead_of_thawed_keeps_no_keys(node: Node) -> None:
    lifecycle.freeze(node, nodes.OTHER)
    front.move(node, "node")
    assert kept(node) != []
    lifecycle.start(node, nodes.OTHER)
    assert kept(node) == []


def test_one_that_stays_after_a_migration_that_failed_keeps_no_keys(node: Node) -> None:
    lifecycle.freeze(node, nodes.OTHER)
    front.move(node, "node")
    decisions.keep(node, node.records.get(nodes.OTHER))
    assert kept(node) == []


def test_one_that_keeps_its_keys_keeps_no_other_from_losing_them(node: Node) -> None:
    host = host_of(node)
    making.create(node, id=FIRST, role="proxy", wait=0)
    asked: list[str] = []

    def answer(argv: Sequence[str]) -> str:
        if argv[-1] == service.SERVICE and any("SIGUSR1" in word for word in argv):
            asked.append(argv[2].removeprefix("--name="))
            raise CommandFailed(argv, None, "")
        return nodes.attached(host, argv)

    host.answer("lxc-attach", answer)
    with pytest.raises(Conflict, match="may still have the sites' keys") as caught:
        front.move(node, "node")
    assert sorted(asked) == [FIRST, nodes.OTHER]
    assert str(caught.value).count("may still have") == 2
    assert all(f"corpus_node.stop {id}" in str(caught.value) for id in asked)
    assert not nodes.led(node)


def told(node: Node) -> list[tuple[str, str]]:
    return [(one.what, one.where) for one in proxy.environment(node)]


def test_one_that_is_frozen_on_purpose_is_not_had_back_by_the_doctor(node: Node) -> None:
    replica.pass_over(node, nodes.OTHER, "it does not answer")
    (finding,) = proxy.environment(node)
    lifecycle.freeze(node, nodes.OTHER)
    assert told(node) == []
    assert finding.mended_now().mended  # frozen after it was found
    assert nodes.ran(host_of(node), "lxc-unfreeze") == []
    assert not nodes.led(node)
    lifecycle.thaw(node, nodes.OTHER)
    (finding,) = proxy.environment(node)
    assert finding.mended_now().mended
    assert nodes.led(node)


def test_one_that_hangs_hides_nothing_from_the_doctor(node: Node) -> None:
    host = host_of(node)

    def answer(argv: Sequence[str]) -> str:
        if "sha256sum" in argv:
            raise CommandFailed(argv, None, "")
        return nodes.attached(host, argv)

    host.answer("lxc-attach", answer)
    host.prepare_failure("corpus-front.service")
    first, second = proxy.environment(node)
    assert "does not do in time" in first.what
    assert (first.where, second.where) == (nodes.OTHER, "corpus-front.service")
    host.answer("lxc-attach", lambda argv: nodes.attached(host, argv))
    del host.files[f"{nodes.INSIDE}/etc/corpus/proxy/hosts.map"]
    assert first.mended_now().mended
    assert told(node) == []
