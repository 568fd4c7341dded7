"""Each thing that can be wrong is found, and what can be mended is, once."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from corpus.hosts import kernel
from corpus.hosts.base import Command, Result
from corpus.hosts.local import Local
from corpus.model.deployment import Outcome
from corpus.model.errors import NotFound
from corpus.model.finding import Finding, State, is_well
from corpus.project import binding, layout, lock
from corpus.project.doctor.examine import ENVIRONMENT, LOCK, PROJECT, examine
from corpus.project.journal import Journal
from corpus.project.ledger import Ledger
from projects import BRANCH, Phases, Scratch, copy_to_run, entry, fork, git, ids, kill, wait_until

Found = list[dict[str, Any]]
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBVqTEsOZAQJcL7hvCpTXNBvyWT3fWUVBWfSCJDZUOUZ me"
UNIT = "[Service]\nExecStart=/bin/true\n"


class Machine(Local):
    """This one, without its systemd: what it is asked is written down."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, ...]] = []
        self.state = "active"

    def execute(self, command: Command) -> Result:
        if command.argv[0] != "systemctl":
            return super().execute(command)
        self.asked.append(command.argv)
        names = command.argv[command.argv.index("--") + 1 :] if "--" in command.argv else ()
        shown = (f"Id={name}\nActiveState={self.state}\nLoadState=loaded\n" for name in names)
        return Result(command.argv, 0, "\n".join(shown))


class Well:
    """A project that nothing is wrong with, in an environment alike."""

    def __init__(self, folder: Path) -> None:
        self.machine = Machine()
        self.scratch = Scratch(folder, host=self.machine)
        self.project, self.paths, self.place = (
            self.scratch.project, self.scratch.paths, self.scratch.place
        )  # fmt: skip
        self.place.identity.parent.mkdir()
        self.place.identity.write_text('{"platform": "staging"}')
        self.host_key = self.place.host_key.with_suffix("")
        for key in (self.host_key, self.place.release_key):
            key.parent.mkdir(exist_ok=True)
            make = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)]
            subprocess.run(make, check=True)
        self.place.release_key.with_suffix(".pub").unlink()  # nobody needs it
        layout.initialise(self.project, [KEY])
        files = {".salt/top.sls": "", "app": "1", "systemd/demo.service": UNIT}
        done = self.scratch.deploy(
            self.scratch.commit(files), Phases({"services": ["demo.service"]}, build=copy_to_run)
        )
        assert done.outcome == "live", done.text
        self.listen()

    def listen(self) -> None:
        """Be a deploy service that answers and does nothing."""
        self.place.socket.unlink(missing_ok=True)
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.listener.bind(str(self.place.socket))
        self.listener.listen()
        threading.Thread(target=self._accept, args=(self.listener,), daemon=True).start()

    @staticmethod
    def _accept(listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                listener.accept()[0].close()

    def hang_up(self) -> None:
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()

    def examine(self, *, mend: bool = False) -> Found:
        return examine(self.place, "demo", mend=mend)

    @property
    def live(self) -> str:
        return self.scratch.ledger[-1].id

    def orphan(self) -> Path:
        """Return the archive of a deployment that no ledger knows."""
        (identity,) = ids(1)
        archive = self.paths.archive(identity).root
        (archive / "data").mkdir(parents=True)
        return archive


@pytest.fixture(scope="module")
def _wells(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Well]]:
    wells: list[Well] = []
    yield wells
    for well in wells:
        well.hang_up()


@pytest.fixture
def well(_wells: list[Well], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Well]:
    """Return the project; the test must leave it well, else the next has another."""
    if os.geteuid() != 0:
        pytest.skip("mounts: needs root")
    well = _wells.pop() if _wells else Well(tmp_path_factory.mktemp("well"))
    yield well
    assert wrong(well.examine()) == []
    _wells.append(well)


def wrong(found: Found) -> Found:
    return [each for each in found if each["state"] != "ok"]


def test_one_that_is_well(well: Well) -> None:
    found = well.examine()
    assert {each["check"] for each in found} == {*PROJECT, *ENVIRONMENT, LOCK}
    assert is_well(found)
    assert set(found[0]) == {"project", "check", "state", "what", "where", "mend", "mended"}
    before = well.scratch.digests()
    assert wrong(well.examine(mend=True)) == []
    assert well.scratch.digests() == before
    assert not lock.is_held(well.paths.lock)


