"""A machine that people have becomes an environment, checked and mended, whoever dies half-way."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from corpus.model.errors import Conflict
from corpus.node.saltify import inside, making
from corpus.node.saltify.records import Machines
from unit.node.machines import HOST_KEY, image
from unit.node.nodes import ID, KEY, OTHER
from unit.node.saltified import UNIT, Stage
from unit.node.saltified import stage as stage


def test_what_is_put_there_and_what_is_not(stage: Stage) -> None:
    made = stage.prepare(keys=[KEY])
    after = stage.listed()
    assert after[UNIT] == f"/{UNIT} 1\n"
    assert after["opt/corpus/code.py"] == "1"
    assert after["usr/local/bin/salt-call"] == "/opt/corpus/bin/salt-call"
    assert after["root/.ssh/authorized_keys"] == f"{KEY}\n"
    assert "etc/apt/sources.list" not in after
    assert "etc/base" not in after
    identity = json.loads(after["etc/corpus/environment.json"])
    assert (identity["id"], identity["platform"], identity["address"]) == (
        ID,
        "prod",
        "web.example",
    )
    assert made["stage"] == "ready"
    assert stage.machine.active
    assert any("allowgroups staff" in note for note in made["notes"])
    assert not (stage.root / inside.LAYERS.lstrip("/")).exists()


def test_the_second_time_there_is_nothing_to_do(stage: Stage) -> None:
    stage.prepare(keys=[KEY])
    stage.machine.calls.clear()
    assert stage.prepare(keys=[KEY])["changes"] == []
    assert stage.machine.changed() == []


def test_the_key_that_it_is_reached_with_stays(stage: Stage) -> None:
    stage.prepare()
    assert stage.prepare(key=None)["key"] == str(stage.key)


def test_the_machine_is_known_by_where_it_is(stage: Stage) -> None:
    stage.prepare()
    assert stage.prepare(id=None)["id"] == ID
    with pytest.raises(Conflict, match="is the machine"):
        stage.prepare(id=OTHER)


def test_a_dry_run_says_the_same_and_touches_nothing(stage: Stage) -> None:
    stage.machine.lacks = {"nftables"}
    said = stage.prepare(test=True)
    assert said == {"test": True, "changes": said["changes"]}
    assert "install nftables" in said["changes"]
    assert stage.listed() == stage.before
    assert Machines(stage.node).all() == []
    assert not list(stage.node.settings.locks.glob("*-*"))
    assert stage.prepare()["changes"] == said["changes"]
    assert stage.prepare(test=True)["changes"] == []


def test_lacking_packages_are_installed_and_remembered(stage: Stage) -> None:
    stage.machine.lacks = {"nftables", "zstd"}
    stage.prepare()
    installed = [argv for argv in stage.machine.commands if "install" in argv]
    assert installed[0][-2:] == ("nftables", "zstd")
    said = stage.remove()
    assert "leave to apt-get autoremove: nftables zstd" in said["changes"]
    assert ("apt-mark", "auto", "nftables", "zstd") in stage.machine.commands


STEPS = ("remember", "empty", "send", "sha256sum", "tar", "compare", "swap", "place",
         "authorise", "settle", "systemctl", "/usr/sbin/sshd")  # fmt: skip


@pytest.mark.parametrize("step", STEPS)
def test_who_dies_half_way_goes_on(stage: Stage, step: str) -> None:
    stage.machine.dies_at = step
    with pytest.raises(KeyboardInterrupt):
        stage.prepare(keys=[KEY])
    made = stage.prepare(keys=[KEY])
    assert made["kept"] == {}
    for verb in ("daemon-reload", "try-reload-or-restart", "restart"):
        assert any(verb in argv for argv in stage.machine.commands), verb
    assert stage.check()["changes"] == []
    stage.remove(data=True)
    assert stage.listed() == stage.before


def test_changes_are_told_kept_and_mended(stage: Stage) -> None:
    stage.prepare()
    (stage.root / UNIT).write_text("mine")
    (stage.root / "opt/corpus/code.py").write_text("mine too")
    (stage.root / "opt/corpus/extra").write_text("added")
    (stage.root / "usr/local/bin/salt-call").unlink()
    told = stage.check()
    assert told["differs"] == {
        f"/{UNIT}": "changed",
        "/opt/corpus/code.py": "changed",
        "/opt/corpus/extra": "foreign",
        "/usr/local/bin/salt-call": "absent",
    }
    assert (stage.root / UNIT).read_text() == "mine"
    assert stage.check(mend=True, test=True)["changes"] == told["changes"]
    mended = stage.check(mend=True)
    kept = {path: stage.listed()[where.lstrip("/")] for path, where in mended["kept"].items()}
    assert kept == {
        f"/{UNIT}": "mine", "/opt/corpus/code.py": "mine too", "/opt/corpus/extra": "added",
    }  # fmt: skip
    assert stage.check()["differs"] == {}


def test_a_mode_that_was_changed_is_a_change(stage: Stage) -> None:
    stage.prepare()
    (stage.root / UNIT).chmod(0o666)
    assert stage.check()["differs"] == {f"/{UNIT}": "changed"}


def test_a_newer_image_takes_the_place_of_the_old_one(stage: Stage, tmp_path: Path) -> None:
    stage.prepare()
    (stage.root / UNIT).write_text("mine")
    made = stage.prepare(image=str(image(tmp_path / "newer", "2")))
    assert set(made["kept"]) == {f"/{UNIT}"}  # what only got older is nobody's change
    assert stage.listed()["opt/corpus/code.py"] == "2"
    assert stage.check()["image"] == str(tmp_path / "newer")


def test_the_node_s_key_is_made_once(stage: Stage) -> None:
    def keygen(argv: Any) -> str:
        path = Path(argv[-1])
        path.write_text("private")
        Path(f"{path}.pub").write_text(HOST_KEY + "\n")
        return ""

    stage.node.host.answer("ssh-keygen", keygen)  # type: ignore[attr-defined]
    assert making.own_key(stage.node) == making.own_key(stage.node) == HOST_KEY
    made = [argv for argv in stage.node.host.commands if argv[0] == "ssh-keygen"]  # type: ignore[attr-defined]
    assert len(made) == 1
