"""A node that is killed before each step of an operation, called again, and mended instead.

A step is a command, or a change of a file, of a forked child that dies just before it.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import traceback
from collections.abc import Callable, Iterable, Iterator, MutableMapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from corpus.commands.btrfs import Usage
from corpus.hosts.base import Command, Result
from corpus.hosts.fake import Fake
from corpus.hosts.files import temporary
from corpus.model.finding import State
from corpus.node.context import Node
from corpus.node.doctor.examine import examine
from corpus.node.network import firewall
from corpus.node.storage import pool
from corpus.node.storage.plain import PlainVolumes
from instants import Fault, Instants, pass_through
from unit.node import nodes
from unit.node.test_pairing import Guests

STAGING, PROD = nodes.ID, nodes.OTHER
THIRD = "33333333-2222-4333-8444-555555555555"
MOST = 800  # steps of one operation
_STATES = {
    "lxc-start": "RUNNING\nPID: 42",
    "lxc-stop": "STOPPED",
    "lxc-freeze": "FROZEN\nPID: 42",
    "lxc-unfreeze": "RUNNING\nPID: 42",
}
Act = Callable[[Node], Any]


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
        beside = self.folder / "new"
        beside.write_bytes(data)
        beside.rename(self._path(name))

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
        for word, state in _STATES.items():
            if word in argv:
                self._state(argv).write_text(state)
        if argv[0] == "rm":
            self.remove(argv[argv.index("--") + 1 :])
        if "nft" in argv and command.stdin:
            rules = self.folder / ("aside" if "netns" in argv else "nft")
            rules.write_bytes(command.stdin)
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
        Guests(self)


def machine(folder: Path) -> Node:
    """Return the node that lies in a folder, as who comes after a death finds it."""
    node, host = nodes.make(folder, Machine(folder / "host"))
    assert isinstance(host, Machine)
    host.wire(node)
    return node


def no_more(_: Node) -> Any:
    return None


@dataclass(frozen=True)
class Trial:
    """What is killed: ``operation``, after ``before``, on the node that ``wake`` returns.

    ``also`` tells what it ends in besides what ``ended`` does. ``told``: the checks of the doctor
    that may tell of what was killed and leave it.
    """

    before: Act
    operation: Act
    wake: Callable[[Path], Node] = machine
    also: Act = no_more
    told: tuple[str, ...] = ()


def nothing(node: Node) -> None:
    """Begin with two environments, one of which is stopped."""


def die_at_each_step(folder: Path, scratch: Path, name: str, trial: Trial) -> None:
    """Kill the operation before each of its steps: called again, or mended, all is well."""
    trial.before(trial.wake(folder))
    start, cut = scratch / "start", scratch / "cut"
    put_back(folder, start)
    trial.operation(trial.wake(folder))
    wanted, tried = ended(folder, trial), set()
    for step in range(MOST):
        put_back(start, folder)
        if not killed(folder, trial, step):
            break
        if (state := content(folder)) in tried:
            continue
        tried.add(state)
        put_back(folder, cut)
        where = f"killed before step {step} of {name}"
        trial.operation(trial.wake(folder))
        assert ended(folder, trial) == wanted, f"{where}, called again"
        put_back(cut, folder)
        check_mended(trial.wake(folder), where, trial.told)
    else:
        pytest.fail(f"{name} has no end")
    assert tried


def check_mended(node: Node, where: str, told: tuple[str, ...]) -> None:
    """The doctor mends what is left, all of it but what the checks ``told`` tell of."""
    for mend in (True, False):
        left = [one for one in unwell(node, mend=mend) if one["check"] not in told]
        assert left == [], f"{where}, {'mended' if mend else 'after it was mended'}"
    host = node.host
    assert isinstance(host, Machine)
    assert (host.folder / "nft").read_text() == firewall.ruleset(node), where
    assert sizes(node) == recorded(node), where
    assert not [path for path in nodes.left(node) if "/." in path], where
    whole = node.settings.prefix.parent
    assert not list(whole.glob("*/.*.partial")), where
    folders = [path for path in whole.rglob("*") if path.is_dir()]
    assert not [path for folder in folders for path in temporary(folder)], where
    held = {path.name.removeprefix("export-") for path in node.settings.locks.glob("*-*")}
    assert held <= {one.id for one in node.records.all()}, where


def killed(folder: Path, trial: Trial, step: int) -> bool:
    """Tell whether a child that is to die before its step of that number came so far."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            node = trial.wake(folder)
            fault = Fault("death", "begun", step + 1)
            none = folder / "none"
            Instants(folder, [fault], each=lambda: None, large=none, beneath=True).arm()
            pass_through("begun")
            trial.operation(node)
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert code in (0, -signal.SIGKILL)
    return code != 0


def content(folder: Path) -> str:
    """A digest of all that lies in a folder, by which equal states are tried once."""
    found = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        found.update(str(path.relative_to(folder)).encode())
        found.update(path.read_bytes() if path.is_file() else b"")
    return found.hexdigest()


def put_back(saved: Path, folder: Path) -> None:
    """Have a folder be as the other."""
    shutil.rmtree(folder, ignore_errors=True)
    subprocess.run(["cp", "-a", "--", saved, folder], check=True)


def ended(folder: Path, trial: Trial) -> dict[str, Any]:
    """All that an operation ends in: records, places, guests, rules, the proxy's files."""
    node = trial.wake(folder)
    host, settings = node.host, node.settings
    assert isinstance(host, Machine)
    states = {path.name: path.read_text().split()[0] for path in host.folder.glob("--name=*")}
    return {
        "records": {one.id: replace(one, made="") for one in node.records.all()},
        # Locks and half-written files are the doctor's.
        "left": [one for one in nodes.left(node) if "/." not in one and "/locks/" not in one],
        "snapshots": sorted(
            str(path) for path in (settings.pool / "env").glob("*/snapshots/[!.]*")
        ),
        "states": {name: state for name, state in states.items() if state != "STOPPED"},
        "rules": (host.folder / "nft").read_text(),
        "files": {name: host.files[name] for name in host.files if name.startswith("/")},
        "also": trial.also(node),
    }


def unwell(node: Node, *, mend: bool = False) -> list[dict[str, Any]]:
    """Return what the doctor finds, and cannot mend."""
    return [
        one for one in examine(node, mend=mend) if one["state"] != State.OK and not one["mended"]
    ]


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
        path = self._file(group)
        folder = os.open(path.parent, os.O_RDONLY)
        handle = os.open(path.name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, dir_fd=folder)
        os.write(handle, text.encode())
        os.close(handle)
        os.close(folder)

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

    def usage(self) -> dict[str, Usage]:
        names = [path.name.replace("-", "/") for path in self._file("").iterdir()]
        return {name: used for name in names if (used := self.used(name))}

    def remove(self, home: Path, group: str) -> None:
        self.unlimit(group)
        super().remove(home, group)

    def prune(self, kept: set[str]) -> None:
        for group in self.usage():
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
    found = pool.volumes(node).usage()
    return {group: one.limit for group, one in found.items() if one.limit is not None}
