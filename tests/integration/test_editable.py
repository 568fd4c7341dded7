"""What editable mode stands on, on a real kernel: systemd's bind mounts, shared directories."""

from __future__ import annotations

import json
import os
import textwrap
from collections.abc import Iterator
from typing import Any

import pytest

from corpus.hosts.base import Host, Result
from corpus.lab import salt
from corpus.lab.machine import Lab
from corpus.lab.tenant import Environment
from corpus.model.errors import CommandFailed, CorpusError
from guests import PYTHON
from guests import node as node
from labs import lab as lab
from patience import wait_until

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="a lab is made by root alone")

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBadKeyForTestsOnly0000000000000000000 ann@home"
SHARED = "/home/ann/demo"
ANN = 1234
BEGIN = """
import json, os, signal, sys
from corpus.project import binding, repository, worktree
from corpus.project.place import Place, Project
project = Project.existing(Place(), {name!r})
paths = project.paths
"""
# A commit comes to the project's repository as a push brings it.
COMMIT = """
set -e
export GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@b GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@b HOME=/
cd "$1"; git add --all; git commit -qm x
git push -q --receive-pack="git -c core.hooksPath=/dev/null receive-pack" "$2" HEAD:refs/heads/x
git rev-parse HEAD
"""


class Inside:
    """One project of the environment."""

    def __init__(self, environment: Environment, name: str) -> None:
        self.environment = environment
        self.host: Host = environment.host
        self.name = name
        self.root = f"/srv/projects/{name}"
        environment.init_project(name, KEY)

    def python(self, script: str, check: bool = True) -> Any:
        """Run a script that knows ``project``; return what it prints as JSON."""
        text = BEGIN.format(name=self.name) + textwrap.dedent(script)
        return json.loads(self.host.run([PYTHON, "-"], stdin=text, check=check).out or "null")

    def run(self, *argv: str, user: str | None = None, check: bool = True) -> str:
        return self.host.run(argv, user=user, check=check).out.strip()

    def commit(self, tree: str) -> str:
        """Commit what lies in ``tree`` and bring it to the project's repository."""
        given = ["sh", "-c", COMMIT, "commit", tree, f"{self.root}/git/project.git"]
        return self.run(*given, user=self.name)

    def check_out(self, commit: str) -> str:
        """Check out; return what it was refused for."""
        return str(
            self.python(f"""
            from corpus.model.errors import DeploymentRefused
            try:
                worktree.check_out(project, {commit!r})
                said = ""
            except DeploymentRefused as refused:
                said = str(refused)
            print(json.dumps(said))
            """)
        )

    @property
    def bound(self) -> bool:
        return bool(self.python("print(json.dumps(binding.is_bound(project)))"))

    def reboot(self) -> None:
        self.environment.stop()
        self.environment.start()
        self.run("systemctl", "is-system-running", "--wait", check=False)


@pytest.fixture(scope="module")
def environment(lab: Lab, node: Host) -> Iterator[Environment]:
    node.run(["mkdir", "-p", SHARED])
    node.run(["chown", f"{ANN}:{ANN}", SHARED])
    node.run(["chmod", "750", SHARED])
    made = Environment.create(lab, platform="dev", size="2G", share={"demo": SHARED})
    yield made
    made.destroy()
    assert as_ann(node, "cat", f"{SHARED}/app.py").code == 0
    node.run(["rm", "-r", SHARED])
    assert "ids-" not in node.run(["cat", "/proc/self/mountinfo"]).out


@pytest.fixture(scope="module")
def plain(environment: Environment) -> Inside:
    """Return a project whose work tree is in the environment, bound."""
    made = Inside(environment, "my-shop")
    made.run("mkdir", "/home/tree")
    made.run("chown", "my-shop:", "/home/tree")
    made.run("git", "init", "-q", "/home/tree", user="my-shop")
    made.run("sh", "-c", "echo 1 > /home/tree/app.py", user="my-shop")
    assert made.check_out(made.commit("/home/tree")) == ""
    made.python("binding.bind(project)")
    return made


@pytest.fixture(scope="module")
def demo(environment: Environment) -> Inside:
    """Return the project whose directory is the developer's."""
    return Inside(environment, "demo")


def as_ann(node: Host, *argv: str, stdin: str | None = None) -> Result:
    """Run a command on the node as the developer."""
    become = ["setpriv", f"--reuid={ANN}", f"--regid={ANN}", "--clear-groups", "--"]
    return node.run([*become, *argv], stdin=stdin, check=False)


def owner(host: Host, path: str) -> str:
    return host.run(["stat", "-c", "%u:%g", path]).out.strip()


# -- a work tree in the environment


