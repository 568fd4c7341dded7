"""A machine as a deployment sees it, made of files: git, systemd, nftables, copies, visitors.

It is ``hosts/fake.py`` with a memory that survives the death of the process, because it lies
in a folder. One application runs on it, whose every answer to a visitor is checked.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from corpus.hosts.base import Command, Result
from corpus.hosts.fake import Fake
from gitlike import Git
from instants import Instants, pass_through

UNIT = "demo.service"
PORT = 8080
PACE = 16
ACTIVE = "Id={}\nActiveState={}\nResult=success\nLoadState={}\n"


@dataclass(frozen=True)
class Version:
    """A version of the application, as its file ``app`` says.

    ``schema``: of the data that it reads and, when it is newer, migrates to; ``ill``: it
    starts and is not healthy; ``fails``: the phase that fails, after it wrote; ``starts``:
    it has a ``start`` macro of its own; ``stop_before``, ``mode``: the settings.
    """

    number: int
    schema: int = 1
    ill: bool = False
    fails: str = ""
    starts: bool = False
    stop_before: str = "swap"
    mode: str = "cooking"

    @classmethod
    def of(cls, folder: Path) -> Version | None:
        """Return the version whose files lie in ``folder``."""
        try:
            return cls.parse((folder / "app").read_text())
        except (FileNotFoundError, ValueError):
            return None

    @classmethod
    def parse(cls, text: str) -> Version:
        """Return the version that the file ``app`` describes."""
        return cls(**json.loads(text))

    def files(self) -> dict[str, str]:
        """Return what a commit of it holds."""
        return {
            "app": json.dumps(asdict(self)),
            f"systemd/{UNIT}": "[Service]\n",
            ".salt/top.sls": "",
        }


class Machine(Fake):
    """Answer commands from what lies in ``folder``."""

    def __init__(self, folder: Path) -> None:
        super().__init__("machine")
        self.folder = folder
        self.instants: Instants | None = None
        self.waits_for: Path | None = None
        self._asked = 0
        self._just_admitted = False
        (folder / "broken").mkdir(parents=True)
        self.git = Git(folder / "objects")
        self._events = os.open(folder / "events", os.O_RDWR | os.O_CREAT | os.O_APPEND)
        self.write("held", [])
        self.write("running", {})

    # Its memory

    def read(self, name: str) -> Any:
        return json.loads((self.folder / name).read_text())

    def write(self, name: str, value: Any) -> None:
        # One write(2) of a new file and a rename: whoever dies leaves the old or the new.
        (self.folder / f"{name}.new").write_text(json.dumps(value))
        (self.folder / f"{name}.new").rename(self.folder / name)

    def tell(self, what: str, *about: object) -> None:
        """Record an event with the process that it is of."""
        line = json.dumps([os.getpid(), what, *map(str, about)])
        os.write(self._events, line.encode() + b"\n")

    def events(self) -> list[list[Any]]:
        lines = (self.folder / "events").read_text().splitlines()
        return [json.loads(line) for line in lines]

    def is_broken(self, what: str) -> bool:
        return (self.folder / "broken" / what).exists()

    @property
    def broken(self) -> bool:
        """Whether anything is."""
        return any((self.folder / "broken").iterdir())

    def break_(self, what: str) -> None:
        """Have something fail until it is mended: a phase, or the disk."""
        (self.folder / "broken" / what).touch()

    def mend(self) -> None:
        """Mend all that is broken."""
        for flag in (self.folder / "broken").iterdir():
            flag.unlink()

    # Commands

    def execute(self, command: Command) -> Result:
        pass_through(f"run {command.argv[0]}")
        if self.instants and self.instants.failing:
            self.instants.failing = False
            return Result(command.argv, 1, "", "it was told to fail")
        work = getattr(self, f"_{command.argv[0].replace('-', '_')}", None)
        if work is None:
            raise NotImplementedError(command.argv)
        try:
            out = work([*command.argv[1:]], (command.stdin or b"").decode())
        except OSError as error:  # as the command would say it
            return Result(command.argv, 1, "", str(error))
        pass_through(f"ran {command.argv[0]}")
        return Result(command.argv, 0 if isinstance(out, str) else 1, out or "")

    def _git(self, argv: Sequence[str], stdin: str) -> str | None:
        return self.git.run(argv, stdin)

    # Copies

    def _cp(self, argv: Sequence[str], _stdin: str) -> str | None:
        source, target = map(Path, argv[-2:])
        if source.is_file():
            shutil.copyfile(source, target)
        else:
            shutil.copytree(source, target, symlinks=True, dirs_exist_ok=True)
        return ""

    def _rsync(self, argv: Sequence[str], stdin: str) -> str | None:
        if "--delete" not in argv:
            return self._cp(argv, stdin)
        given = dict(word.split("=", 1) for word in argv if "=" in word)
        source, target = map(Path, argv[-2:])
        spared = given.get("--exclude", "").lstrip("/")
        names = {
            path.relative_to(folder)
            for folder in (source, target)
            for path in folder.rglob("*")
            if path.is_file() and path.relative_to(folder).parts[0] != spared
        }
        differ = [n for n in sorted(names) if not _are_equal(source / n, target / n)]
        if "--dry-run" in argv:
            return "\n".join(map(str, differ))
        for name in differ:
            self._mirror(source / name, target / name, Path(given.get("--backup-dir", "")) / name)
        shutil.copystat(source, target)
        return ""

    def _mirror(self, source: Path, target: Path, aside: Path) -> None:
        if target.exists() and aside.is_absolute():
            aside.parent.mkdir(parents=True, exist_ok=True)
            target.rename(aside)
        if source.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target)
        else:
            target.unlink(missing_ok=True)

    # Keys

    def _ssh_keygen(self, argv: Sequence[str], stdin: str) -> str | None:
        path = Path(argv[argv.index("-f") + 1])
        if "-y" in argv:
            return f"ssh-ed25519 {path.read_text()}"
        if "sign" in argv:
            return f"{path.read_text()} signed {hash_of(stdin)}"
        if "verify" in argv:
            told = Path(argv[argv.index("-s") + 1]).read_text()
            return "" if told.endswith(hash_of(stdin)) else None
        path.write_text("the key")
        return ""

    # systemd and nftables

    def _systemctl(self, argv: Sequence[str], _stdin: str) -> str | None:
        words = [word for word in argv if not word.startswith("--")]
        if words[0] == "show":
            return "\n".join(map(self._shown, words[1:]))
        for unit in words[1:]:
            if words[0] == "start" and not self.start(unit):
                return None
            if words[0] == "stop":
                self.stop(unit)
        return ""

    def _shown(self, unit: str) -> str:
        known = (self.folder / "units" / unit).exists() or unit in self.read("running")
        state = "active" if unit in self.read("running") else "inactive"
        return ACTIVE.format(unit, state, "loaded" if known else "not-found")

    def start(self, unit: str) -> bool:
        """Start what the unit's link leads to, as it is at this moment."""
        link = self.folder / "units" / unit
        version = Version.of(link.resolve().parent.parent) if link.exists() else None
        if version is None:
            return False
        running = self.read("running")
        if unit not in running:
            opened = self.data.stat().st_ino if self.data.exists() else 0
            self.write("running", running | {unit: asdict(version)})
            self.write("opened", opened)
            self.tell("started", version.number)
        return True

    def stop(self, unit: str) -> None:
        running = self.read("running")
        if running.pop(unit, None):
            self.write("running", running)
            self.tell("stopped")

    def _nft(self, _argv: Sequence[str], stdin: str) -> str | None:
        held = set(self.read("held"))
        for verb, name, port in re.findall(
            r"^(add|delete) element inet corpus (\w+) { (\d+)", stdin, re.M
        ):
            if name == "held":
                (held.add if verb == "add" else held.discard)(int(port))
        self.write("held", sorted(held))
        self._just_admitted = not held
        self.tell("held" if held else "admitted")
        return ""

    def boot(self) -> None:
        """Lose what a reboot loses."""
        self.write("running", {})
        self.write("held", [])
        self.tell("boot")

    def come_up(self) -> None:
        """Start what is enabled, as at a boot."""
        wants = self.folder / "units" / "multi-user.target.wants"
        for link in wants.iterdir() if wants.is_dir() else ():
            if link.exists():
                self.start(link.name)

    # The application and its visitors

    @property
    def version(self) -> Version | None:
        """The version that runs."""
        running = self.read("running")
        return Version(**running[UNIT]) if UNIT in running else None

    def probe(self, _check: Mapping[str, Any], _timeout: float) -> str | None:
        """Be ``health.probe``."""
        version = self.version
        if version is None:
            return "Connection refused"
        if version.ill or self.trouble(version):
            return "status 500 instead of 200"
        self.tell("healthy", version.number)
        return None

    def trouble(self, version: Version) -> str:
        """Say what ``version`` would find wrong with its data."""
        for store in self.stores:
            entries, schema = entries_of(store)
            if schema != version.schema:
                return f"version {version.number} meets schema {schema} in {store.name}"
            if entries not in self.histories:
                return f"{store.name} holds {entries} where there was {self.histories}"
        return "" if len({tuple(entries_of(store)[0]) for store in self.stores}) == 1 else "torn"

    @property
    def stores(self) -> list[Path]:
        """Its data: a file of the project, and what is no file of it."""
        return [self.data / "entries", self.folder / "database"]

    @property
    def data(self) -> Path:
        return Path(self.read("data"))

    @property
    def histories(self) -> list[list[str]]:
        """What the data may hold: what is acknowledged, or what a rollback goes back to."""
        reverted = self.folder / "reverted"
        return [self.acknowledged, *([self.read("reverted")] if reverted.exists() else [])]

    def know_the_data(self) -> None:
        """Take note that visitors are let in to what a rollback went back to."""
        entries = entries_of(self.stores[0])[0]
        if entries != self.acknowledged and entries in self.histories:
            text = "".join(f"{entry}\n" for entry in entries)
            (self.folder / "acknowledged").write_text(text)

    @property
    def acknowledged(self) -> list[str]:
        """What visitors were told is written."""
        try:
            return (self.folder / "acknowledged").read_text().split()
        except FileNotFoundError:
            return []

    def visit(self, now: bool = False) -> None:
        """Have somebody write, if anybody is let in and answered. What is wrong is recorded."""
        self._asked += 1
        if self._asked % PACE and not self._just_admitted and not now:
            return
        version = self.version
        if version is None or PORT in self.read("held"):
            return
        self._just_admitted = False
        trouble = self.trouble(version)
        if self.data.stat().st_ino != self.read("opened"):  # which no health check can see
            trouble = f"version {version.number} has the data of before open"
        if trouble:
            self.tell("violation", trouble)
        self.know_the_data()
        entry = f"e{len(self.events())}"
        for store in self.stores:
            with store.open("a") as file:
                file.write(f"{entry} {version.schema}\n")
        with (self.folder / "acknowledged").open("a") as file:
            file.write(f"{entry}\n")
        self.tell("visit", version.number)


def _are_equal(one: Path, other: Path) -> bool:
    return one.exists() and other.exists() and one.read_bytes() == other.read_bytes()


def hash_of(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def entries_of(store: Path) -> tuple[list[str], int]:
    """Return the entries of a store and its schema; a store half migrated has schema 0."""
    lines = store.read_text().splitlines() if store.exists() else []
    found = [line.split() for line in lines]
    schemas = {int(fields[1]) for fields in found}
    return [fields[0] for fields in found[1:]], schemas.pop() if len(schemas) == 1 else 0
