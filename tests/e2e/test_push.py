"""A developer pushes: live, or exactly as before; and every bad input says what to do."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Callable

import pytest

from e2e.tiny import command, waits
from sites import Site, environment, lab, new_site, prepared

__all__ = ["environment", "lab", "new_site", "prepared"]

NewSite = Callable[..., Site]


def test_good_push_is_live(new_site: NewSite) -> None:
    site = new_site()
    push = site.push("Say hello")
    assert push.code == 0, push.text
    assert site.version == "1"
    assert "Say hello" in push.text
    assert push.text.index("build") < push.text.index("live in")
    assert site.branch() == site.code.git("rev-parse", "HEAD").out.strip()
    assert [entry["outcome"] for entry in site.ledger()] == ["live"]
    assert site.leftovers() == []


def test_failed_migration_puts_code_and_data_back(new_site: NewSite) -> None:
    site = new_site()
    assert site.push().code == 0
    for word in ("one", "two"):
        site.ask("/entries", word)
    before, branch = site.digest(), site.branch()
    site.tiny.version = "2"
    site.tiny.phases["post_install"] = command(
        "migrate",
        f"rm {site.root}/data/entries; echo lost > {site.root}/data/x; "
        "echo out; echo err >&2; exit 7",
    )
    push = site.push("destroy")
    assert push.code != 0
    assert site.version == "1"
    assert site.entries == ["one", "two"]
    assert site.digest() == before
    assert site.branch() == branch
    for told in ("'migrate'", "exit code 7", "out", "err", ".salt/top.sls, line", "rolled back"):
        assert told in push.text
    assert site.ledger()[-1]["outcome"] == "rolled_back"
    failed = site.inside("ls", f"{site.root}/archives/{site.ledger()[-1]['id']}").split()
    assert {"run.failed", "data.failed", "data"} <= set(failed)
    assert site.leftovers() == []


def test_failed_first_push_leaves_nothing_running(new_site: NewSite) -> None:
    site = new_site(phases={"post_install": command("bad", "false")})
    push = site.push()
    assert push.code != 0
    assert site.branch() == ""
    assert "not-found" in site.inside(
        "systemctl", "show", "-p", "LoadState", f"{site.name}.service"
    )
    assert site.leftovers() == []


def test_service_that_does_not_answer_is_rolled_back(new_site: NewSite) -> None:
    site = new_site(settings={"health": [{"url": "http://127.0.0.1:1/", "timeout": 1}]})
    push = site.push()
    assert push.code != 0
    assert "the health check failed for 1 s" in push.text
    assert "http://127.0.0.1:1/" in push.text


FILE = ".salt/top.sls, line"
BAD = {
    "yaml": ({"build": "a:\n  cmd.run:\n    - name: x\n   - bad: y\n"}, ["YAML", f"{FILE} 5"]),
    "jinja": ({"build": "{% if %}\n"}, ["Jinja syntax error", f"{FILE} 2"]),
    "undefined": ({"build": "{{ common.no_such }}\n"}, ["no_such", f"{FILE} 2"]),
    "state": (
        {"build": command("bad", "echo told; exit 4")},
        ["'bad'", "exit code 4", "told", f"{FILE} 2"],
    ),
    "unknown function": ({"build": "bad:\n  no_such.thing: []\n"}, ["no_such.thing", f"{FILE} 2"]),
    "hang": (
        {"build": command("slow", "sleep 1000"), "settings": {"timeouts": {"build": 1}}},
        ["build ran for more than 1 s", "timeouts"],
    ),
    "setting": ({"settings": {"servces": []}}, ["unknown setting: servces", "PILLAR.sample"]),
}


@pytest.mark.parametrize("kind", BAD)
def test_bad_project_is_refused_while_the_live_one_serves(new_site: NewSite, kind: str) -> None:
    site = new_site()
    assert site.push().code == 0
    before, branch = site.digest(), site.branch()
    values, told = BAD[kind]
    site.tiny.version = "2"
    for key, value in values.items():
        setattr(site.tiny, key, value)
    push = site.push()
    assert push.code != 0
    for text in told:
        assert text.lower() in push.text.lower(), push.text
    assert site.version == "1"
    assert site.digest() == before
    assert site.branch() == branch
    assert site.ledger()[-1]["outcome"] == "refused"
    assert site.leftovers() == []


def test_project_without_salt(new_site: NewSite) -> None:
    site = new_site()
    (site.code.tree / "README").write_text("nothing here\n")
    push = site.push_tree()
    assert push.code != 0
    assert "no .salt/top.sls" in push.text
    assert site.leftovers() == []


def test_pillar_push_stores_and_a_bad_one_refuses_the_next_deployment(new_site: NewSite) -> None:
    site = new_site()
    assert site.push().code == 0
    pillar = site.developer.clone("pillar")
    (pillar.tree / "init.sls").write_text("a: [unclosed\n")
    pillar.commit("bad")
    stored = pillar.push(site.environment, site.name, "pillar.git")
    assert stored.code == 0, stored.text
    assert len(site.ledger()) == 1
    push = site.push()
    assert push.code != 0
    assert "the pillar does not compile" in push.text
    assert site.version == "1"


def test_secret_of_the_pillar_is_not_shown(new_site: NewSite) -> None:
    secret = "correct-horse-battery"
    site = new_site()
    site.tiny.phases["post_install"] = command("leak", "echo {{ common.data.password }}; exit 1")
    pillar = site.developer.clone("pillar")
    (pillar.tree / "init.sls").write_text(
        f"makina-projects.{site.name}:\n  data:\n    password: {secret}\n"
    )
    pillar.commit("secret")
    assert pillar.push(site.environment, site.name, "pillar.git").code == 0
    push = site.push()
    assert push.code != 0
    assert secret not in push.text
    assert "********" in push.text
    kept = site.inside("grep", "-rl", secret, f"{site.root}/.corpus", check=False)
    assert kept == ""


def test_not_a_fast_forward(new_site: NewSite) -> None:
    site = new_site()
    assert site.push("one").code == 0
    site.tiny.version = "2"
    site.code.git("commit", "-q", "--amend", "-m", "another one")
    push = site.push("two", ref="+HEAD:refs/heads/master")
    assert push.code != 0
    assert "not a fast-forward" in push.text
    assert site.version == "1"


def test_deploy_branch_is_not_deleted(new_site: NewSite) -> None:
    site = new_site()
    assert site.push().code == 0
    push = site.code.push(site.environment, site.name, ref=":refs/heads/master")
    assert push.code != 0
    assert site.branch()


def test_other_branches_are_stored_and_main_deploys(new_site: NewSite) -> None:
    site = new_site()
    push = site.push(ref="HEAD:refs/heads/topic")
    assert push.code == 0, push.text
    assert site.ledger() == []
    push = site.push(ref="HEAD:refs/heads/main")
    assert push.code == 0, push.text
    assert site.version == "1"


def test_second_push_queues_and_says_behind_what(new_site: NewSite) -> None:
    site = new_site(build=waits("/run/go-on"))
    started = threading.Event()

    def tell(line: str) -> None:
        if "build" in line:
            started.set()

    def let_go(line: str) -> None:
        if "queued behind" in line:
            site.inside("touch", "/run/go-on")

    one = threading.Thread(target=site.push, args=("one", tell))
    one.start()
    assert started.wait(60)
    site.tiny.build = ""
    site.tiny.version = "2"
    second = site.push("two", let_go)
    one.join()
    site.inside("rm", "/run/go-on")
    assert second.code == 0, second.text
    assert "queued behind deployment" in second.text
    assert [entry["outcome"] for entry in site.ledger()] == ["live", "live"]
    assert site.version == "2"


def test_dropped_connection_does_not_end_the_deployment(new_site: NewSite) -> None:
    site = new_site(build=waits("/run/go-on"))
    site.tiny.write(site.code.tree)
    commit = site.code.commit("one")
    url = f"ssh://{site.name}@127.0.0.1:{site.environment.ssh_port}/~/project.git"
    with subprocess.Popen(
        ["git", "push", url, "HEAD:refs/heads/master"],
        cwd=site.code.tree,
        env={
            "PATH": "/usr/bin:/bin",
            "GIT_SSH_COMMAND": " ".join(site.developer.ssh(site.environment)),
        },
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as push:
        assert push.stderr is not None
        for line in push.stderr:
            if "build" in line:
                break
        subprocess.run(["pkill", "-KILL", "-s", str(push.pid)], check=True)

    def let_go(line: str) -> None:
        if "attached to the deployment" in line:
            site.inside("touch", "/run/go-on")

    again = site.code.push(site.environment, site.name, tell=let_go)
    site.inside("rm", "/run/go-on")
    assert "attached to the deployment" in again.text, again.text
    assert [entry["outcome"] for entry in site.ledger()] == ["live"]
    assert site.branch() == commit
    assert site.version == "1"
    assert "up-to-date" in site.code.push(site.environment, site.name).text


def test_account_may_only_use_git(new_site: NewSite) -> None:
    site, other = new_site(), new_site()
    ssh = [*site.developer.ssh(site.environment), "-p", str(site.environment.ssh_port)]
    target = f"{site.name}@127.0.0.1"
    for words in (["id"], ["cat", "/etc/passwd"], ["git-shell"], ["git-upload-archive", "/etc"]):
        done = subprocess.run([*ssh, target, *words], capture_output=True, text=True, check=False)
        assert done.returncode != 0
        assert "root:" not in done.stdout
        assert "uid=" not in done.stdout
    forwarded = subprocess.run(
        [*ssh, "-W", "127.0.0.1:22", target],
        capture_output=True,
        text=True,
        check=False,
        timeout=20,
    )
    assert forwarded.returncode != 0
    foreign = subprocess.run(
        [*ssh, target, f"git-upload-pack '/srv/projects/{other.name}/git/project.git'"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert foreign.returncode != 0


def test_the_application_can_neither_push_nor_ask_the_deploy_service(new_site: NewSite) -> None:
    site = new_site()
    assert site.push().code == 0
    application = f"{site.name}-app"
    owner = site.inside("systemctl", "show", "-P", "User", f"{site.name}.service").strip()
    assert owner == application
    asks = "import socket; socket.socket(socket.AF_UNIX).connect('/run/corpus/deploy.sock')"
    told = site.environment.host.run(
        ["runuser", "-u", application, "--", "python3", "-c", asks], check=False
    )
    assert "PermissionError" in told.err
    touched = site.environment.host.run(
        ["runuser", "-u", application, "--", "touch", f"{site.root}/git/project.git/x"], check=False
    )
    assert touched.code != 0


def test_full_quota_during_build(new_site: NewSite, prepared: object, tmp_path: object) -> None:
    """The build fills the environment's size: refused, and everything works afterwards."""
    from corpus.lab.tenant import Environment

    small = Environment.create(prepared, platform="staging", size="1G")  # type: ignore[arg-type]
    try:
        site = new_site(small)
        assert site.push().code == 0
        site.ask("/entries", "one")
        before = site.digest()
        site.tiny.version = "2"
        fill = "dd if=/dev/urandom of={{ common.paths.run }}/big bs=1M count=4000"
        site.tiny.build = command("fill", fill)
        push = site.push()
        assert push.code != 0
        assert "quota" in push.text.lower() or "space" in push.text.lower()
        assert "enlarge" in push.text
        assert site.digest() == before
        assert site.version == "1"
        site.ask("/entries", "two")
        assert site.entries == ["one", "two"]
        assert site.leftovers() == []
        site.tiny.build = ""
        site.tiny.version = "3"
        push = site.push()
        assert push.code == 0, push.text
        assert site.version == "3"
    finally:
        small.destroy()


@pytest.mark.parametrize("name", ["../x", "-x", "x" * 300, "naïve", "", "a b", "root", "A"])
def test_bad_names_are_refused(environment: object, name: str) -> None:
    from corpus.lab import salt
    from corpus.model.errors import CorpusError

    with pytest.raises(CorpusError, match="project") as caught:
        salt.call(environment.host, "mc_project.init_project", f"name={name}")  # type: ignore[attr-defined]
    assert "mend" in str(caught.value)
