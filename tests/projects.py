"""Scratch projects: a tree, two repositories and a way to deploy without a container.

Nothing here needs an account, a firewall or systemd. A deployment runs in a forked child,
as it does in the service: what it mounts, kills or changes of itself stays there.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import pickle
import shutil
import signal
import subprocess
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from corpus.hosts import kernel, mounts
from corpus.hosts.base import Host
from corpus.hosts.local import Local
from corpus.model.deployment import DeploymentId, Kind
from corpus.model.errors import PhaseFailed
from corpus.project import deployment, journal, layout, lock, notifications
from corpus.project.deployment import MakeRunner
from corpus.project.ending import Ending
from corpus.project.ledger import Entry, Ledger
from corpus.project.log import Log
from corpus.project.phases import Tally
from corpus.project.place import Place, Project
from corpus.project.request import Request

BRANCH = "refs/heads/master"
GIT = {
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_AUTHOR_NAME": "Ann",
    "GIT_AUTHOR_EMAIL": "ann@example.org",
    "GIT_COMMITTER_NAME": "Ann",
    "GIT_COMMITTER_EMAIL": "ann@example.org",
}
Value = TypeVar("Value")
Phase = Callable[[dict[str, Any]], object]


def git(*argv: str | Path, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run git, deaf to the configuration of whoever runs the tests."""
    return subprocess.run(
        ["git", *map(str, argv)],
        env={**os.environ, **GIT},
        check=check,
        capture_output=True,
        text=True,
    )


def place_at(folder: Path, host: Host | None = None) -> Place:
    """Return a place below ``folder`` that touches nothing else of this machine."""
    return Place(
        prefix=folder / "srv",
        socket=folder / "sock",
        etc=folder / "etc",
        units=folder / "units",
        unit_folders=(folder / "lib",),
        host_key=folder / "host_key.pub",
        node_socket=folder / "node/sock",
        accounts=False,
        firewall=False,
        systemd=False,
        host=host or Local(),
    )


class Phases:
    """A ``PhaseRunner`` whose phases are Python functions, for what needs no Salt."""

    def __init__(self, settings: Mapping[str, Any] | None = None, **phases: Phase) -> None:
        self.settings = dict(settings or {})
        self.phases = phases
        self.name = "demo"

    def __call__(self, project: Project, _identity: DeploymentId) -> Phases:
        self.name = project.name
        return self

    def pillar(self) -> Mapping[str, Any]:
        return {f"makina-projects.{self.name}": self.settings}

    def sample(self) -> Mapping[str, Any]:
        return {}

    def overrides(self) -> Mapping[str, Any]:
        return {}

    def has(self, phase: str) -> bool:
        return phase in self.phases

    def check(self, phase: str, common: dict[str, Any]) -> int:
        return 1

    def preview(self, phase: str, common: dict[str, Any], progress: Callable[[str], None]) -> Tally:
        progress(f"would change {phase}")
        return Tally(1, 0)

    def task(self, name: str, common: dict[str, Any], progress: Callable[[str], None]) -> Tally:
        return self.run(f"task_{name}", common, progress)

    def run(self, phase: str, common: dict[str, Any], progress: Callable[[str], None]) -> Tally:
        self.phases[phase](common)
        return Tally(1, 1)

    def close(self) -> None:
        pass


def fail(_common: dict[str, Any]) -> None:
    """Be a phase that fails."""
    raise PhaseFailed("it was told to fail", ".salt/top.sls, line 1")


def copy_to_run(common: dict[str, Any]) -> None:
    """Be a ``build`` that copies the checkout into ``run/``."""
    shutil.copytree(
        common["paths"]["project"],
        common["paths"]["run"],
        ignore=shutil.ignore_patterns(".git", ".salt"),
        dirs_exist_ok=True,
    )


@dataclass
class Deployed:
    """How a deployment ended, and the lines of its log as the person who pushed saw them."""

    ending: Ending
    lines: list[str] = field(default_factory=list)

    @property
    def outcome(self) -> str:
        return str(self.ending.outcome)

    @property
    def text(self) -> str:
        return "\n".join(self.lines)


