"""A machine that somebody has becomes an environment, is pushed to, checked, and left clean.

The tests are steps of one life, in this order.
"""

from __future__ import annotations

import shutil
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from corpus.hosts.base import Result
from corpus.lab import salt, tenant
from corpus.lab.machine import Lab
from corpus.lab.tenant import Checkout, Developer
from corpus.model.errors import CorpusError
from existing import Existing, existing, lab
from patience import wait_until

__all__ = ["existing", "lab"]
EXAMPLE = Path(__file__).resolve().parents[2] / "examples/static"
UNIT = "/etc/systemd/system/corpus-deploy.service"
MODULE = "/opt/corpus/lib/python3.11/site-packages/corpus/project/steps.py"
CHATTER = ("nginx", "etc/machine-id", "etc/ld.so.cache", "-", "etc/subuid", "etc/subgid")


class Life:
    """The machine, the node that makes it an environment, a developer who pushes to it."""

    def __init__(self, lab: Lab, machine: Existing, folder: Path) -> None:
        self.lab, self.machine = lab, machine
        machine.make(self.call("key"))
        self.before = machine.listed()
        self.id = ""
        self.code: Checkout = Developer(folder / "developer").clone("static")

    def call(self, verb: str, *args: Any, **kwargs: Any) -> Any:
        return salt.call(self.lab.node(), f"corpus_node.saltify_{verb}", *args, **kwargs)

    def prepare(self, **kwargs: Any) -> Any:
        given = {"image": tenant.IMAGES, "host_key": self.machine.host_key, "platform": "staging"}
        return self.call("prepare", self.machine.address, **{**given, **kwargs})

    def inside(self, *argv: str) -> str:
        return self.machine.inside.run(argv, timeout=60).out

    def push(self, message: str) -> Result:
        owner = self.code.owner
        known = owner.folder / "known_hosts"
        command = (
            f"ssh -i {owner.key} -o IdentitiesOnly=yes -o BatchMode=yes -o UserKnownHostsFile="
            f"{known} -o StrictHostKeyChecking=accept-new"
        )
        self.code.git("config", "core.sshCommand", command)
        self.code.commit(message)
        url = f"ssh://static@{self.machine.address}/~/project.git"
        return self.code.git("push", url, "HEAD:refs/heads/master", check=False)

    def page(self) -> str:
        with urllib.request.urlopen(f"http://{self.machine.address}/", timeout=10) as answer:
            return str(answer.read().decode())


@pytest.fixture(scope="module")
def life(lab: Lab, existing: Existing, tmp_path_factory: Any) -> Iterator[Life]:
    made = Life(lab, existing, tmp_path_factory.mktemp("saltify"))
    yield made
    for machine in made.call("list"):
        made.call("remove", machine["id"], forget=True)


def test_an_unknown_host_key_is_not_taken(life: Life) -> None:
    with pytest.raises(CorpusError, match="host key is not known"):
        life.prepare(host_key=None)
    with pytest.raises(CorpusError, match="Host key verification failed"):
        life.prepare(host_key=life.code.owner.public_key)
    assert life.call("list") == []


def test_a_dry_run_touches_nothing(life: Life) -> None:
    said = life.prepare(test=True)
    assert said["test"] is True
    assert any("put /opt/corpus there" in change for change in said["changes"])
    assert life.call("list") == []
    assert life.machine.listed() == life.before


def test_a_foreign_file_is_in_the_way(life: Life) -> None:
    life.inside("mkdir", "/etc/salt")
    life.inside("touch", "/etc/salt/minion")
    with pytest.raises(CorpusError, match="there is already /etc/salt/minion"):
        life.prepare()
    life.inside("rm", "-r", "/etc/salt")
    assert life.machine.listed() == life.before


