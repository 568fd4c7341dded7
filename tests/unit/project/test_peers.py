"""Pairing in an environment: what is derived from it, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from corpus.model.errors import Conflict, InvalidInput, NotFound
from corpus.project import layout, peers
from corpus.project.place import Project
from pairs import PROD_ID, STAGING_ID, Pair, environment
from projects import Scratch

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI" + "Z" * 43
THIRD_ID = "33333333-2222-4333-8444-555555555555"


@pytest.fixture
def both(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Pair:
    return Pair(tmp_path, monkeypatch)


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """Two environments for tests that change nothing."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        yield Pair(tmp_path_factory.mktemp("strict"), monkeypatch)


def keys(scratch: Scratch) -> str:
    return (scratch.place.keys / "corpus-releases").read_text()


def reader(**change: Any) -> dict[str, Any]:
    """A prod environment as it describes itself."""
    said = {"project": "demo", "environment": THIRD_ID, "platform": "prod", "host_key": KEY}
    return {**said, "fetch_key": KEY, **change}


def source(**change: Any) -> dict[str, Any]:
    """A staging environment as it describes itself."""
    said = {"project": "demo", "environment": THIRD_ID, "platform": "staging", "host_key": KEY}
    return {**said, "signing_key": KEY, "address": "10.88.0.1", "port": 22001, **change}


def test_an_environment_says_what_it_is(both: Pair) -> None:
    offered = peers.identity(both.staging.project)
    assert (offered.environment, str(offered.platform), offered.project) == (
        STAGING_ID, "staging", "demo",
    )  # fmt: skip
    assert (offered.address, offered.port) == ("10.88.0.9", 22)
    assert offered.signing_key
    assert offered.fetch_key is None
    asking = peers.identity(both.prod.project, "prod.example.org", 2200)
    assert asking.fetch_key
    assert asking.signing_key is None
    assert (asking.address, asking.port) == ("prod.example.org", 2200)
    assert peers.identity(both.prod.project).fetch_key == asking.fetch_key
    assert not both.prod.place.release_key.exists()


def test_what_follows_from_a_pair(both: Pair) -> None:
    both.pair()
    asking, offered = peers.listed(both.staging.project)[0], peers.listed(both.prod.project)[0]
    root = both.staging.paths.root
    assert keys(both.staging) == (
        f'restrict,command="/usr/bin/python3 -IS {peers.SERVE} {root}" '
        f"{asking.fetch_key} demo@{PROD_ID}\n"
    )
    assert both.prod.place.signers.read_text() == (
        f'demo@{STAGING_ID} namespaces="corpus-release" {offered.signing_key}\n'
    )
    known = both.prod.place.fetch_keys / "demo.known_hosts"
    assert known.read_text() == f"{STAGING_ID} {offered.host_key}\n"
    assert not (both.prod.place.keys / "corpus-releases").exists()
    assert not both.staging.place.signers.exists()
    stored = both.prod.place.peers / "demo.json"
    assert stored.stat().st_mode & 0o777 == 0o600
    assert (both.prod.place.fetch_keys / "demo").stat().st_mode & 0o777 == 0o600
    assert peers.staging(both.prod.project) == offered
    assert peers.staging(both.staging.project) is None


def test_again_it_is_the_same_and_unpairing_leaves_nothing(both: Pair) -> None:
    both.pair()
    before = keys(both.staging), both.prod.place.signers.read_text()
    both.pair()
    assert (keys(both.staging), both.prod.place.signers.read_text()) == before
    assert peers.unpair(both.staging.project, PROD_ID) == [PROD_ID]
    assert peers.unpair(both.staging.project, PROD_ID) == []
    assert peers.unpair(both.prod.project) == [STAGING_ID]
    assert not (both.staging.place.keys / "corpus-releases").exists()
    assert not both.prod.place.signers.exists()
    assert not (both.prod.place.fetch_keys / "demo.known_hosts").exists()
    assert not list(both.prod.place.peers.glob("*.json"))