class Scratch:
    """One project below a scratch directory."""

    def __init__(self, folder: Path, name: str = "demo", host: Host | None = None) -> None:
        self.folder = folder
        self.place = place_at(folder, host)
        self.project = Project.at(self.place, name)
        self.paths = self.project.paths
        self.work = folder / f"work-{name}"
        layout.initialise(self.project)
        git("init", "--quiet", "--initial-branch=master", self.work)

    def commit(self, files: Mapping[str, str | bytes], *, fresh: bool = False) -> str:
        """Write the files, commit, and bring the objects to the project's repository."""
        return self._commit(self.work, self.paths.project_git, "incoming", files, fresh)

    def pillar(self, text: str) -> str:
        """Commit and push the pillar."""
        work = self.folder / f"pillar-{self.project.name}"
        if not work.exists():
            git("init", "--quiet", "--initial-branch=master", work)
        return self._commit(work, self.paths.pillar_git, "master", {"init.sls": text}, False)

    @staticmethod
    def _commit(
        work: Path, bare: Path, branch: str, files: Mapping[str, str | bytes], fresh: bool
    ) -> str:
        if fresh:
            for entry in work.iterdir():
                if entry.name != ".git":
                    shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
        for name, content in files.items():
            path = work / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content.encode() if isinstance(content, str) else content)
        git("-C", work, "add", "--all", "--force")
        git("-C", work, "commit", "--quiet", "--allow-empty", "--message=a change")
        git("-C", work, "push", "--quiet", "--force", bare, f"HEAD:refs/heads/{branch}")
        return git("-C", work, "rev-parse", "HEAD").stdout.strip()

    def deploy(self, commit: str, make_runner: MakeRunner, branch: str = BRANCH) -> Deployed:
        """Deploy in a child and return how it ended."""
        return in_child(lambda: self.deploy_here(commit, make_runner, branch))

    def deploy_here(self, commit: str, make_runner: MakeRunner, branch: str = BRANCH) -> Deployed:
        """Deploy in this process."""
        return self.ask(Request(branch, commit, "ann"), make_runner)

    def ask(self, asked: Request, make_runner: MakeRunner) -> Deployed:
        """Have done what is asked for, in this process."""
        lines: list[str] = []
        ending = deployment.deploy(
            self.project, asked, make_runner, lines.append, deployment.new_id()
        )
        notifications.deliver(self.project, self.fire)
        return Deployed(ending, lines)

    def rollback(
        self, make_runner: MakeRunner, target: str = "", *, with_data: bool = False
    ) -> Deployed:
        """Go back to a former deployment, in a child."""
        asked = Request(BRANCH, by="ann", kind=Kind.ROLLBACK, target=target, with_data=with_data)
        return in_child(lambda: self.ask(asked, make_runner))

    def promote(self, make_runner: MakeRunner, release: str = "") -> Deployed:
        """Deploy a release, in a child."""
        asked = Request(BRANCH, by="ann", kind=Kind.PROMOTE, target=release)
        return in_child(lambda: self.ask(asked, make_runner))

    def start(self, commit: str, make_runner: MakeRunner) -> int:
        """Begin a deployment in a child and return its process id."""
        return fork(lambda: self.deploy_here(commit, make_runner))

    def recover(self, make_runner: MakeRunner) -> Ending | None:
        """Finish what a dead deployer left, as the service does, in a child."""

        def work() -> Ending | None:
            log = Log(self.paths.state / "logs" / "recovery.log")
            with lock.held(self.paths.lock, "recovery", lambda _ahead: None):
                return deployment.recover(self.project, make_runner, log)

        return in_child(work)

    def fire(self, tag: str, data: dict[str, Any]) -> None:
        """Be Salt's bus: write events into a file."""
        with (self.folder / "events").open("a") as file:
            file.write(json.dumps([tag, data]) + "\n")

    @property
    def events(self) -> list[tuple[str, dict[str, Any]]]:
        """The events that deployments fired, with their tags."""
        path = self.folder / "events"
        return [tuple(json.loads(line)) for line in path.read_text().splitlines()]

    @property
    def ledger(self) -> list[Entry]:
        return Ledger(self.paths.ledger).entries()

    @property
    def begun(self) -> list[str]:
        """The steps that the journal says were begun; none when it is closed."""
        history = journal.read(self.paths.journal)
        return history.begun if history else []

    def digests(self) -> dict[str, str]:
        """Return the digests of what a failed deployment must leave as it was."""
        return {"run": digest(self.paths.run), "data": digest(self.paths.data)}

    def assert_clean(self) -> None:
        """Fail when a deployment left a lock, a journal, a mount or a half-made directory."""
        assert not lock.is_held(self.paths.lock)
        assert not self.paths.journal.exists()
        assert str(self.paths.root) not in Path("/proc/self/mountinfo").read_text()
        assert not list(self.paths.build.glob("run-*"))
        assert list(self.paths.state.glob("salt*")) == []
        left = [
            p for p in self.paths.root.rglob("*") if p.name.endswith((".partial", ".restoring"))
        ]
        assert left == []
        assert list((self.work / ".git").glob("*.lock")) == []


