"""A machine that people have becomes an environment, and stops being one, without a trace."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from corpus.model.errors import Conflict, CorpusError, InvalidInput, NotFound, Unsupported
from corpus.node.context import Node
from corpus.node.saltify import contents, inside, making, removing
from corpus.node.saltify.records import Machines
from unit.node.machines import HOST_KEY, Machine, image, reach
from unit.node.nodes import ID, KEY, OTHER, make

LINK = "usr/local/bin/salt-call"
UNIT = "etc/systemd/system/corpus-deploy.service"


class Stage:
    """A node, a machine, and calls that lead from one to the other."""

    def __init__(self, folder: Path) -> None:
        self.node: Node = make(folder / "node")[0]
        self.machine = Machine(folder / "machine")
        self.root = self.machine.root
        self.image = image(folder / "image")
        (folder / "key").write_text("private")
        self.key = folder / "key"
        self.before = self.listed()

    def prepare(self, **given: Any) -> dict[str, Any]:
        values = {"id": ID, "key": str(self.key), "host_key": HOST_KEY, "image": str(self.image)}
        return making.prepare(self.node, "web.example", **{**values, **given})

    def check(self, **given: Any) -> dict[str, Any]:
        return making.check(self.node, ID, **given)

    def remove(self, **given: Any) -> dict[str, Any]:
        return removing.remove(self.node, ID, **given)

    def listed(self) -> dict[str, str]:
        found = {}
        for path in sorted(self.root.rglob("*")):
            name = str(path.relative_to(self.root))
            link = str(path.readlink()) if path.is_symlink() else ""
            found[name] = link or (path.read_text() if path.is_file() else "/")
        return found

    def project(self, name: str = "shop") -> None:
        for path in (
            f"srv/projects/{name}/.corpus",
            f"srv/projects/{name}/data",
            "etc/corpus/keys",
        ):
            (self.root / path).mkdir(parents=True)


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stage:
    made = Stage(tmp_path)
    reach(monkeypatch, made.machine, tmp_path)
    return made


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


def test_a_kernel_without_nftables_is_refused(stage: Stage) -> None:
    stage.machine.prepare_failure("nft", err="not supported")
    with pytest.raises(Unsupported, match="nftables does not work: not supported"):
        stage.prepare()
    assert stage.listed() == stage.before


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
