"""Where the front runs: on the node itself, and in the environment that it was moved to."""

from __future__ import annotations

import hashlib
import io
import tarfile
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import PurePath

from corpus.commands import haproxy, systemctl
from corpus.hosts import guests
from corpus.hosts.base import Host
from corpus.hosts.container import Container
from corpus.hosts.deadline import Deadline
from corpus.model.errors import NotFound
from corpus.node.context import Node
from corpus.node.records import Record

SERVICE = "corpus-proxy.service"
CERTIFICATES = "certificates/"
NEW = "new/"  # the folder of what is checked before it is taken
INSIDE = PurePath("/etc/corpus/proxy")
"""The folder in an environment: in its memory, so that no key of a site ever lies on its disk."""


@dataclass(frozen=True)
class Place:
    """A host on which an HAProxy of ours runs, by the unit ``SERVICE``, and its ``folder``.

    ``doors``: it is the one at the gateway, where paired environments come for releases.
    """

    host: Host
    folder: PurePath
    doors: bool = True

    def reload(self) -> None:
        """Have the proxy take its files anew, or start it."""
        self.host.run(systemctl.command("reload-or-restart", [SERVICE]), timeout=60)

    def stop(self) -> None:
        """End the proxy with all connections that it has, also one that hangs."""
        self.host.run(systemctl.command("stop", [SERVICE]), timeout=60)

    def ask(self, commands: list[str]) -> list[str]:
        """Return what the running proxy answers to commands; empty when it does not run."""
        done = self.host.run(haproxy.ask(), stdin=haproxy.questions(commands), check=False)
        return haproxy.parse_answers(done.out) if done.code == 0 else []

    def get(self, name: str) -> bytes | None:
        """Return the content of a file of the folder, or None."""
        try:
            return self.host.get(self.folder / name)
        except NotFound:
            return None

    def put(self, files: Mapping[str, bytes]) -> None:
        """Write files of the folder, by their names in it."""
        for name, text in sorted(files.items()):
            self.host.put(self.folder / name, text, mode(name))

    def digests(self, names: Iterable[str]) -> dict[str, str]:
        """Return the SHA-256 of those of these files that are there."""
        found = {name: self.get(name) for name in names}
        return {name: digest(text) for name, text in found.items() if text is not None}

    def remove(self, names: Iterable[str]) -> None:
        """Remove files, and folders with all that is in them."""
        self.host.run(["rm", "-rf", "--", *(str(self.folder / name) for name in sorted(names))])


@dataclass(frozen=True)
class Inside(Place):
    """The place in an environment: each step is one command, and all of them end in time."""

    def put(self, files: Mapping[str, bytes]) -> None:
        """Write files of the folder, by their names in it."""
        packed = _packed({name: (self.folder / name, text) for name, text in files.items()})
        argv = ["tar", "--extract", "--file=-", "--no-same-owner", "--directory=/"]
        self.host.run(argv, stdin=packed)

    def digests(self, names: Iterable[str]) -> dict[str, str]:
        """Return the SHA-256 of those of these files that are there."""
        wanted = {str(self.folder / name): name for name in names}
        shown = self.host.run(["sha256sum", "--", *wanted], check=False).out.splitlines()
        found = (line.partition("  ") for line in shown)
        return {wanted[path]: value for value, _, path in found if path in wanted}


def own(node: Node) -> Place:
    """Return the node's place: its proxy runs always, so that it can take over at once."""
    return Place(node.host, node.settings.proxy)


def inside(node: Node, record: Record, seconds: float) -> Inside:
    """Return the front's place in an environment; what is done there takes ``seconds`` at most."""
    outer = Deadline(node.host, seconds)
    return Inside(Container(record.id, outer, node.settings.lxcpath), INSIDE, doors=False)


def runs(node: Node, record: Record) -> bool:
    """Tell whether an environment runs, and is not frozen."""
    return state(node, record) == "RUNNING"


def state(node: Node, record: Record) -> str:
    """Return an environment's state in LXC's words."""
    return guests.state(node.host, node.settings.lxcpath, record.id)[0]


def wait(place: Place) -> None:
    """Wait until a host takes orders for its units; raises CommandFailed past its deadline."""
    while place.host.run(systemctl.show([SERVICE]), check=False).code != 0:
        time.sleep(0.05)


def mode(name: str) -> int:
    """Return the permissions of a file of the folder: root alone reads keys."""
    return 0o600 if name.removeprefix(NEW).startswith(CERTIFICATES) else 0o644


def digest(data: bytes) -> str:
    """Return how the content of a file is told from another one."""
    return hashlib.sha256(data).hexdigest()


def _packed(files: Mapping[str, tuple[PurePath, bytes]]) -> bytes:
    """Return an archive of tar(1), to be extracted at the root."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for name, (path, text) in sorted(files.items()):
            about = tarfile.TarInfo(str(path).lstrip("/"))
            about.size, about.mode = len(text), mode(name)
            archive.addfile(about, io.BytesIO(text))
    return packed.getvalue()