def test_a_peer_is_of_one_project(both: Pair) -> None:
    """What another project is paired with is trusted for that one alone."""
    both.pair()
    other = Project.at(both.prod.place, "other")
    layout.initialise(other)
    assert peers.listed(other) == []
    peers.pair(other, source(project="other"))
    lines = both.prod.place.signers.read_text().splitlines()
    assert [line.split()[0] for line in lines] == [f"demo@{STAGING_ID}", f"other@{THIRD_ID}"]
    peers.unpair(both.prod.project)
    assert [line.split()[0] for line in both.prod.place.signers.read_text().splitlines()] == [
        f"other@{THIRD_ID}"
    ]


def test_several_may_read_one_staging(both: Pair) -> None:
    both.pair()
    peers.pair(both.staging.project, reader())
    assert len(keys(both.staging).splitlines()) == 2
    peers.unpair(both.staging.project, THIRD_ID)
    assert f"demo@{PROD_ID}" in keys(both.staging)


def test_a_second_staging_is_refused(both: Pair) -> None:
    both.pair()
    with pytest.raises(Conflict, match="is paired with staging environment"):
        peers.pair(both.prod.project, source())
    peers.unpair(both.prod.project)
    peers.pair(both.prod.project, source())


def test_a_key_leads_to_one_project(both: Pair) -> None:
    """sshd takes the first line with a key: another project's would be served instead."""
    both.pair()
    stolen = peers.listed(both.staging.project)[0].fetch_key
    other = Project.at(both.staging.place, "other")
    layout.initialise(other)
    with pytest.raises(Conflict, match="that fetch key is the one of"):
        peers.pair(other, reader(project="other", fetch_key=stolen))
    with pytest.raises(Conflict, match="that fetch key is the one of"):
        peers.pair(both.staging.project, reader(fetch_key=stolen))
    assert len(keys(both.staging).splitlines()) == 1


@pytest.mark.parametrize(
    "change",
    [
        {"project": "other"},
        {"environment": STAGING_ID},
        {"environment": "../x"},
        {"platform": "staging", "signing_key": KEY},
        {"platform": "dev"},
        {"fetch_key": None},
        {"fetch_key": f'restrict,command="sh" {KEY}'},
        {"fetch_key": f"{KEY}\n{KEY}"},
        {"comment": "x"},
    ],
    ids=str,
)
def test_hostile_readers(strict: Pair, change: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput):
        peers.pair(strict.staging.project, reader(**change))
    assert peers.listed(strict.staging.project) == []
    assert not (strict.staging.place.keys / "corpus-releases").exists()


@pytest.mark.parametrize(
    "change",
    [
        {"environment": PROD_ID},
        {"platform": "prod", "fetch_key": KEY},
        {"address": None},
        {"port": None},
        {"address": "-oProxyCommand=id"},
        {"signing_key": f'{KEY}\n*@* namespaces="corpus-release" {KEY}'},
        {"host_key": f"{KEY}\n* {KEY}"},
        {"host_key": f"@cert-authority {KEY}"},
    ],
    ids=str,
)
def test_hostile_sources(strict: Pair, change: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput):
        peers.pair(strict.prod.project, source(**change))
    assert peers.listed(strict.prod.project) == []
    assert not strict.prod.place.signers.exists()


def test_an_environment_that_no_node_made(tmp_path: Path) -> None:
    one = environment(tmp_path, STAGING_ID, "staging")
    one.place.identity.unlink()
    with pytest.raises(NotFound, match="has no identity"):
        peers.identity(one.project)
    with pytest.raises(NotFound, match="has no identity"):
        peers.pair(one.project, reader())
    one.place.identity.write_text(json.dumps({"id": STAGING_ID, "platform": "dev"}))
    with pytest.raises(InvalidInput, match="a dev environment"):
        peers.identity(one.project)


def test_damaged_peers_are_told(both: Pair) -> None:
    both.pair()
    for text in ("{", '["x"]', "3", '{"a": 1}'):
        (both.prod.place.peers / "demo.json").write_text(text)
        with pytest.raises(InvalidInput):
            peers.listed(both.prod.project)


def test_a_half_made_key_is_made_anew(both: Pair) -> None:
    folder = both.prod.place.fetch_keys
    folder.mkdir(parents=True)
    (folder / ".demo.partial").write_text("half")
    (folder / "demo.pub").write_text("of a key that was lost")
    assert peers.identity(both.prod.project).fetch_key
    assert sorted(path.name for path in folder.iterdir()) == ["demo", "demo.pub"]
