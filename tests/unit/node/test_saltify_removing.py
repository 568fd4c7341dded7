"""A machine stops being an environment without a trace; what is somebody else's stays."""

from __future__ import annotations

import pytest

from corpus.model.errors import Conflict, NotFound
from corpus.node.saltify import removing
from corpus.node.saltify.records import Machines
from unit.node.nodes import KEY, OTHER
from unit.node.saltified import UNIT, Stage
from unit.node.saltified import stage as stage


@pytest.mark.parametrize("step", ["systemctl", "clear", "nft"])
def test_a_removal_that_died_goes_on(stage: Stage, step: str) -> None:
    stage.prepare(keys=[KEY])
    stage.machine.active = step == "systemctl"
    stage.machine.dies_at = step
    with pytest.raises(KeyboardInterrupt):
        stage.remove()
    stage.remove()
    assert stage.listed() == stage.before
    assert Machines(stage.node).all() == []


def test_no_deployment_is_cut_off(stage: Stage) -> None:
    stage.prepare()
    stage.project()
    (stage.root / "srv/projects/shop/.corpus/journal").touch()
    (stage.root / UNIT).write_text("mine")
    for call in (stage.remove, stage.check):
        with pytest.raises(Conflict, match="a deployment of shop is under way"):
            call()


def test_projects_stay_unless_their_data_is_named(stage: Stage) -> None:
    stage.prepare(keys=[KEY])
    stage.project()
    said = stage.remove()
    assert said["changes"][0] == "leave the project shop with its data"
    assert (stage.root / "srv/projects/shop/data").is_dir()
    assert (stage.root / "etc/corpus/keys").is_dir()
    assert not (stage.root / "opt/corpus").exists()
    assert not any("mc_project.remove" in argv for argv in stage.machine.commands)
    stage.prepare(id=OTHER)
    assert removing.remove(stage.node, OTHER, data=True, test=True)["test"]
    removing.remove(stage.node, OTHER, data=True)
    assert any("mc_project.remove" in argv for argv in stage.machine.commands)
    assert stage.listed() == stage.before


def test_what_others_put_beside_ours_stays(stage: Stage) -> None:
    stage.prepare()
    theirs = ("srv/salt/top.sls", "srv/projects/notes", "etc/salt/minion.d/x.conf")
    for path in theirs:
        (stage.root / path).parent.mkdir(parents=True, exist_ok=True)
        (stage.root / path).write_text("theirs")
    stage.remove(data=True)
    assert {path for path in theirs if (stage.root / path).exists()} == {*theirs}
    assert not (stage.root / "srv/pillar").exists()


def test_what_was_changed_is_kept_by_a_removal(stage: Stage) -> None:
    stage.prepare()
    (stage.root / "etc/salt/minion").write_text("mine")
    kept = stage.remove()["kept"]
    assert (stage.root / kept["/etc/salt/minion"].lstrip("/")).read_text() == "mine"


def test_keys_of_root_that_were_there_stay(stage: Stage) -> None:
    path = stage.root / "root/.ssh/authorized_keys"
    path.parent.mkdir(mode=0o700)
    path.write_text(f"# me\n{KEY}\nssh-ed25519 AAAA other\n")
    path.chmod(0o640)
    before = stage.listed()
    stage.prepare(keys=[KEY])
    stage.remove()
    assert stage.listed() == before
    assert path.stat().st_mode & 0o777 == 0o640


def test_a_machine_that_is_gone_is_forgotten(stage: Stage) -> None:
    stage.prepare()
    stage.machine.calls.clear()
    assert stage.remove(forget=True, test=True)["test"]
    stage.remove(forget=True)
    assert stage.machine.calls == []
    with pytest.raises(NotFound):
        stage.check()
