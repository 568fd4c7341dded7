"""Where cells are played: an environment with the project, its developer and its visitors."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
import time
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from corpus.commands import lxc
from corpus.lab import salt
from corpus.lab.machine import Lab
from corpus.lab.paths import NodePaths
from corpus.lab.tenant import LXCPATH, Checkout, Developer, Environment, address
from faults.subject import HOLD, Subject

INSIDE = Path(__file__).with_name("inside")
THERE = Path("/opt/corpus-faults")
DROP_IN = Path("/etc/systemd/system/corpus-deploy.service.d/faults.conf")
EXEC = f"[Service]\nExecStart=\nExecStart=/opt/corpus/bin/python {THERE}/service.py\n"
SIZE = "1536M"  # of an environment, small so that its disk is full soon
PATIENCE = 180.0  # seconds for anything that a deployment does


class Broken(AssertionError):
    """An invariant does not hold, or a cell could not be played."""


class Control:
    """The hand within an environment; it is taken again after the environment was stopped."""

    def __init__(self, lab: NodePaths, environment: Environment, project: str) -> None:
        inner = lxc.attach(
            LXCPATH, environment.id, ["python3", "-u", f"{THERE}/control.py", project]
        )
        self._argv = lxc.attach(lab.lxc, lab.container, inner)
        self._process: subprocess.Popen[str] | None = None
        self._lock = threading.Lock()

    def __call__(self, name: str, *given: Any) -> Any:
        """Ask for one thing. Raises Broken with what went wrong inside."""
        with self._lock:
            answer = self._converse(json.dumps([name, *given]))
        if "error" in answer:
            raise Broken(answer["error"])
        return answer["is"]

    def _converse(self, request: str) -> dict[str, Any]:
        if self._process is None:
            self._process = subprocess.Popen(
                self._argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(request + "\n")
            self._process.stdin.flush()
            answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        except (OSError, ValueError):
            self.close()
            raise Broken(f"the environment does not answer: {request}") from None
        return answer

    def close(self) -> None:
        """Let go."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
        self._process = None


