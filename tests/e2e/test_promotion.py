"""Staging and production on one node: paired, a release fetched, and what a prod may not do."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from corpus.hosts.base import Result
from corpus.lab import salt
from corpus.lab.machine import Lab
from corpus.lab.tenant import Developer, Environment
from corpus.model.errors import CorpusError
from e2e.tiny import Tiny
from patience import wait_until
from sites import Site, lab, prepared

__all__ = ["lab", "prepared"]
GATEWAY = "10.88.0.1"
FETCH = "/etc/corpus/fetch_keys"


class World:
    """A staging and a prod environment with the projects ``wares`` and ``other``, paired."""

    def __init__(self, lab: Lab, developer: Developer) -> None:
        self.lab = lab
        self.staging = Environment.create(lab, platform="staging", size="5G", memory="1G")
        self.prod = Environment.create(lab, platform="prod", size="5G", memory="1G")
        self.sites = {
            name: self._site(developer, Tiny(name, port=port))
            for name, port in (("wares", 8101), ("other", 8102))
        }

    def _site(self, developer: Developer, tiny: Tiny) -> Site:
        for place in (self.staging, self.prod):
            place.init_project(tiny.name, developer.public_key)
        host_name = f"{tiny.name}.localhost"
        self.staging.route(host_name, tiny.port)
        return Site(self.staging, developer, developer.clone(tiny.name), tiny, host_name)

    def pair(self, name: str = "wares") -> dict[str, Any]:
        found: dict[str, Any] = salt.call(
            self.lab.node(), "corpus_node.pair", self.staging.id, self.prod.id, name
        )
        return found

    def unpair(self, name: str = "wares") -> bool:
        words = (self.staging.id, self.prod.id, name)
        return bool(salt.call(self.lab.node(), "corpus_node.unpair", *words))

    def fetch(self, name: str = "wares", **more: Any) -> dict[str, Any]:
        found: dict[str, Any] = salt.call(self.prod.host, "mc_project.fetch_release", name, **more)
        return found

    def ssh(
        self, *words: str, options: tuple[str, ...] = (), key: str = "wares", pins: str = "wares"
    ) -> Result:
        """Ask staging with a key of production, as root of production could."""
        settings = ["BatchMode=yes", "IdentitiesOnly=yes", "StrictHostKeyChecking=yes",
                    f"UserKnownHostsFile={FETCH}/{pins}.known_hosts", "ConnectTimeout=5",
                    f"HostKeyAlias={self.staging.id}"]  # fmt: skip
        argv = ["ssh", "-F", "/dev/null", "-i", f"{FETCH}/{key}", "-p", str(self.staging.ssh_port)]
        argv += [*(f"-o{setting}" for setting in settings), *options]
        return self.prod.host.run(
            [*argv, f"corpus-releases@{GATEWAY}", *words], check=False, timeout=60
        )

    def reaches(self, place: Environment, address: str, port: int) -> bool:
        script = f"import socket; socket.create_connection(({address!r}, {port}), 1.5)"
        return place.host.run(["python3", "-c", script], check=False).code == 0


@pytest.fixture(scope="module")
def world(prepared: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    made = World(prepared, Developer(tmp_path_factory.mktemp("developer")))
    try:
        for name, site in made.sites.items():
            made.pair(name)
            push = site.push()
            assert push.code == 0, push.text
        yield made
    finally:
        made.staging.destroy()
        made.prod.destroy()


def release(site: Site) -> str:
    """Return the id of the last deployment of a site, and of its release."""
    return str(site.ledger()[-1]["id"])


def test_the_release_that_staging_baked_is_fetched(world: World) -> None:
    site = world.sites["wares"]
    manifest = world.fetch()
    assert manifest["deployment"] == release(site)
    assert manifest["commit"] == site.branch()
    archive = f"releases/wares-{release(site)}.tar.zst"
    digests = {
        place.host.run(["sha256sum", f"{site.root}/{archive}"]).out.split()[0]
        for place in (world.staging, world.prod)
    }
    assert digests == {manifest["parts"][0]["sha256"]}
    git = ["git", "-C", f"{site.root}/git/project.git", "cat-file", "-t", manifest["commit"]]
    found = world.prod.host.run(["runuser", "-u", "wares", "--", *git]).out
    assert found.strip() == "commit"


def test_it_is_here_then_without_staging(world: World) -> None:
    world.fetch()
    world.staging.stop()
    try:
        here = release_in_prod(world)
        assert world.fetch(release=here)["project"] == "wares"
        assert world.fetch()["deployment"] == here
        with pytest.raises(CorpusError, match="does not give what was asked"):
            world.fetch(release=here.replace(here[:8], "20200101"))
    finally:
        world.staging.start()
        wait_until(lambda: world.ssh("list").code == 0, patience=60)


def release_in_prod(world: World) -> str:
    listed = world.prod.host.run(["ls", "/srv/projects/wares/releases"]).out.split()
    name = next(name for name in sorted(listed, reverse=True) if name.endswith(".manifest.json"))
    return name.removeprefix("wares-").removesuffix(".manifest.json")


def test_what_does_not_go_live_is_not_offered(world: World) -> None:
    site = world.sites["wares"]
    good = release(site)
    listing = "x:\n  cmd.run:\n    - name: ls -l /srv/projects/wares/releases > /var/tmp/listing"
    site.tiny.phases = {"post_install": f"{listing}\ny:\n  test.fail_without_changes: []"}
    push = site.push()
    assert push.code != 0
    assert "rolled back" in push.text
    site.tiny.phases = {}
    failed = release(site)
    lines = world.staging.host.run(["cat", "/var/tmp/listing"]).out.splitlines()
    modes = {line.split()[-1]: line.split()[0] for line in lines if "manifest.json" in line}
    assert modes[f"wares-{failed}.manifest.json"] == "-rw-------"
    assert modes[f"wares-{good}.manifest.json"] == "-rw-r-----"
    assert failed not in world.ssh("list").out
    assert good in world.ssh("list").out


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("id",),
        ("sh", "-c", "id"),
        ("cat", "/etc/passwd"),
        ("get", "../../other/releases/{other}"),
        ("get", "{other}"),
        ("get", "/srv/projects/other/releases/{other}"),
        ("get", "/etc/corpus/release_key"),
        ("git-receive-pack", "'/srv/projects/wares/git/project.git'"),
        ("git-upload-archive", "'/srv/projects/wares/git/project.git'"),
        ("internal-sftp",),
        ("scp", "-f", "/etc/passwd"),
    ],
    ids=" ".join,
)
def test_nothing_else_is_answered(world: World, words: tuple[str, ...]) -> None:
    other = f"other-{release(world.sites['other'])}.tar.zst"
    done = world.ssh(*(word.replace("{other}", other) for word in words))
    assert done.code != 0
    assert done.out == ""
    assert "refused: " in done.err


def test_one_project_s_key_reads_no_other(world: World) -> None:
    mine = [json.loads(line)["manifest"] for line in world.ssh("list").out.splitlines()]
    assert mine
    assert all(json.loads(text)["project"] == "wares" for text in mine)
    advertised = world.ssh("git-upload-pack", "'/srv/projects/other/git/project.git'").out
    assert world.sites["other"].branch() not in advertised
    assert world.sites["wares"].branch() in advertised


def test_no_terminal_no_forwarding_no_file_transfer(world: World) -> None:
    terminal = world.ssh(options=("-tt",))
    assert (terminal.code, terminal.out) == (255, "")
    assert "PTY allocation request failed" in terminal.err
    forwarded = world.ssh(options=("-W", "127.0.0.1:22"))
    assert (forwarded.code, forwarded.out) == (255, "")
    back = ("-N", "-R", "2222:127.0.0.1:22", "-oExitOnForwardFailure=yes")
    assert world.ssh(options=back).code == 255
    subsystem = world.ssh("sftp", options=("-s",))
    assert (subsystem.code, subsystem.out) == (1, "")
    settings = f"-P {world.staging.ssh_port} -i {FETCH}/wares -oHostKeyAlias={world.staging.id}"
    settings += f" -oUserKnownHostsFile={FETCH}/wares.known_hosts -oBatchMode=yes"
    for program in ("sftp", "scp"):
        place = f"corpus-releases@{GATEWAY}:/etc/passwd"
        words = [program, *settings.split(), place, *(["/tmp/stolen"] if program == "scp" else [])]
        assert world.prod.host.run(words, check=False).code != 0
    assert world.prod.host.run(["test", "-e", "/tmp/stolen"], check=False).code != 0


def test_nothing_is_pushed_back(world: World) -> None:
    site = world.sites["wares"]
    before = site.branch()
    options = f"-i {FETCH}/wares -p {world.staging.ssh_port} -oHostKeyAlias={world.staging.id}"
    options += f" -oUserKnownHostsFile={FETCH}/wares.known_hosts -oBatchMode=yes"
    done = world.prod.host.run(
        ["runuser", "-u", "wares", "--", "env", f"GIT_SSH_COMMAND=ssh {options}",
         "git", "-C", f"{site.root}/git/project.git", "push", f"corpus-releases@{GATEWAY}:wares",
         f"{before}:refs/heads/master", f"{before}:refs/heads/evil"],
        check=False,
    )  # fmt: skip
    assert done.code != 0
    assert "refused: " in done.err
    assert site.branch() == before


def test_the_keys_are_for_that_account_alone(world: World) -> None:
    for account in ("root", "wares", "wares-app"):
        done = world.ssh("list", options=("-l", account))
        assert (done.code, done.out) == (255, "")
        assert "Permission denied" in done.err


@pytest.mark.parametrize("account", ["other", "other-app", "wares-app", "nobody"])
def test_others_in_staging_read_neither_releases_nor_code(world: World, account: str) -> None:
    root = "/srv/projects/wares"
    for path in (f"{root}/releases", f"{root}/git", f"{root}/git/project.git",
                 f"{root}/git/pillar.git"):  # fmt: skip
        words = ["runuser", "-u", account, "--", "ls", path]
        assert world.staging.host.run(words, check=False).code != 0, path


def test_the_reading_account_reads_no_configuration(world: World) -> None:
    root = "/srv/projects/wares"
    for path, readable in ((f"{root}/releases", True), (f"{root}/git/project.git", True),
                           (f"{root}/git/pillar.git", False), (f"{root}/data", False),
                           (f"{root}/deploy", False), (f"{root}/.corpus", False),
                           ("/etc/corpus/peers", False)):  # fmt: skip
        words = ["runuser", "-u", "corpus-releases", "--", "ls", path]
        assert (world.staging.host.run(words, check=False).code == 0) is readable, path
    for path in (f"{root}/releases/x", f"{root}/git/project.git/x"):
        words = ["runuser", "-u", "corpus-releases", "--", "touch", path]
        assert world.staging.host.run(words, check=False).code != 0, path


def test_production_reaches_that_port_and_nothing_else(world: World) -> None:
    assert world.reaches(world.prod, GATEWAY, world.staging.ssh_port)
    assert not world.reaches(world.prod, world.staging.address, 22)
    assert not world.reaches(world.prod, world.staging.address, 8101)
    assert not world.reaches(world.prod, GATEWAY, world.prod.ssh_port)
    assert not world.reaches(world.staging, GATEWAY, world.prod.ssh_port)
    assert not world.reaches(world.staging, world.prod.address, 22)


def test_a_server_with_another_key_is_not_asked(world: World) -> None:
    """Somebody in the middle, or an environment made anew under the same address."""
    world.prod.host.run(
        ["sh", "-c", f"ssh-keygen -q -t ed25519 -N '' -f /tmp/k && "
         f"echo \"{world.staging.id} $(cut -d' ' -f1,2 /tmp/k.pub)\" > {FETCH}/wares.known_hosts"]
    )  # fmt: skip
    with pytest.raises(CorpusError, match="Host key verification failed"):
        world.fetch()
    world.pair()
    assert world.fetch()["project"] == "wares"


def test_unpaired_nothing_is_left(world: World) -> None:
    assert world.unpair() is True
    try:
        assert world.reaches(world.prod, GATEWAY, world.staging.ssh_port)  # for the other project
        assert "Permission denied" in world.ssh("list", pins="other").err
        with pytest.raises(CorpusError, match="not signed by an environment that is trusted"):
            world.fetch(release=release_in_prod(world))
        assert world.fetch("other")["project"] == "other"
        assert world.unpair("other") is True
        assert not world.reaches(world.prod, GATEWAY, world.staging.ssh_port)
        assert world.unpair() is False
    finally:
        world.pair()
        world.pair("other")
    assert world.fetch()["project"] == "wares"
