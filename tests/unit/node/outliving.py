"""A node's host and quota groups, which outlive whoever commands them, in a folder."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterable, Iterator, MutableMapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from corpus.commands.btrfs import Usage
from corpus.hosts.base import Command, Result
from corpus.hosts.fake import Fake
from corpus.node.context import Node
from corpus.node.storage import pool
from corpus.node.storage.plain import PlainVolumes
from instants import pass_through
from unit.node import nodes
from unit.node.test_pairing import Guests


def replace(node: Path, path: Path, data: bytes) -> None:
    """Have a file of the node in this folder hold this, in one step.

    Another thread may die at any moment of it: what was begun lies beside the node's folder,
    where nobody counts it.
    """
    begun = node.parent / f"begun-{threading.get_native_id()}"
    begun.write_bytes(data)
    begun.rename(path)


class Disk(MutableMapping[str, bytes]):
    """The files of a host, which outlive whoever writes them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def _path(self, name: str) -> Path:
        return self.folder / name.replace("/", "%")

    def __getitem__(self, name: str) -> bytes:
        try:
            return self._path(name).read_bytes()
        except FileNotFoundError:
            raise KeyError(name) from None

    def __setitem__(self, name: str, data: bytes) -> None:
        replace(self.folder.parents[1], self._path(name), data)

    def __delitem__(self, name: str) -> None:
        self._path(name).unlink()

    def __iter__(self) -> Iterator[str]:
        return (path.name.replace("%", "/") for path in sorted(self.folder.iterdir()))

    def __len__(self) -> int:
        return len(list(self.folder.iterdir()))


class Machine(Fake):
    """A host whose files, guests and rules outlive whoever commands it."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder = folder
        (folder / "files").mkdir(parents=True, exist_ok=True)
        self.files = Disk(folder / "files")  # type: ignore[assignment]

    def _state(self, argv: Any) -> Path:
        return self.folder / next(word for word in argv if word.startswith("--name="))

    def execute(self, command: Command) -> Result:
        """Do what is asked, after a moment at which who asks may die."""
        argv = command.argv
        pass_through(argv[0])
        done = super().execute(command)
        for word, state in nodes.STATES.items():
            if word in argv:
                replace(self.folder.parent, self._state(argv), state.encode())
        if argv[0] == "rm":
            self.remove(argv[argv.index("--") + 1 :])
        if "nft" in argv and command.stdin:
            rules = self.folder / ("aside" if "netns" in argv else "nft")
            replace(self.folder.parent, rules, command.stdin)
        return done

    def remove(self, names: Iterable[str]) -> None:
        """Remove files, and what is below directories of these names."""
        for name in names:
            for path in [one for one in self.files if one == name or one.startswith(name + "/")]:
                del self.files[path]

    def wire(self, node: Node) -> None:
        """Answer as the kernel does for what it holds."""
        aside = f"ip netns exec {node.settings.bridge}-doctor nft"
        tables = [{"table": {"family": "inet", "name": node.settings.bridge}}]

        def read(name: str) -> str:
            path = self.folder / name
            return path.read_text() if path.exists() else ""

        nodes.sound(node, self)
        self.answer(
            "lxc-info",
            lambda argv: f"State: {read(self._state(argv).name) or 'STOPPED'}\n",
        )
        self.answer(f"{aside} --json", json.dumps({"nftables": tables}))
        self.answer(f"{aside} --stateless", lambda _: read("aside"))
        self.answer("nft --stateless", lambda _: read("nft"))
        guests = Guests(self)
        self.answer(
            "lxc-attach",
            lambda argv: (guests.answer(argv) if "salt-call" in argv
                          else nodes.attached(self, argv)),
        )  # fmt: skip


def machine(folder: Path) -> Node:
    """Return the node that lies in a folder, as who comes after a death finds it."""
    node, host = nodes.make(folder, Machine(folder / "host"))
    assert isinstance(host, Machine)
    host.wire(node)
    return node


def keygen(node: Node, public: str) -> Node:
    """Have the node's host make keys with this public one; return the node."""
    assert isinstance(node.host, Machine)

    def generate(argv: Sequence[str]) -> str:
        for name in (argv[-1], f"{argv[-1]}.pub"):
            Path(name).write_text(public)
        return ""

    node.host.answer("ssh-keygen", generate)
    return node


class Held(PlainVolumes):
    """Directories, with quota groups that outlive whoever changes them; each uses 1 GiB."""

    kind = "quota"
    enforced = True
    apart = True

    def _file(self, group: str) -> Path:
        folder = self._settings.prefix.parent / "groups"
        folder.mkdir(exist_ok=True)
        return folder / group.replace("/", "-")

    def _set(self, group: str, text: str) -> None:
        """Change a group in one step, as the kernel does."""
        pass_through("limit")
        replace(self._settings.prefix.parent, self._file(group), text.encode())

    def make(self, home: Path, group: str, size: int, image: Path) -> None:
        self.limit(group, size)
        super().make(home, group, size, image)

    def limit(self, group: str, size: int) -> None:
        self._set(group, str(size))

    def unlimit(self, group: str) -> None:
        self._set(group, "")

    def join(self, group: str, within: str) -> None:
        if not self._file(group).exists():
            self.unlimit(group)

    def allot(self, folder: int, name: str, group: str, within: str) -> bool:
        self.join(group, within)
        with suppress(FileExistsError):
            os.mkdir(name, dir_fd=folder)
        return True

    def used(self, group: str) -> Usage | None:
        path = self._file(group)
        return Usage(1 << 30, int(path.read_text() or 0) or None) if path.exists() else None

    def every(self) -> dict[str, Usage]:
        names = [path.name.replace("-", "/") for path in self._file("").iterdir()]
        return {name: used for name in names if (used := self.used(name))}

    def remove(self, home: Path, group: str) -> None:
        self.unlimit(group)
        super().remove(home, group)

    def prune(self, kept: set[str]) -> None:
        for group in self.every():
            if group.startswith("2/") and group not in kept:
                pass_through("prune")
                self._file(group).unlink()


def recorded(node: Node) -> dict[str, int]:
    """Return what each quota group must be limited to."""
    records = node.records.all() if pool.volumes(node).enforced else []
    own = {one.group: one.limits.size for one in records}
    return own | {
        record.project_group(one.project): one.size
        for record in records
        for one in record.projects
        if one.size is not None
    }


def sizes(node: Node) -> dict[str, int]:
    """Return what the quota groups are limited to that are."""
    volumes = pool.volumes(node)
    found = volumes.every() if isinstance(volumes, Held) else {}
    return {group: one.limit for group, one in found.items() if one.limit is not None}