def test_a_killed_preparation_goes_on(life: Life) -> None:
    node, words = life.lab.node(), [f"image={tenant.IMAGES}", "platform=staging"]
    words.append(f"host_key={life.machine.host_key}")
    call = ["salt-call", "--local", "corpus_node.saltify_prepare", life.machine.address, *words]
    node.run(["systemd-run", "--quiet", "--collect", "--unit=killed", *call])
    tree = life.machine.root / "opt/.corpus.new/bin"
    wait_until(tree.exists, 60)
    node.run(["systemctl", "kill", "--signal=KILL", "killed"])
    assert not (life.machine.root / "opt/corpus").exists()
    assert life.call("list")[0]["stage"] == "creating"
    made = life.prepare(keys=[life.code.owner.public_key])
    life.id = made["id"]
    assert made["stage"] == "ready"
    assert made["kept"] == {}
    assert any("no size is enforced" in note for note in made["notes"])
    assert life.prepare()["changes"] == []
    assert [machine["id"] for machine in life.call("list")] == [life.id]
    assert not (life.machine.root / "var/lib/corpus-saltify/layers").exists()


def test_a_push_is_live(life: Life) -> None:
    key = life.code.owner.public_key
    salt.call(life.machine.inside, "mc_project.init_project", "static", keys=[key])
    shutil.copytree(EXAMPLE, life.code.tree, dirs_exist_ok=True)
    sample = life.code.tree / ".salt/PILLAR.sample"
    sample.write_text(sample.read_text().replace("ports: []", "ports: [80]"))  # held meanwhile
    life.inside("nft", "add table inet theirs; add set inet theirs held { type inet_service; }")
    pushed = life.push("A site")
    assert pushed.code == 0, pushed.err
    assert "live in" in pushed.err
    assert "<html" in life.page()


def test_a_failed_push_is_rolled_back(life: Life) -> None:
    before = life.page()
    with (life.code.tree / ".salt/top.sls").open("a") as top:
        top.write("\n{% macro post_install(common) %}\nbad:\n  cmd.run:\n    - name: exit 3\n")
        top.write("{% endmacro %}\n")
    (life.code.tree / "public/index.html").write_text("broken")
    pushed = life.push("A bad one")
    assert pushed.code != 0
    assert "rolled back" in pushed.err
    assert life.page() == before
    assert "elements" not in life.inside("nft", "list", "set", "inet", "corpus", "held")
    assert "set held" in life.inside("nft", "list", "table", "inet", "theirs")


def test_a_changed_file_is_told_kept_and_mended(life: Life) -> None:
    unit, module = life.inside("cat", UNIT), life.inside("cat", MODULE)
    for path in (UNIT, MODULE):
        life.machine.inside.run(["dd", "status=none", "oflag=append", "conv=notrunc", f"of={path}"],
                                stdin="# mine\n")  # fmt: skip
    life.inside("rm", "/usr/local/bin/salt-call")
    told = life.call("check", life.id)
    assert told["differs"] == {
        UNIT: "changed", MODULE: "changed", "/usr/local/bin/salt-call": "absent",
    }  # fmt: skip
    assert life.call("check", life.id, mend=True, test=True)["changes"] == told["changes"]
    mended = life.call("check", life.id, mend=True)
    assert set(mended["kept"]) == {UNIT, MODULE}
    assert life.inside("cat", mended["kept"][UNIT]) == unit + "# mine\n"
    assert (life.inside("cat", UNIT), life.inside("cat", MODULE)) == (unit, module)
    assert life.call("check", life.id)["differs"] == {}


def test_a_reboot_changes_nothing(life: Life) -> None:
    before = life.page()
    life.machine.reboot()
    assert wait_until(life.page, despite=OSError) == before
    said = life.call("check", life.id)
    assert (said["differs"], said["changes"], said["projects"]) == ({}, [], ["static"])


def test_nothing_is_left_after_a_removal(life: Life) -> None:
    kept = life.call("remove", life.id, test=True)["changes"]
    assert kept[0] == "leave the project static with its data"
    assert life.page()
    said = life.call("remove", life.id, data=True)
    assert said["kept"] == {}
    assert life.call("list") == []
    after = life.machine.listed()
    differs = {name for name in {*after, *life.before} if after.get(name) != life.before.get(name)}
    assert {name for name in differs if not any(word in name for word in CHATTER)} == set()
    assert "corpus" not in life.inside("nft", "list", "tables")
    assert "corpus" not in life.inside("getent", "group") + life.inside("getent", "passwd")
    assert (
        life.inside("systemctl", "list-units", "--all", "--plain", "corpus*", "--no-legend") == ""
    )
    assert life.inside("cat", "/srv/mine") == "of before\n"
