"""Where projects live on this machine, and what one project is to the code here."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from corpus.hosts.base import Host
from corpus.hosts.local import Local
from corpus.model.errors import InvalidName, NotFound
from corpus.model.mode import Platform, parse_platform
from corpus.model.names import project_name
from corpus.model.paths import DEFAULT_PREFIX, ProjectPaths

RELEASES = "corpus-releases"
"""The account, and its group, that paired environments read releases and commits as."""


UNIT_FOLDERS = tuple(
    Path(folder)
    for folder in (
        "/etc/systemd/system.attached",
        "/run/systemd/transient",
        "/run/systemd/generator.early",
        "/run/systemd/system",
        "/run/systemd/system.attached",
        "/run/systemd/generator",
        "/run/systemd/generator.late",
        "/usr/local/lib/systemd/system",
        "/usr/lib/systemd/system",
        "/lib/systemd/system",
    )
)
"""Where systemd finds units beside ``/etc/systemd/system`` (systemd.unit(5))."""


@dataclass(frozen=True)
class Place:
    """The settings of one environment; every path can be moved, so that tests use scratch ones.

    ``units``: where the projects' units are linked; ``unit_folders``: where all others lie.
    ``accounts``: each project has a Unix account of its own; without, all runs as the caller.
    ``node_socket``: where the node answers; no such directory means that there is no node.
    ``firewall``: traffic is held by nftables; without, only the services are stopped.
    ``systemd``: a bind mount is a unit of its own; without, it is made and ended directly.
    """

    prefix: Path = DEFAULT_PREFIX
    socket: Path = Path("/run/corpus/deploy.sock")
    etc: Path = Path("/etc/corpus")
    units: Path = Path("/etc/systemd/system")
    unit_folders: tuple[Path, ...] = UNIT_FOLDERS
    node_socket: Path = Path("/dev/corpus/sock")
    host_key: Path = Path("/etc/ssh/ssh_host_ed25519_key.pub")
    accounts: bool = True
    firewall: bool = True
    systemd: bool = True
    host: Host = field(default_factory=Local)

    @property
    def keys(self) -> Path:
        """One file a project: the public SSH keys that may push."""
        return self.etc / "keys"

    @property
    def identity(self) -> Path:
        """What the node says this environment is: id, platform type, image."""
        return self.etc / "environment.json"

    @property
    def signers(self) -> Path:
        """Whose releases are accepted, in the format that ssh-keygen calls allowed signers."""
        return self.etc / "signers"

    @property
    def release_key(self) -> Path:
        """The private key that signs this environment's releases."""
        return self.etc / "release_key"

    @property
    def peers(self) -> Path:
        """The environments that this one is paired with, a file a project."""
        return self.etc / "peers"

    @property
    def fetch_keys(self) -> Path:
        """A key a project, to fetch from its staging environment, with what is known of that."""
        return self.etc / "fetch_keys"

    def platform(self) -> Platform:
        """The platform type that the node gave this environment; staging where none did."""
        return parse_platform(str(self.facts().get("platform", "staging")))

    def facts(self) -> dict[str, Any]:
        """What the node says this environment is; nothing where no node made it."""
        try:
            found = json.loads(self.identity.read_text())
        except FileNotFoundError:
            return {}
        return found if isinstance(found, dict) else {}

    def shares(self) -> dict[str, int]:
        """The projects whose directory the node shares, with the id their account must have."""
        return {str(name): int(id) for name, id in self.facts().get("shares", {}).items()}

    def names(self) -> list[str]:
        """The names of the projects that were initialised here, sorted."""
        root = self.prefix / "projects"
        if not root.is_dir():
            return []
        found = sorted(entry.parent.name for entry in root.glob("*/.corpus") if entry.is_dir())
        return [name for name in found if _is_name(name)]


def _is_name(name: str) -> bool:
    """Tell a project from a copy of one that somebody put beside it, as ``demo.bak``."""
    try:
        return bool(project_name(name))
    except InvalidName:
        return False


@dataclass(frozen=True)
class Project:
    """One project of this environment."""

    place: Place
    paths: ProjectPaths

    @classmethod
    def at(cls, place: Place, name: str) -> Project:
        """Return the project called ``name``, there or not. Raises InvalidName."""
        return cls(place, ProjectPaths(name, place.prefix))

    @classmethod
    def existing(cls, place: Place, name: str) -> Project:
        """Return the project called ``name``. Raises NotFound, InvalidName."""
        project = cls.at(place, name)
        if not project.paths.state.is_dir():
            raise NotFound(
                f"no project {name!r} in this environment",
                where=str(project.paths.root),
                mend=f"salt-call --local mc_project.init_project {name}",
            )
        return project

    @property
    def name(self) -> str:
        """The project's name."""
        return self.paths.name

    @property
    def host(self) -> Host:
        """The machine that commands run on."""
        return self.place.host

    @property
    def user(self) -> str | None:
        """The account that pushes and owns the repositories; None where there are none."""
        return self.name if self.place.accounts else None

    @property
    def application(self) -> str | None:
        """The account that the application runs as and that owns ``data/``.

        It is another one than ``user``, so that who breaks into the application can
        neither push nor ask the deploy service for anything.
        """
        return f"{self.name}-app" if self.place.accounts else None