def test_all_projects(well: Well) -> None:
    assert {each["project"] for each in examine(well.place)} == {"", "demo"}
    with pytest.raises(NotFound):
        examine(well.place, "absent")


def rewrite(path: Path, text: str) -> None:
    path.unlink(missing_ok=True)
    path.write_text(text)


def config(well: Well, *argv: str) -> None:
    git(f"--git-dir={well.paths.project_git}", "config", *argv)


# What is broken, how, and what is said of it: all of them are mended.
BREAKS: dict[str, tuple[str, str, Callable[[Well], Any]]] = {
    "mode": ("permissions", "mode 0777", lambda w: w.paths.archives.chmod(0o777)),
    "folder": ("permissions", "absent", lambda w: shutil.rmtree(w.paths.build / "cache")),
    "records": (
        "permissions",
        "1 records are not root's alone",
        lambda w: w.paths.ledger.chmod(0o644),
    ),
    "salt link": (
        "links",
        "Salt does not find the project",
        lambda w: w.paths.salt_link.unlink(),
    ),
    "pillar link": (
        "links",
        "Salt does not find the project",
        lambda w: (w.paths.pillar_link.unlink(), w.paths.pillar_link.symlink_to("/nowhere")),
    ),
    "current": ("links", "it leads to nothing; live is ", lambda w: w.paths.current.unlink()),
    "unit": (
        "links",
        "systemd's links are not those of run/systemd",
        lambda w: (w.place.units / "demo.service").unlink(),
    ),
    "wanted": (
        "links",
        "systemd's links are not those of run/systemd",
        lambda w: (w.place.units / "multi-user.target.wants/demo.service").unlink(),
    ),
    "dangling unit": (
        "links",
        "systemd's links are not those of run/systemd",
        lambda w: (w.place.units / "old.service").symlink_to(w.paths.run / "systemd/old.service"),
    ),
    "keys": ("keys", "mode 0600", lambda w: (w.place.keys / "demo").chmod(0o600)),
    "no hook": ("hook", "absent: nobody can push", lambda w: layout.hook_of(w.project).unlink()),
    "hook": (
        "hook",
        "it was changed",
        lambda w: rewrite(layout.hook_of(w.project), "#!/bin/sh\n"),
    ),
    "hook mode": ("hook", "mode 0644", lambda w: layout.hook_of(w.project).chmod(0o644)),
    "hook elsewhere": (
        "hook",
        "absent",
        lambda w: (
            shutil.rmtree(layout.hook_of(w.project).parent),
            layout.hook_of(w.project).parent.symlink_to(w.scratch.folder),
        ),
    ),
    "setting": (
        "repositories",
        "not configured as it must be: receive.denydeletes",
        lambda w: config(w, "receive.denyDeletes", "false"),
    ),
    "refs": (
        "repositories",
        "not configured as it must be: receive.procreceiverefs",
        lambda w: config(w, "--unset-all", "receive.procReceiveRefs"),
    ),
    "pillar": (
        "repositories",
        "others than the account may read it",
        lambda w: w.paths.pillar_git.chmod(0o755),
    ),
    "no pillar": (
        "repositories",
        "no repository",
        lambda w: shutil.rmtree(w.paths.pillar_git),
    ),
    "archive": ("kept", "no deployment of that id is known", Well.orphan),
    "log": (
        "kept",
        "no deployment of that id is known",
        lambda w: os.utime(_touched(w.paths.log(next(iter(ids(1))))), (1, 1)),
    ),
    "build": ("leftovers", "half made", lambda w: (w.paths.build / "run-x").mkdir()),
    "gone": ("leftovers", "half made", lambda w: (w.paths.deploy / ".x.gone").mkdir()),
    "plan": ("leftovers", "half made", lambda w: (w.paths.build / "plan-x").mkdir()),
    "partial": ("leftovers", "half made", lambda w: (w.paths.deploy / "x.partial").mkdir()),
    "restoring": (
        "leftovers",
        "half made",
        lambda w: (w.paths.archives / w.live / "data.restoring").mkdir(),
    ),
    "rendered": ("leftovers", "half made", lambda w: (w.paths.state / "salt-x").mkdir()),
    "release": ("leftovers", "half made", lambda w: (w.paths.releases / ".x.partial").touch()),
    "record": ("leftovers", "half made", lambda w: (w.paths.state / ".journal.abcd1234").touch()),
    "reserve": ("disk", "the reserve", lambda w: (w.paths.state / "reserve").unlink()),
    "small reserve": (
        "disk",
        "the reserve",
        lambda w: (w.paths.state / "reserve").write_bytes(b"x"),
    ),
    "torn journal": ("journal", "before its first record", lambda w: w.paths.journal.touch(0o600)),
    "host key": ("host_key", "mode 0644", lambda w: w.host_key.chmod(0o644)),
    "public half": (
        "host_key",
        "not the public half",
        lambda w: w.place.host_key.write_text(KEY),
    ),
    "no public half": (
        "host_key",
        "not the public half",
        lambda w: w.place.host_key.unlink(),
    ),
    "a signer that nobody is paired with": (
        "peers",
        "not what follows from the pairs",
        lambda w: w.place.signers.write_text("demo@evil ssh-ed25519 AAAA\n"),
    ),
    "fetch key": (
        "fetch_keys",
        "mode 0644",
        lambda w: _fetch_key(w).chmod(0o644),
    ),
    "release key": ("release_key", "mode 0640", lambda w: w.place.release_key.chmod(0o640)),
}