def test_run_and_project_are_one_for_all(plain: Inside) -> None:
    assert plain.bound
    unit = r"srv-projects-my\x2dshop-project.mount"
    assert plain.run("systemctl", "is-active", unit) == "active"
    before = plain.run("systemctl", "show", "-p", "Before", unit)
    assert "local-fs.target" in before
    plain.run("sh", "-c", f"echo edited > {plain.root}/project/app.py", user="my-shop")
    assert plain.run("cat", f"{plain.root}/run/app.py", user="my-shop-app") == "edited"
    plain.run("git", "-C", f"{plain.root}/run", "checkout", "app.py", user="my-shop")
    assert plain.run("cat", f"{plain.root}/project/app.py") == "1"


def test_it_is_there_after_a_reboot(plain: Inside) -> None:
    plain.run("sh", "-c", f"echo mine > {plain.root}/project/untracked", user="my-shop")
    plain.reboot()
    assert plain.bound
    assert plain.run("cat", f"{plain.root}/project/untracked") == "mine"
    assert plain.run("systemctl", "--failed", "--quiet") == ""


def test_a_push_comes_beside_edits_and_never_over_them(plain: Inside) -> None:
    plain.run("sh", "-c", "echo 2 > /home/tree/app.py", user="my-shop")
    commit = plain.commit("/home/tree")
    plain.run("sh", "-c", f"echo edited > {plain.root}/project/app.py", user="my-shop")
    assert "\n  app.py\n" in plain.check_out(commit)
    assert plain.run("cat", f"{plain.root}/run/app.py") == "edited"
    plain.run("git", "-C", f"{plain.root}/project", "checkout", "app.py", user="my-shop")
    assert plain.check_out(commit) == ""
    assert plain.run("cat", f"{plain.root}/run/app.py") == "2"
    assert owner(plain.host, f"{plain.root}/run/app.py") == owner(plain.host, "/home/tree")
    assert plain.run("cat", f"{plain.root}/project/untracked") == "mine"


def test_a_mount_that_was_lost_is_made_again(plain: Inside) -> None:
    plain.run("umount", f"{plain.root}/project")
    assert not plain.bound
    assert plain.python("print(json.dumps(binding.rebind(project)))")
    assert plain.run("cat", f"{plain.root}/project/untracked") == "mine"


CUT = """
left = {after}
def trace(frame, event, _):
    global left
    caller = frame.f_back
    if caller and caller.f_code.co_filename.endswith("/binding.py"):
        if any(part in frame.f_code.co_filename for part in ("/hosts/", "/project/trees.py")):
            left -= 1
            if left < 0:
                os.kill(os.getpid(), signal.SIGKILL)
sys.settrace(trace)
binding.{what}(project)
sys.settrace(None)
print(json.dumps("whole"))
"""


def test_killed_anywhere_it_ends_right(plain: Inside) -> None:
    tell = "find . -type f -not -path './.git/*' -exec sha256sum {} + | sort"
    run = f"{plain.root}/run"
    before = plain.run("sh", "-c", f"cd {run} && {tell}")
    kills = 0
    for what in ("unbind", "bind"):
        for after in range(40):
            result = None
            try:
                result = plain.python(CUT.format(after=after, what=what))
            except CommandFailed:
                kills += 1
            assert plain.run("sh", "-c", f"cd {run} && {tell}") == before
            plain.python("binding.bind(project)")
            assert plain.bound
            if what == "bind":
                plain.python("binding.unbind(project)")
                assert plain.run("ls", "-A", f"{plain.root}/project") == ""
            assert plain.run("sh", "-c", f"cd {run} && {tell}") == before
            if result == "whole":
                break
        else:
            raise AssertionError("it never ended")
    assert kills > 6
    plain.reboot()
    assert not plain.bound
    plain.python("binding.bind(project)")
    plain.reboot()
    assert plain.bound


# -- a directory of the developer's


def test_the_developers_files_are_the_accounts_inside(node: Host, demo: Inside) -> None:
    as_ann(node, "dd", f"of={SHARED}/app.py", "status=none", stdin="1\n")
    account = f"{demo.run('id', '-u', 'demo')}:{demo.run('id', '-g', 'demo')}"
    assert account == "60514:60514"
    assert owner(demo.host, f"{demo.root}/project/app.py") == account
    assert owner(demo.host, f"{demo.root}/project") == account
    assert node.run(["stat", "-c", "%a", SHARED]).out.strip() == "750"
    demo.run("sh", "-c", f"mkdir {demo.root}/project/made; echo x > {demo.root}/project/made/x",
             user="demo")  # fmt: skip
    assert owner(node, f"{SHARED}/made/x") == f"{ANN}:{ANN}"
    assert as_ann(node, "rm", "-r", f"{SHARED}/made").code == 0


