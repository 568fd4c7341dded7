"""Pairing on the node: both are told, what they say is checked, the firewall knows."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from corpus.hosts.fake import Fake
from corpus.model.errors import CommandFailed, CorpusError, InvalidInput, InvalidName, NotFound
from corpus.node import pairing
from corpus.node.context import Node
from corpus.node.environments import listing, making, removal
from unit.node import nodes

STAGING, PROD = nodes.ID, nodes.OTHER
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI" + "A" * 43


class Guests:
    """The two environments as they answer."""

    def __init__(self, host: Fake) -> None:
        self.host = host
        self.told: list[tuple[str, ...]] = []
        self.says: dict[str, Any] = {
            STAGING: self.identity(STAGING, "staging", signing_key=KEY),
            PROD: self.identity(PROD, "prod", fetch_key=KEY),
        }
        host.answer("lxc-attach", self.answer)

    @staticmethod
    def identity(id: str, platform: str, **more: Any) -> dict[str, Any]:
        said = {"project": "demo", "environment": id, "platform": platform, "host_key": KEY}
        return {**said, "address": "10.88.0.99", "port": None, **more}

    def answer(self, argv: Sequence[str]) -> str:
        id = next(word for word in argv if word.startswith("--name=")).removeprefix("--name=")
        words = tuple(argv[argv.index("--log-level=quiet") + 1 :])
        self.told.append((id, *words))
        if words[0] == "mc_project.identity":
            said = self.says[id]
            return said if isinstance(said, str) else json.dumps({"local": said})
        return json.dumps({"local": True})

    def given(self, id: str) -> Any:
        words = next(w for w in self.told if w[:2] == (id, "mc_project.pair"))
        return json.loads(words[3].removeprefix("peer="))


@pytest.fixture
def node(tmp_path: Path) -> Node:
    made, host = nodes.make(tmp_path)
    making.create(made, id=STAGING, platform="staging", wait=0)
    making.create(made, id=PROD, platform="prod", wait=0)
    host.calls.clear()
    return made


@pytest.fixture
def guests(node: Node) -> Guests:
    assert isinstance(node.host, Fake)
    return Guests(node.host)


def door(node: Node) -> list[str]:
    """What the proxy listens on, for whom, and where it leads."""
    text = nodes.front(node, "haproxy.cfg")
    pattern = r"bind (10\S+)\n(?:.*\n){2}.*src (\S+) }\n(?:.*\n){2}.*server guest (\S+:22)\n"
    return [word for found in re.findall(pattern, text) for word in found]


def rules(guests: Guests) -> str:
    loads = [call for call in guests.host.calls if call.argv[0] == "nft"]
    return (loads[-1].stdin or b"").decode() if loads else ""


def test_each_is_told_of_the_other(node: Node, guests: Guests) -> None:
    pairing.pair(node, STAGING, PROD, "demo")
    offered, reader = guests.given(PROD), guests.given(STAGING)
    assert (offered["address"], offered["port"]) == ("10.88.0.1", 22001)
    assert (offered["environment"], offered["signing_key"]) == (STAGING, KEY)
    assert (reader["environment"], reader["fetch_key"]) == (PROD, KEY)
    assert (reader["address"], reader["port"]) == (None, None)
    assert listing.inspect(node, PROD)["pairs"] == [{"project": "demo", "staging": STAGING}]
    assert "10.88.0.11 . 22001" in rules(guests)
    assert door(node) == ["10.88.0.1:22001", "10.88.0.11", "10.88.0.10:22"]


def test_again_it_changes_nothing(node: Node, guests: Guests) -> None:
    first, told = pairing.pair(node, STAGING, PROD, "demo"), rules(guests)
    guests.host.calls.clear()
    assert pairing.pair(node, STAGING, PROD, "demo") == first
    assert rules(guests) == told  # loaded again: a crash may have come before the first time


def test_a_second_project_keeps_the_way_when_the_first_is_unpaired(
    node: Node, guests: Guests
) -> None:
    pairing.pair(node, STAGING, PROD, "demo")
    for said in guests.says.values():
        said["project"] = "more"
    pairing.pair(node, STAGING, PROD, "more")
    assert pairing.unpair(node, STAGING, PROD, "demo") != []
    assert "10.88.0.11 . 22001" in rules(guests)
    assert pairing.unpair(node, STAGING, PROD, "more") != []
    assert "10.88.0.11 . 22001" not in rules(guests)
    assert (STAGING, "mc_project.unpair", "demo", f"environment={PROD}") in guests.told
    assert (PROD, "mc_project.unpair", "demo", f"environment={STAGING}") in guests.told


def test_a_destroyed_staging_is_forgotten(node: Node, guests: Guests) -> None:
    pairing.pair(node, STAGING, PROD, "demo")
    removal.destroy(node, STAGING)
    assert listing.inspect(node, PROD)["pairs"] == []
    assert "10.88.0.11 . 22001" not in rules(guests)
    assert door(node) == []


def test_a_destroyed_production_leaves_no_door(node: Node, guests: Guests) -> None:
    pairing.pair(node, STAGING, PROD, "demo")
    removal.destroy(node, PROD)
    assert door(node) == []


def test_a_pair_that_the_proxy_refuses_is_taken_back(node: Node, guests: Guests) -> None:
    guests.host.prepare_failure("haproxy", err="refused")
    with pytest.raises(CommandFailed):
        pairing.pair(node, STAGING, PROD, "demo")
    assert listing.inspect(node, PROD)["pairs"] == []
    assert "10.88.0.11 . 22001" not in rules(guests)


@pytest.mark.parametrize(
    ("id", "lie"),
    [
        (STAGING, {"environment": PROD}),
        (STAGING, {"platform": "prod", "fetch_key": KEY}),
        (STAGING, {"project": "another"}),
        (STAGING, {"signing_key": None}),
        (STAGING, {"signing_key": f"{KEY}\nevil"}),
        (PROD, {"environment": "33333333-2222-4333-8444-555555555555"}),
        (PROD, {"fetch_key": f'command="sh" {KEY}'}),
        (PROD, {"more": 1}),
    ],
)
def test_what_an_environment_says_is_checked(
    node: Node, guests: Guests, id: str, lie: dict[str, Any]
) -> None:
    guests.says[id] |= lie
    with pytest.raises(InvalidInput):
        pairing.pair(node, STAGING, PROD, "demo")
    assert not [words for words in guests.told if words[1] == "mc_project.pair"]
    assert listing.inspect(node, PROD)["pairs"] == []
    assert rules(guests) == ""


@pytest.mark.parametrize("said", ["", "[]", "null", '{"local": null}', "[" * 100_000])
def test_an_environment_that_answers_nonsense(node: Node, guests: Guests, said: str) -> None:
    guests.says[STAGING] = said
    with pytest.raises(CorpusError, match="identity failed"):
        pairing.pair(node, STAGING, PROD, "demo")


def test_a_pair_is_a_staging_and_a_prod_environment(node: Node, guests: Guests) -> None:
    with pytest.raises(InvalidInput, match="no staging environment"):
        pairing.pair(node, PROD, STAGING, "demo")
    with pytest.raises(InvalidInput, match="no prod environment"):
        pairing.pair(node, STAGING, STAGING, "demo")
    with pytest.raises(InvalidName):
        pairing.pair(node, STAGING, PROD, "../demo")
    with pytest.raises(NotFound):
        pairing.pair(node, STAGING, "33333333-2222-4333-8444-555555555555", "demo")
    assert guests.told == []
