"""A machine of another kind, or with something in the way, is refused, and nothing is touched."""

from __future__ import annotations

from typing import Any

import pytest

from corpus.model.errors import Conflict, CorpusError, InvalidInput, NotFound, Unsupported
from corpus.node.saltify import contents, making
from corpus.node.saltify.records import Machines
from unit.node.machines import HOST_KEY
from unit.node.nodes import ID, OTHER
from unit.node.saltified import UNIT, Stage
from unit.node.saltified import stage as stage


def test_a_kernel_without_nftables_is_refused(stage: Stage) -> None:
    stage.machine.prepare_failure("nft", err="not supported")
    with pytest.raises(Unsupported, match="nftables does not work: not supported"):
        stage.prepare()
    assert stage.listed() == stage.before


def test_a_damaged_layer_is_not_put_there(stage: Stage) -> None:
    layer = next(stage.image.glob("salt-*"))
    layer.write_bytes(layer.read_bytes()[:-1] + b"x")
    with pytest.raises(InvalidInput, match="damaged"):
        stage.prepare()
    assert stage.listed() == stage.before


@pytest.mark.parametrize(
    ("facts", "what"),
    [
        ({"user": 1000}, "not root's"),
        ({"system": ["debian", "11"]}, "no Debian 12"),
        ({"system": ["ubuntu", "24.04"]}, "no Debian 12"),
        ({"init": "runit"}, "not systemd"),
        ({"machine": "aarch64"}, "the image is for x86_64"),
        ({"python": [3, 12]}, "not 3.11"),
    ],
)
def test_another_kind_of_machine_is_refused(stage: Stage, facts: dict[str, Any], what: str) -> None:
    stage.machine.facts |= facts
    for test in (True, False):
        with pytest.raises(Unsupported, match=what):
            stage.prepare(test=test)
    assert stage.listed() == stage.before
    assert Machines(stage.node).all() == []


@pytest.mark.parametrize(
    "path", ["opt/corpus/x", "etc/salt/minion", UNIT, "usr/local/bin/salt-call"]
)
def test_what_is_somebody_s_is_in_the_way(stage: Stage, path: str) -> None:
    (stage.root / path).parent.mkdir(parents=True, exist_ok=True)
    (stage.root / path).write_text("theirs")
    with pytest.raises(Conflict, match="there is already"):
        stage.prepare()
    assert (stage.root / path).read_text() == "theirs"


def test_a_full_disk_and_strange_projects_are_refused(stage: Stage) -> None:
    (stage.root / "srv/projects/old-stuff").mkdir(parents=True)
    with pytest.raises(Conflict, match="no project: old-stuff"):
        stage.prepare()
    stage.machine.facts["free"] = {"/opt": 1 << 20, "/var/lib": 1 << 40, "/srv": 1}
    with pytest.raises(Conflict, match="are free"):
        stage.prepare()


def test_the_environment_of_another_node_is_refused(stage: Stage) -> None:
    stage.prepare()
    Machines(stage.node).remove(ID)
    with pytest.raises(Conflict, match=f"is the environment {ID}"):
        stage.prepare(id=OTHER)
    assert stage.prepare()["changes"] == []  # with its id it goes on


def test_the_first_contact_needs_the_host_key(stage: Stage) -> None:
    with pytest.raises(InvalidInput, match="host key is not known"):
        stage.prepare(host_key=None)
    made = stage.prepare(host_key=None, accept_new=True)
    assert made["host_key"] == HOST_KEY
    stage.prepare(host_key=None)  # it is pinned now


@pytest.mark.parametrize(
    ("given", "error"),
    [
        ({"id": "x"}, InvalidInput),
        ({"port": 0}, InvalidInput),
        ({"user": "-oProxyCommand=x"}, InvalidInput),
        ({"platform": "test"}, CorpusError),
        ({"host_key": "ssh-rsa AAAA"}, InvalidInput),
        ({"keys": ["command=x"]}, InvalidInput),
        ({"image": None}, InvalidInput),
        ({"image": "/nowhere"}, NotFound),
        ({"key": "/nowhere"}, NotFound),
    ],
)
def test_bad_arguments(stage: Stage, given: dict[str, Any], error: type[CorpusError]) -> None:
    with pytest.raises(error):
        stage.prepare(**given)
    assert Machines(stage.node).all() == []


def test_a_host_is_no_option_of_ssh(stage: Stage) -> None:
    with pytest.raises(InvalidInput):
        making.prepare(stage.node, "-oProxyCommand=x", image=str(stage.image), host_key=HOST_KEY)


def test_a_damaged_record_is_told(stage: Stage) -> None:
    stage.prepare()
    (Machines(stage.node).directory / f"{ID}.json").write_text("{")
    with pytest.raises(CorpusError, match="damaged"):
        stage.check()


def test_the_image_of_a_node_is_none_for_machines(stage: Stage) -> None:
    text = (stage.image / "manifest.json").read_text().replace("code-environment", "code-node")
    (stage.image / "manifest.json").write_text(text)
    with pytest.raises(InvalidInput, match="no image of environments"):
        contents.of_image(stage.image)