class Asker:
    """Who asks for a deployment and waits until it ends; may be cut off from it before."""

    def __init__(self, argv: list[str], **how: Any) -> None:
        self.lines: list[str] = []
        self._process = subprocess.Popen(
            argv,
            **how,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.lines.append(line.rstrip())

    @property
    def ended(self) -> bool:
        """Whether it has."""
        return self._process.poll() is not None

    def drop(self) -> None:
        """Kill it."""
        os.killpg(self._process.pid, signal.SIGKILL)
        self.wait()

    def wait(self) -> int:
        """Return its exit code."""
        try:
            code = self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            raise Broken(f"{self._process.args[0]} does not end") from None
        finally:
            self._reader.join(5)
        return code


class Push(Asker):
    """One ``git push``, whose connection can be dropped."""

    def __init__(self, code: Checkout, environment: Environment, project: str) -> None:
        to = address(environment, project, "project.git")
        ssh = " ".join(code.owner.ssh(environment))
        how = {"cwd": code.tree, "env": {**os.environ, "GIT_SSH_COMMAND": ssh}}
        super().__init__(["git", "push", to, "HEAD:refs/heads/master"], **how)


class Rollback(Asker):
    """One ``mc_project.rollback`` with data, by lxc-attach: what that runs dies with it."""

    def __init__(self, environment: Environment, project: str) -> None:
        paths = environment.member.paths
        words = ["salt-call", "--local", "--retcode-passthrough", "--log-level=quiet"]
        words += ["mc_project.rollback", project, "with_data=True"]
        inner = lxc.attach(LXCPATH, environment.id, words)
        super().__init__(lxc.attach(paths.lxc, paths.container, inner))


@dataclass
class Stand:
    """One environment with its project; every cell leaves it with a version that serves."""

    mode: str
    environment: Environment
    developer: Developer
    subject: Subject
    code: Checkout
    control: Control
    versions: int = 0
    said: list[list[str]] = field(default_factory=list)
    staging: Stand | None = None

    @classmethod
    def make(cls, lab: Lab, mode: str, name: str, folder: Path) -> Stand:
        """Make an environment of ``mode``, its project, and a version that is live.

        In final mode there is a staging environment too, whose releases are deployed.
        """
        subject, developer = Subject(name, mode=mode), Developer(folder / name)
        staging = None
        if mode == "final":
            staging = cls._furnished(lab, "cooking", subject, developer)
        try:
            stand = cls._furnished(lab, mode, subject, developer)
            stand.staging = staging
            if staging:
                pair = ("corpus_node.pair", staging.environment.id, stand.environment.id, name)
                salt.call(lab.node(), *pair)
            route = ("corpus_node.route", stand.environment.id, f"{name}.localhost", subject.port)
            salt.call(lab.node(), *route, hold=HOLD)
            stand.deploy()
        except BaseException:
            if staging:
                staging.close()
            raise
        return stand

    @classmethod
    def _furnished(cls, lab: Lab, mode: str, subject: Subject, developer: Developer) -> Stand:
        """Make an environment with the project and with what the harness needs in it."""
        environment = Environment.create(
            lab, platform=PLATFORMS[mode], size=SIZE, size_limit=SIZE, memory="1G"
        )
        host = environment.host
        for script in sorted(INSIDE.glob("*.py")):
            host.put(THERE / script.name, script.read_bytes())
        host.put(DROP_IN, EXEC.encode())
        host.run(["systemctl", "daemon-reload"])
        host.run(["systemctl", "restart", "corpus-deploy.service"])
        environment.init_project(subject.name, developer.public_key)
        code = developer.clone(subject.name)
        control = Control(environment.member.paths, environment, subject.name)
        return cls(mode, environment, developer, subject, code, control)

    @property
    def http(self) -> tuple[int, str]:
        """The port and the host name of the project's visitors."""
        return self.environment.lab.http_port, f"{self.subject.name}.localhost"

    def write(self, **values: Any) -> str:
        """Commit the next version; ``values`` are what it has of bad. Return the commit."""
        self.versions += 1
        self.subject.version = str(self.versions)
        self.subject.fails, self.subject.wrecks, self.subject.again = "", False, False
        for key, value in values.items():
            setattr(self.subject, key, value)
        self.subject.write(self.code.tree)
        commit = self.code.commit(f"version {self.versions}")
        if self.staging:
            push = self.staging.push()
            if push.wait() != 0:
                raise Broken("staging did not bake a release:\n" + "\n".join(push.lines))
        return commit

    def tamper(self, kind: str, *, here: bool = False) -> None:
        """Spoil the release of what is live in staging: in staging, or the copy of it here."""
        assert self.staging is not None
        baked = self.staging.control("ledger")[-1]["id"]
        words = ["python3", f"{THERE}/tamper.py", self.subject.name, baked, kind]
        (self if here else self.staging).environment.host.run(words)

    def push(self) -> Push:
        """Begin to push what was committed."""
        push = Push(self.code, self.environment, self.subject.name)
        self.said.append(push.lines)
        return push

    def roll_back(self) -> Rollback:
        """Begin to go back to the version that was live before, and to its data."""
        rollback = Rollback(self.environment, self.subject.name)
        self.said.append(rollback.lines)
        return rollback

    def deploy(self, **values: Any) -> str:
        """Commit a version that is good by now and push it; return the commit.

        Raises Broken when it does not get live.
        """
        commit = self.write(**values)
        self.get_live(self.push())
        return commit

    def get_live(self, asker: Asker) -> None:
        """Wait until a good version is live. Raises Broken when it does not get there."""
        if asker.wait() != 0:
            raise Broken("a good version did not get live:\n" + "\n".join(asker.lines))

    def serves(self) -> str:
        """Return the version that answers a visitor."""
        port, host_name = self.http
        request = urllib.request.Request(
            f"http://127.0.0.1:{port}/version", headers={"Host": host_name}
        )
        with urllib.request.urlopen(request, timeout=70) as answer:
            return str(json.load(answer)["version"])

    def expected_run(self) -> dict[str, str]:
        """Return the digests of run/ once the version in the work tree is live."""
        return self.subject.expected_run(self.code.tree)

    def probe(self) -> dict[str, Any]:
        """Return the state of the project."""
        found: dict[str, Any] = self.control("probe")
        return found

    def told(self) -> list[str]:
        """Return what askers said since it was last forgotten, and the service's journal."""
        said = [line for lines in self.said for line in lines]
        return [*said, "", *self.control("journal").splitlines()]

    def kill_container(self) -> None:
        """Stop the environment as a power cut does, and start it again."""
        node, id = self.environment.lab.node(), self.environment.id
        node.run(lxc.stop(LXCPATH, id, kill=True))
        self.control.close()
        self.environment.start()

    def close(self) -> None:
        """Remove the environment."""
        self.control.close()
        self.environment.destroy()
        if self.staging:
            self.staging.close()


PLATFORMS = {"editable": "dev", "cooking": "staging", "final": "prod"}


def wait_for(true: Callable[[], bool], what: str, seconds: float = PATIENCE) -> None:
    """Wait until something is true. Raises Broken past ``seconds``."""
    deadline = time.monotonic() + seconds
    while not true():
        if time.monotonic() > deadline:
            raise Broken(f"not within {seconds:g} s: {what}")
        time.sleep(0.01)
