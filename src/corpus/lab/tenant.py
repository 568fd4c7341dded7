"""What a team does on a lab's node: environments, projects, pushes, requests over HTTP.

The demo, the end-to-end tests and the benchmarks go through the same doors as a person:
Salt's functions on the node, git over SSH, HTTP through the proxy.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from corpus.hosts.base import Result
from corpus.hosts.container import Container
from corpus.hosts.local import Local
from corpus.lab import salt
from corpus.lab.machine import Lab

LXCPATH = PurePosixPath("/var/lib/corpus/lxc")
IMAGES = "/var/lib/corpus/images-in/environment"


def prepare(lab: Lab, node: int = 1) -> None:
    """Prepare a node of the lab and give it the environments' image, as far as it lacks it."""
    salt.call(lab.node(node), "corpus_node.prepare")
    salt.call(lab.node(node), "corpus_node.image_import", IMAGES)


class Environment:
    """One environment of a lab's node, the ``member``; ``node`` runs commands on that."""

    def __init__(self, lab: Lab, record: dict[str, Any], node: int = 1) -> None:
        self.lab = lab
        self.member = lab.member(node)
        self.node = lab.node(node)
        self.id = str(record["id"])
        self.address = str(record["address"])
        self.ssh_port = int(record["ssh_port"])
        self.host = Container(self.id, self.node, LXCPATH)

    @classmethod
    def create(cls, lab: Lab, *, node: int = 1, **settings: Any) -> Environment:
        """Make an environment; with the ``id`` of one that is there, start that."""
        return cls(lab, salt.call(lab.node(node), "corpus_node.create", **settings), node)

    def route(self, name: str, port: int) -> None:
        """Lead the host name ``name`` to a port of this environment."""
        salt.call(self.node, "corpus_node.route", self.id, name, port)

    def init_project(self, name: str, key: str) -> dict[str, Any]:
        """Initialise a project that the owner of the public ``key`` may push to."""
        made: dict[str, Any] = salt.call(self.host, "mc_project.init_project", name, keys=[key])
        return made

    def report(self, name: str) -> dict[str, Any]:
        """Return what mc_project tells of a project."""
        found: dict[str, Any] = salt.call(self.host, "mc_project.report", name)
        return found

    def pair(self, staging: Environment, name: str) -> None:
        """Let this one, of type prod, deploy what ``staging`` bakes of a project."""
        salt.call(self.node, "corpus_node.pair", staging.id, self.id, name)

    def promote(self, name: str, tell: Callable[[str], None]) -> dict[str, Any]:
        """Deploy the newest release of staging; ``tell`` gets the log."""
        done: dict[str, Any] = salt.call(self.host, "mc_project.promote", name, tell=tell)
        return done

    def releases(self, name: str) -> list[dict[str, Any]]:
        """Return the releases that lie here, newest first."""
        found: list[dict[str, Any]] = salt.call(self.host, "mc_project.releases", name)
        return found

    def stop(self) -> None:
        """Stop it."""
        salt.call(self.node, "corpus_node.stop", self.id)

    def start(self) -> None:
        """Start it."""
        salt.call(self.node, "corpus_node.start", self.id)

    def destroy(self) -> None:
        """Remove it with all its data."""
        salt.call(self.node, "corpus_node.destroy", self.id)


@dataclass
class Developer:
    """Somebody with an SSH key and a folder for work trees."""

    folder: Path
    name: str = "Ada Lovelace"
    host: Local = field(default_factory=Local)

    @property
    def key(self) -> Path:
        """The private key, made at first use."""
        path = self.folder / "id_ed25519"
        if not path.exists():
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            self.host.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "demo", "-f",
                           str(path)])  # fmt: skip
        return path

    @property
    def public_key(self) -> str:
        """The public key's line."""
        return self.key.with_suffix(".pub").read_text().strip()

    def ssh(self, environment: Environment) -> list[str]:
        """Return the ssh command that this developer uses for an environment."""
        known = self.folder / f"known_hosts-{environment.id}"
        return ["ssh", "-i", str(self.key), "-o", "IdentitiesOnly=yes", "-o", "BatchMode=yes",
                "-o", "StrictHostKeyChecking=accept-new", "-o", f"UserKnownHostsFile={known}",
                "-o", f"HostKeyAlias={environment.id}"]  # fmt: skip

    def clone(self, name: str) -> Checkout:
        """Return the work tree ``name``, an empty repository at first."""
        tree = self.folder / name
        checkout = Checkout(self, tree)
        if not (tree / ".git").exists():
            self.host.run(["git", "init", "-q", "--initial-branch=master", str(tree)])
        return checkout


@dataclass(frozen=True)
class Push:
    """How a push ended: git's exit code and everything that it printed."""

    code: int
    lines: list[str]

    @property
    def text(self) -> str:
        """The output as one text."""
        return "\n".join(self.lines)


def address(environment: Environment, project: str, repository: str) -> str:
    """Return what ``git push`` is given to reach a repository of a project."""
    return f"ssh://{project}@127.0.0.1:{environment.ssh_port}/~/{repository}"


@dataclass
class Checkout:
    """One work tree of a developer."""

    owner: Developer
    tree: Path

    def git(self, *words: str, check: bool = True) -> Result:
        """Run git in the tree as its owner."""
        identity = {
            f"GIT_{role}_{what}": value
            for role in ("AUTHOR", "COMMITTER")
            for what, value in (("NAME", self.owner.name), ("EMAIL", "ada@example.org"))
        }
        return self.owner.host.run(
            ["git", "-c", "commit.gpgSign=false", *words], cwd=self.tree, env=identity, check=check
        )

    def commit(self, message: str) -> str:
        """Commit all that the tree holds; return the commit."""
        self.git("add", "--all")
        self.git("commit", "-q", "--allow-empty", "-m", message)
        return self.git("rev-parse", "HEAD").out.strip()

    def connect(self, environment: Environment, project: str) -> None:
        """Make a plain ``git push`` in the tree go to a project of an environment."""
        settings = {
            "user.name": self.owner.name,
            "user.email": "ada@example.org",
            "core.sshCommand": " ".join(self.owner.ssh(environment)),
            "remote.origin.url": address(environment, project, "project.git"),
            "remote.origin.fetch": "+refs/heads/*:refs/remotes/origin/*",
            "push.default": "current",
        }
        for key, value in settings.items():
            self.git("config", key, value)

    def push(
        self,
        environment: Environment,
        project: str,
        repository: str = "project.git",
        ref: str = "HEAD:refs/heads/master",
        tell: Callable[[str], None] = lambda line: None,
    ) -> Push:
        """Push to a project; each line is given to ``tell`` as it arrives."""
        url = address(environment, project, repository)
        lines: list[str] = []

        def take(line: str) -> None:
            lines.append(line)
            tell(line)

        code = self.owner.host.stream(
            ["git", "push", url, ref],
            take,
            cwd=self.tree,
            env={"GIT_SSH_COMMAND": " ".join(self.owner.ssh(environment))},
        )
        return Push(code, lines)