def _fetch_key(well: Well) -> Path:
    well.place.fetch_keys.mkdir()
    return _touched(well.place.fetch_keys / "demo")


def _touched(path: Path) -> Path:
    path.touch(0o600)
    return path


@pytest.mark.parametrize("name", BREAKS)
def test_it_is_found_and_mended(well: Well, name: str) -> None:
    check, what, damage = BREAKS[name]
    before = well.scratch.digests()
    damage(well)
    found = wrong(well.examine())
    assert [each["check"] for each in found] == [check]
    assert what in found[0]["what"]
    assert found[0]["mend"]
    assert not found[0]["mended"]
    assert well.examine() == well.examine()  # looking changes nothing
    mended = wrong(well.examine(mend=True))
    assert [(each["check"], each["what"], each["mended"]) for each in mended] == [
        (check, found[0]["what"], True)
    ]
    assert is_well(mended)
    assert wrong(well.examine(mend=True)) == []
    assert well.scratch.digests() == before


# What only a person can mend: how it is broken, what is said, how it is put back.
BY_HAND: dict[str, tuple[str, str, Callable[[Well], Any], Callable[[Well], Any]]] = {
    "no data": (
        "permissions",
        "absent",
        lambda w: w.paths.data.rename(w.paths.root / "away"),
        lambda w: (w.paths.root / "away").rename(w.paths.data),
    ),
    "run is a link": (
        "permissions",
        "no directory",
        lambda w: (
            w.paths.run.rename(w.paths.root / "away"), w.paths.run.symlink_to("away"),
        ),
        lambda w: (w.paths.run.unlink(), (w.paths.root / "away").rename(w.paths.run)),
    ),
    "data for all": (
        "permissions",
        "mode 0777",
        lambda w: w.paths.data.chmod(0o777),
        lambda w: w.paths.data.chmod(0o750),
    ),
    "no keys": (
        "keys",
        "no key may push",
        lambda w: (w.place.keys / "demo").unlink(),
        lambda w: layout.initialise(w.project, [KEY]),
    ),
    "key": (
        "keys",
        "line 2 is not a key",
        lambda w: (w.place.keys / "demo").open("a").write("nonsense\n"),
        lambda w: layout.initialise(w.project, [KEY]),
    ),
    "key with a command": (
        "keys",
        "line 2 is not a key",
        lambda w: (w.place.keys / "demo").open("a").write(f'restrict,command="sh" {KEY}\n'),
        lambda w: layout.initialise(w.project, [KEY]),
    ),
    "hooks elsewhere": (
        "repositories",
        "another directory of hooks",
        lambda w: config(w, "core.hooksPath", "/tmp"),
        lambda w: config(w, "--unset-all", "core.hooksPath"),
    ),
    "branch": (
        "repositories",
        "the branch leads to no commit",
        lambda w: rewrite(w.paths.project_git / BRANCH, "1" * 40 + "\n"),
        lambda w: rewrite(w.paths.project_git / BRANCH, f"{w.scratch.ledger[-1].commit}\n"),
    ),
    "deployment": (
        "links",
        "the files of the live deployment are not there",
        lambda w: (w.paths.deploy / w.live).rename(w.paths.root / "away"),
        lambda w: (w.paths.root / "away").rename(w.paths.deploy / w.live),
    ),
    "foreign": (
        "kept",
        "not the platform's",
        lambda w: (w.paths.archives / "demo.bak").mkdir(),
        lambda w: (w.paths.archives / "demo.bak").rmdir(),
    ),
    "torn ledger": (
        "ledger",
        "line 2 was cut short",
        lambda w: w.paths.ledger.open("a").write('{"id": "2026\n'),
        lambda w: w.paths.ledger.write_text(w.paths.ledger.read_text().splitlines()[0] + "\n"),
    ),
    "services": (
        "services",
        "failed",
        lambda w: setattr(w.machine, "state", "failed"),
        lambda w: setattr(w.machine, "state", "active"),
    ),
    "identity": (
        "identity",
        "absent",
        lambda w: w.place.identity.rename(w.scratch.folder / "away"),
        lambda w: (w.scratch.folder / "away").rename(w.place.identity),
    ),
    "unknown platform": (
        "identity",
        "could not be looked at",
        lambda w: w.place.identity.write_text('{"platform": "moon"}'),
        lambda w: w.place.identity.write_text('{"platform": "staging"}'),
    ),
    "no host key": (
        "host_key",
        "absent: nobody can push",
        lambda w: w.host_key.rename(w.scratch.folder / "away"),
        lambda w: (w.scratch.folder / "away").rename(w.host_key),
    ),
    "host key of none": (
        "host_key",
        "it is no private key",
        lambda w: (shutil.copy2(w.host_key, w.scratch.folder / "away"), w.host_key.write_text("x")),
        lambda w: (w.scratch.folder / "away").rename(w.host_key),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BY_HAND)
def test_it_is_found_and_left_to_a_person(well: Well, name: str) -> None:
    check, what, damage, put_back = BY_HAND[name]
    damage(well)
    try:
        for mend in (False, True):
            found = wrong(well.examine(mend=mend))
            assert [each["check"] for each in found] == [check]
            assert what in found[0]["what"]
            assert found[0]["mend"] or "could not be looked at" in what
            assert not found[0]["mended"]
    finally:
        put_back(well)


def test_a_ledger_that_cannot_be_read_costs_no_archive(well: Well) -> None:
    """Everything would look like nobody's."""
    orphan = well.orphan()
    text = well.paths.ledger.read_text()
    for damaged in ("", "[]\n", '{"id": "x"}\n', text + "{\n"):
        well.paths.ledger.write_text(damaged)
        found = well.examine(mend=True)
        assert [each["what"] for each in found if each["check"] == "kept"] == [""]
        assert orphan.exists()
    well.paths.ledger.write_text(text)
    well.examine(mend=True)
    assert not orphan.exists()
    assert (well.paths.deploy / well.live).exists()


@pytest.mark.parametrize(
    ("begun", "said"),
    [
        ([], "cut off in start; nothing was touched"),
        (["checkout", "build"], "cut off in build; nothing was touched"),
        (["hold", "data", "start"], "cut off in start; code and data of before will be put back"),
        (["hold", "start", "rollback", "resume"], "the former version serves again"),
        (["hold", "start", "health", "live"], "the new version is live"),
    ],
)
def test_an_unfinished_deployment(well: Well, begun: list[str], said: str) -> None:
    (identity,) = ids(1)
    journal = Journal(well.paths.journal)
    journal.open({"id": str(identity)})
    for step in begun:
        journal.begin(step)
    half = well.paths.build / f"run-{identity}"
    half.mkdir()
    for mend in (False, True):
        (found,) = wrong(well.examine(mend=mend))
        assert (found["check"], found["state"]) == ("journal", "warn")
        assert said in found["what"]
        assert half.exists()  # which finishing it takes
    journal.close()
    half.rmdir()


def test_a_rollback_that_failed(well: Well) -> None:
    (identity,) = ids(1)
    text = well.paths.ledger.read_text()
    Journal(well.paths.journal).open({"id": str(identity)})
    Ledger(well.paths.ledger).append(
        entry(identity, Outcome.ROLLBACK_FAILED, error="restore: it was told to fail")
    )
    (found,) = wrong(well.examine(mend=True))
    assert (found["check"], found["state"], found["mended"]) == ("journal", "bad", False)
    assert "restore: it was told to fail" in found["what"]
    well.paths.journal.unlink()
    well.paths.ledger.write_text(text)


def holding(well: Well, seen: Path, orphan: bool = False) -> int:
    def work() -> None:
        said = lock.text("20260101T000000-x", "1" * 40, BRANCH, "ann")
        with lock.held(well.paths.lock, said, print):
            if orphan and os.fork():
                os._exit(0)  # without giving it back
            seen.write_text(str(os.getpid()))
            wait_until(lambda: False, 60)

    return fork(work)


def test_nothing_is_mended_under_a_deployment(well: Well, tmp_path: Path) -> None:
    half = well.paths.build / "run-x"
    half.mkdir()
    pid = holding(well, tmp_path / "seen")
    wait_until((tmp_path / "seen").exists)
    well.paths.archives.chmod(0o711)
    found = well.examine(mend=True)
    assert [each["what"] for each in found if each["check"] == "lock"] == [
        f"held by deployment 20260101T000000-x of 1111111111 on master by ann (process {pid})"
    ]
    (left,) = wrong(found)
    assert (left["what"], left["mended"]) == ("mode 0711", False)
    assert half.exists()
    kill(pid)
    assert {each["what"] for each in wrong(well.examine(mend=True))} == {"mode 0711", "half made"}


def test_a_lock_that_a_dead_deployer_left(well: Well, tmp_path: Path) -> None:
    os.waitpid(holding(well, tmp_path / "seen", orphan=True), 0)
    wait_until(lambda: (tmp_path / "seen").exists() and (tmp_path / "seen").read_text())
    left = (tmp_path / "seen").read_text()
    (found,) = wrong(well.examine())
    assert found["check"] == "lock"
    assert f"whose process is dead; it left {left}" in found["what"]
    assert found["mend"] == f"kill -9 {left}"
    assert wrong(well.examine(mend=True))[0]["mended"]
    wait_until(lambda: not lock.is_held(well.paths.lock))


def test_a_mount_that_is_left(well: Well) -> None:
    kernel.bind_mount(well.paths.releases, well.paths.releases)
    for mend in (False, True):
        (found,) = (each for each in wrong(well.examine(mend=mend)) if each["check"] == "mounts")
        assert (found["state"], found["where"]) == ("warn", str(well.paths.releases))
        assert not found["mended"]
    kernel.unmount(well.paths.releases)


def test_a_project_that_is_bound(tmp_path: Path) -> None:
    """As in editable mode: what is lost of the binding is made again."""
    scratch = Scratch(tmp_path)

    def found(*, mend: bool = False) -> list[tuple[str, bool]]:
        all_of_it = examine(scratch.place, "demo", mend=mend)
        return [
            (each["what"], each["mended"])
            for each in all_of_it
            if each["check"] in ("mounts", "permissions") and each["state"] != "ok"
        ]

    (scratch.paths.project / "app").write_text("1")
    binding.bind(scratch.project)
    try:
        assert found() == []
        kernel.unmount(scratch.paths.project)
        assert found(mend=True) == [("they are not bound", True)]
        assert found() == []
        for unit in scratch.place.units.glob("*.mount"):
            unit.unlink()
        assert found(mend=True) == [("they are bound until the next boot only", True)]
        assert found() == []
        assert (scratch.paths.project / "app").read_text() == "1"
    finally:
        binding.unbind(scratch.project)
    Ledger(scratch.paths.ledger).append(entry(next(iter(ids(1))), Outcome.LIVE, mode="editable"))
    what = "the live version is editable, and they are two directories"
    assert found(mend=True) == [(what, False)]


def test_a_service_that_is_down(well: Well) -> None:
    well.hang_up()
    (found,) = wrong(well.examine(mend=True))
    assert (found["check"], found["state"], found["mended"]) == ("service", "bad", True)
    assert well.machine.asked[-1][-3:] == ("start", "--", "corpus-deploy.service")
    well.listen()


def test_a_disk_that_is_full(well: Well, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("corpus.project.room.free", lambda _project: 1 << 20)
        (found,) = wrong(well.examine())
        assert (found["check"], found["state"], found["what"]) == ("disk", "bad", "1M are free")


def test_a_node_that_is_away(well: Well) -> None:
    well.place.node_socket.parent.mkdir()
    (found,) = wrong(well.examine())
    assert (found["check"], found["state"]) == ("disk", "warn")
    assert "the node does not say how much room there is" in found["what"]
    well.place.node_socket.parent.rmdir()


def test_a_mend_that_fails_hides_no_other() -> None:
    def fail() -> None:
        raise OSError("it is read-only")

    found = Finding("links", State.BAD, "broken", repair=fail).mended_now()
    assert found.what == "broken; mending it failed: it is read-only"
    assert not found.mended
    assert not is_well([found.as_dict(project="demo")])