def test_nobody_inside_is_root_outside(node: Host, demo: Inside) -> None:
    made = f"{demo.root}/project/shell"
    demo.run("install", "-m", "6755", "/bin/true", made)
    user, group = owner(node, f"{SHARED}/shell").split(":")
    assert int(user) >= 1_000_000
    assert int(group) >= 1_000_000
    node.run(["install", "-m", "600", "/etc/hostname", f"{SHARED}/of-root"])
    assert demo.host.run(["cat", f"{demo.root}/project/of-root"], check=False).code != 0
    assert demo.host.run(["chown", "demo", f"{demo.root}/project/of-root"], check=False).code != 0
    assert "nosuid,nodev" in demo.run("findmnt", "-n", "-o", "OPTIONS", f"{demo.root}/project")
    assert as_ann(node, "rm", "-f", f"{SHARED}/shell", f"{SHARED}/of-root").code == 0


def test_edits_on_either_side_are_live_in_run(node: Host, demo: Inside) -> None:
    assert demo.bound
    assert demo.python("print(json.dumps(binding.is_shared(project)))")
    as_ann(node, "dd", f"of={SHARED}/app.py", "status=none", stdin="from the laptop\n")
    assert demo.run("cat", f"{demo.root}/run/app.py") == "from the laptop"
    demo.run("sh", "-c", f"echo from inside > {demo.root}/run/app.py", user="demo")
    assert as_ann(node, "cat", f"{SHARED}/app.py").out == "from inside\n"
    assert owner(node, f"{SHARED}/app.py") == f"{ANN}:{ANN}"


def test_gits_files_are_the_developers_too(node: Host, demo: Inside) -> None:
    demo.run("git", "init", "-q", "--initial-branch=master", f"{demo.root}/project", user="demo")
    first = demo.commit(f"{demo.root}/project")
    assert demo.check_out(first) == ""
    demo.run("sh", "-c", f"echo two > {demo.root}/project/app.py", user="demo")
    second = demo.commit(f"{demo.root}/project")
    said = demo.check_out(first)
    assert f"the shared directory is at {second[:10]}" in said
    assert demo.check_out(second) == ""
    demo.run("git", "-C", f"{demo.root}/run", "checkout", "-q", first, user="demo")
    demo.run("git", "-C", f"{demo.root}/run", "checkout", "-q", "master", user="demo")
    strangers = node.run(["find", SHARED, "-not", "-user", str(ANN)]).out
    assert strangers == ""
    assert as_ann(node, "cat", f"{SHARED}/app.py").out == "two\n"


def test_a_failed_deployment_puts_it_back_as_the_developers(node: Host, demo: Inside) -> None:
    demo.python("""
    from corpus.hosts.local import Local
    from corpus.project import trees
    trees.copy(paths.run, paths.root / "kept", trees.way_of(paths.root, Local()), Local())
    (paths.run / "app.py").write_text("broken\\n")
    (paths.run / "generated").write_text("by root\\n")
    binding.put_back(project, paths.root / "kept", paths.root / "failed")
    """)
    assert as_ann(node, "cat", f"{SHARED}/app.py").out == "two\n"
    assert node.run(["find", SHARED, "-not", "-user", str(ANN)]).out == ""
    assert demo.run("cat", f"{demo.root}/failed/app.py") == "broken"
    assert "generated" not in node.run(["ls", SHARED]).out
    demo.run("rm", "-r", f"{demo.root}/kept", f"{demo.root}/failed")


def test_a_shared_directory_is_there_after_a_reboot(node: Host, demo: Inside) -> None:
    demo.reboot()
    assert demo.bound
    assert demo.run("cat", f"{demo.root}/run/app.py") == "two"
    assert owner(demo.host, f"{demo.root}/run/app.py") == "60514:60514"


def test_a_shared_directory_is_there_after_a_reboot_from_inside(demo: Inside) -> None:
    demo.run("touch", "/run/before")
    demo.run("systemctl", "reboot", check=False)
    wait_until(lambda: "before" not in (demo.run("ls", "/run", check=False) or "before"), 60)
    demo.run("systemctl", "is-system-running", "--wait", check=False)
    assert demo.bound
    assert owner(demo.host, f"{demo.root}/run/app.py") == "60514:60514"


def test_unbinding_takes_nothing_from_the_developer(node: Host, demo: Inside) -> None:
    demo.python("binding.unbind(project)")
    assert demo.bound
    demo.run("umount", f"{demo.root}/run")
    assert not demo.bound
    assert demo.python("print(json.dumps(binding.rebind(project)))")
    assert as_ann(node, "cat", f"{SHARED}/app.py").out == "two\n"
    assert "would lose them" in str(
        demo.python("""
        from corpus.model.errors import DeploymentRefused
        try:
            repository.check_out(project, paths.project_git, paths.project, "1" * 40)
        except DeploymentRefused as refused:
            print(json.dumps(str(refused)))
        """)
    )


def test_only_a_developers_environment_shares(node: Host) -> None:
    with pytest.raises(CorpusError, match="shares no directory"):
        salt.call(node, "corpus_node.create", platform="staging", share={"demo": SHARED})
    with pytest.raises(CorpusError, match="belongs to the system"):
        salt.call(node, "corpus_node.create", platform="dev", share={"demo": "/etc"})
