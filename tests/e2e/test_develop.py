"""A developer edits live: in the environment, and in a directory of his own machine."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from corpus.hosts.local import Local
from corpus.lab.machine import Lab
from corpus.lab.tenant import Developer, Environment
from e2e.tiny import UNIT, Tiny, command
from patience import wait_until
from sites import Site, lab, prepared

__all__ = ["lab", "prepared"]

ANN = 1234
NAMES = {
    f"GIT_{role}_{what}": "ann@example.org"
    for role in ("AUTHOR", "COMMITTER")
    for what in ("NAME", "EMAIL")
}
HOMES = "home/ann/shared"


@dataclass
class Live(Tiny):
    """The tiny project as it is run from its checkout: its unit is in git, nothing is copied."""

    def write(self, tree: Path) -> None:
        super().write(tree)
        (tree / "systemd").mkdir(exist_ok=True)
        (tree / "systemd" / f"{self.name}.service").write_text(UNIT.format(name=self.name))
        macros = "".join(
            f"{{% macro {phase}(common) %}}\n{states}\n{{% endmacro %}}\n"
            for phase, states in self.phases.items()
        )
        (tree / ".salt" / "top.sls").write_text(macros or "{# nothing #}\n")


@pytest.fixture(scope="module")
def dev(prepared: Lab) -> Iterator[Environment]:
    home = prepared.nodes[0].paths.rootfs / HOMES
    home.mkdir(parents=True)
    Local().run(["chown", "-R", f"{ANN}:{ANN}", str(home.parent)])
    made = Environment.create(
        prepared, platform="dev", size="5G", memory="1G", share={"shared": f"/{HOMES}"}
    )
    try:
        yield made
    finally:
        made.destroy()
        shutil.rmtree(home)


def site(dev: Environment, folder: Path, name: str, port: int, **values: Any) -> Site:
    tiny = Live(name, port=port, **values)
    developer = Developer(folder / "developer")
    dev.init_project(name, developer.public_key)
    dev.route(f"{name}.localhost", port)
    return Site(dev, developer, developer.clone(name), tiny, f"{name}.localhost")


def bound(one: Site) -> bool:
    places = [f"{one.root}/{end}" for end in ("run", "project")]
    return len(set(one.inside("stat", "-c", "%d %i", *places).splitlines())) == 1


def restart(one: Site) -> None:
    one.inside("systemctl", "restart", f"{one.name}.service")


def reboot(dev: Environment, one: Site, version: str) -> None:
    dev.stop()
    dev.start()
    wait_until(lambda: one.version == version, 60, despite=OSError)


def test_edit_in_the_environment(dev: Environment, tmp_path: Path) -> None:
    one = site(dev, tmp_path, "plain", 8001)
    assert one.push().code == 0
    assert one.version == "1"
    assert bound(one)
    edit = "sed -i 's/VERSION = .*/VERSION = \"edited\"/' server.py"
    one.inside("runuser", "-u", "plain", "--", "sh", "-c", f"cd {one.root}/project && {edit}")
    restart(one)
    assert one.version == "edited"

    one.tiny.version = "2"
    refused = one.push("over edits")
    assert refused.code != 0
    assert "server.py" in refused.text
    assert "git stash" in refused.text
    assert one.version == "edited"
    reboot(dev, one, "edited")
    assert bound(one)

    one.inside("runuser", "-u", "plain", "--", "git", "-C", f"{one.root}/run", "stash")
    push = one.push("again")
    assert push.code == 0, push.text
    assert one.version == "2"

    one.tiny.version = "3"
    one.tiny.phases["post_build"] = command("bad", f"echo x > {one.root}/run/made; false")
    assert one.push("bad").code != 0
    assert one.version == "2"
    assert bound(one)
    assert "made" not in one.inside("ls", f"{one.root}/run")
    status = ["git", "-C", f"{one.root}/project", "status", "--porcelain"]
    assert one.inside("runuser", "-u", "plain", "--", *status) == ""

    one.tiny.phases.clear()
    who = ["git", "-C", f"{one.root}/run", "-c", "user.name=a", "-c", "user.email=a@b"]
    commit = [*who, "commit", "-q", "--allow-empty", "-m", "made there"]
    one.inside("runuser", "-u", "plain", "--", *commit)
    assert "made there" not in one.code.git("log").out
    assert "git branch NAME" in one.push("not on top of it").text
    ssh = {"GIT_SSH_COMMAND": " ".join(one.developer.ssh(dev))}
    url = f"ssh://plain@127.0.0.1:{dev.ssh_port}{one.root}/run"
    fetch = ["git", "pull", "--quiet", "--no-rebase", "--no-edit", url, "HEAD"]
    Local().run(fetch, cwd=one.code.tree, env={**ssh, **NAMES})
    assert "made there" in one.code.git("log").out
    assert one.push_tree("on top of it").code == 0


def test_edit_on_the_laptop(dev: Environment, tmp_path: Path) -> None:
    one = site(dev, tmp_path, "shared", 8002)
    home = dev.lab.nodes[0].paths.rootfs / HOMES
    trusting = ["git", "-c", "safe.directory=*", "-C", str(home)]

    def pull() -> None:
        one.tiny.write(one.code.tree)
        one.code.commit("change")
        Local().run([*trusting, "pull", "--quiet", str(one.code.tree), "master"])
        Local().run(["chown", "-R", f"{ANN}:{ANN}", str(home)])

    Local().run([*trusting, "init", "--quiet", "--initial-branch=master"])
    pull()
    push = one.push_tree()
    assert push.code != 0, "the tree got a commit that the shared directory has not"
    assert "the shared directory is at" in push.text
    Local().run([*trusting, "pull", "--quiet", str(one.code.tree), "master"])
    Local().run(["chown", "-R", f"{ANN}:{ANN}", str(home)])
    push = one.code.push(dev, one.name)
    assert push.code == 0, push.text
    assert one.version == "1"

    server = home / "server.py"
    server.write_text(server.read_text().replace("VERSION = '1'", "VERSION = 'saved'"))
    restart(one)
    assert one.version == "saved"
    Local().run([*trusting, "checkout", "--quiet", "server.py"])
    reboot(dev, one, "1")

    one.tiny.phases["post_install"] = command("bad", f"echo > {one.root}/run/server.py; false")
    pull()
    before = server.read_text()
    failed = one.code.push(dev, one.name)
    assert failed.code != 0
    assert "rolled back" in failed.text
    assert server.read_text() == before
    assert one.version == "1"
    assert Local().run([*trusting, "branch", "--show-current"]).out == "master\n"
    strangers = [p for p in home.rglob("*") if p.lstat().st_uid == 0 and ".git" not in p.parts]
    assert strangers == []
