"""A machine in a scratch directory, as a node sees it over SSH, and a small image for it."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePath
from typing import Any

import pytest

from corpus.commands import layers
from corpus.hosts.base import Command, Result
from corpus.hosts.fake import Fake
from corpus.hosts.local import Local
from corpus.images import keys
from corpus.images.manifest import Image, Layer
from corpus.images.recipes import BASE_PACKAGES
from corpus.node.saltify import contents, inside, looking

HOST_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI" + "a" * 43
PROC = "proc/1/comm"


class Machine(Fake):
    """Do on a scratch root what is asked; systemd, dpkg and nft only answer."""

    def __init__(self, root: Path) -> None:
        super().__init__("web.example")
        self.root = root
        self.facts: dict[str, Any] = {"user": 0, "machine": "x86_64", "python": [3, 11]}
        self.lacks: set[str] = set()
        self.active = False
        self.dies_at = ""
        for path, text in (("etc/os-release", "ID=debian\nVERSION_ID=12\n"), (PROC, "systemd\n")):
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_text(text)
        for path in ("opt", "var/lib", "srv", "root", "usr/local/bin", "etc/ssh/sshd_config.d"):
            (root / path).mkdir(parents=True, exist_ok=True)

    def execute(self, command: Command) -> Result:
        self.calls.append(command)
        argv = command.argv
        word = argv[4] if argv[:2] == ("python3", "-IS") else argv[0]
        if word == self.dies_at:
            self.dies_at = ""
            raise KeyboardInterrupt
        if argv[:2] == ("python3", "-IS"):
            chosen = next(one for one in inside.FUNCTIONS if one.__name__ == word)
            told = chosen(self.root, json.loads(command.stdin or b"{}"))
            return Result(argv, 0, json.dumps(told | (self.facts if word == "survey" else {})))
        if word in ("tar", "sha256sum", "mkdir", "mv", "rm"):
            return Local().run([self._here(part) for part in argv], check=False)
        return super().execute(command) if word in self._failures else self._answer(argv)

    def _answer(self, argv: tuple[str, ...]) -> Result:
        if argv[0] == "dpkg-query":
            there = [name for name in BASE_PACKAGES if name not in self.lacks]
            return Result(argv, 0, "".join(f"ii  {name}\n" for name in there))
        if argv[0] == "apt-get":
            self.lacks.clear()
        if "mc_project.remove" in argv:
            shutil.rmtree(self.root / "srv/projects" / argv[-2])
        if argv[0] == "systemctl" and "corpus-deploy.service" in argv:
            if "is-active" in argv:
                return Result(argv, 0 if self.active else 3)
            self.active = "stop" not in argv
        if "-T" in argv:
            return Result(argv, 0, "authorizedkeysfile /etc/corpus/keys/%u\nallowgroups staff\n")
        return Result(argv, 0, "web\n" if argv[0] == "uname" else "")

    def _here(self, word: str) -> str:
        """Return a word with the paths in it that are the machine's led to the scratch root."""
        for place in (inside.HOME, inside.NEW, inside.TREE):
            for before in ("", "--file=", "--directory="):
                if word.startswith(f"{before}{place}"):
                    return word.replace(place, f"{self.root}{place}", 1)
        return word

    def send(self, source: Path, path: PurePath, *, timeout: float) -> None:
        self.calls.append(Command(("send", str(path))))
        if self.dies_at == "send":
            self.dies_at = ""
            (self.root / str(path).lstrip("/")).write_bytes(source.read_bytes()[:100])
            raise KeyboardInterrupt
        shutil.copyfile(source, self.root / str(path).lstrip("/"))

    def changed(self) -> list[str]:
        """Return the commands that changed something."""
        looks = ("survey", "compare", "uname", "dpkg-query", "nft", "is-active", "--version", "-T")
        return [" ".join(argv)[:80] for argv in self.commands if not {*argv} & {*looks}]


@contextmanager
def connected(machine: Machine, folder: Path, how: tuple[Any, ...]) -> Iterator[Any]:
    known = folder / "known_hosts"
    known.write_text(f"machine {how[1] or HOST_KEY}\n")
    yield machine, known


def reach(monkeypatch: pytest.MonkeyPatch, machine: Machine, folder: Path) -> None:
    """Have every connection lead to the machine."""
    monkeypatch.setattr(looking, "connected", lambda *how: connected(machine, folder, how))


def image(folder: Path, version: str = "1") -> Path:
    """Return the directory of a small image of environments."""
    folder.mkdir(parents=True, exist_ok=True)
    found = []
    for name in ("base", "salt", "code-environment"):
        tree = folder / f"tree-{name}"
        shutil.rmtree(tree, ignore_errors=True)
        files = {"base": {"etc/base": "b"}, "salt": {"opt/corpus/bin/python": "#!"}}.get(name)
        if files is None:
            files = {path.lstrip("/"): f"{path} {version}\n" for path in contents.FROM_IMAGE[:-1]}
            files |= {"opt/corpus/code.py": version, "etc/apt/sources.list": "not for machines"}
        for path, text in files.items():
            (tree / path).parent.mkdir(parents=True, exist_ok=True)
            (tree / path).write_text(text)
            os.utime(tree / path, (1, 1))
        if name == "code-environment":
            (tree / "usr/local/bin").mkdir(parents=True)
            (tree / "usr/local/bin/salt-call").symlink_to("/opt/corpus/bin/salt-call")
        key = keys.key(name, version=version)
        archive = folder / Layer(name, key, "", 0).file
        Local().run(layers.pack(tree, archive))
        found.append(Layer(name, key, keys.digest_of_file(archive), archive.stat().st_size))
        shutil.rmtree(tree)
    made = Image("environment", folder, tuple(found), "bookworm", "amd64")
    (folder / "manifest.json").write_text(made.to_json())
    return folder