@contextlib.contextmanager
def unmounted(folder: Path) -> Iterator[None]:
    """See to it that nothing is mounted below ``folder`` after the block."""
    try:
        yield
    finally:
        points = mounts.parse(Path("/proc/self/mountinfo").read_text())
        for point in reversed(points):
            if point.is_relative_to(folder):
                kernel.unmount(point)


def share(laptop: Path, project: Project) -> None:
    """Mount a directory of the developer's as a project's, as the node does before a start."""
    for end in (project.paths.project, project.paths.run):
        end.mkdir(parents=True, exist_ok=True)
        kernel.bind_mount(laptop, end)


def digest(folder: Path) -> str:
    """Return one digest of the names, kinds, permissions and contents below ``folder``."""
    found = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        found.update(f"{path.relative_to(folder)}\0{path.lstat().st_mode:o}\0".encode())
        if path.is_symlink():
            found.update(os.fsencode(path.readlink()))
        elif path.is_file():
            found.update(path.read_bytes())
    return found.hexdigest()


def fork(work: Callable[[], Any]) -> int:
    """Run ``work`` in a child and return its process id; it ends with code 0 or 70."""
    pid = os.fork()
    if pid:
        return pid
    code = 70
    try:
        kernel.become_subreaper()
        work()
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def in_child(work: Callable[[], Value], patience: float = 60) -> Value:
    """Run ``work`` in a child and return what it returns, which must be picklable."""
    reading, writing = os.pipe()

    def tell() -> None:
        os.close(reading)
        try:
            answer: tuple[bool, Any] = (True, work())
        except Exception as error:
            answer = (False, error)
        with os.fdopen(writing, "wb") as pipe:
            pickle.dump(answer, pipe)

    pid = fork(tell)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe, ended(pid, patience):
        data = pipe.read()
    assert data, "the child died"
    good, value = pickle.loads(data)
    if not good:
        raise value
    result: Value = value
    return result


@contextlib.contextmanager
def ended(pid: int, patience: float = 60) -> Iterator[None]:
    """See to it that a child of ours is gone after the block."""
    previous = signal.signal(signal.SIGALRM, lambda *_: os.kill(pid, signal.SIGKILL))
    signal.setitimer(signal.ITIMER_REAL, patience)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, 0)


def kill(pid: int) -> None:
    """Kill a child of ours as a power cut would, and bury it."""
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


def entry(identity: DeploymentId | str, outcome: Any, **more: Any) -> Entry:
    """Return a ledger entry of which only the id and the outcome matter."""
    values: dict[str, Any] = {"mode": "cooking", "commit": "c" * 40, "pillar_commit": ""}
    values |= {"started": 1.0, "ended": 2.0, **more}
    return Entry(id=str(identity), outcome=outcome, **values)


def ids(count: int) -> Iterable[DeploymentId]:
    """Return deployment ids, oldest first."""
    tail = "00000000-0000-4000-8000-"
    return [DeploymentId(f"20260101T{n:06}", f"{tail}{n:012}") for n in range(count)]
