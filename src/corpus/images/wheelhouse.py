"""Wheels of the locked requirements, fetched and made on the host, hashes checked."""

from __future__ import annotations

import importlib.util
import re
import sys
from dataclasses import dataclass
from pathlib import Path

from corpus.commands import pip
from corpus.hosts.base import Host
from corpus.images import keys
from corpus.images.cache import Cache
from corpus.images.settings import Settings
from corpus.images.source import Checkout
from corpus.images.workspace import EPOCH
from corpus.model.errors import Unsupported

PYTHON = (3, 11)
"""The version of Python in the image: wheels are made for it."""
FROM_SOURCE = frozenset({"salt"})
"""What is published as source only, and made into a wheel here."""
LEFT_OUT = frozenset({"timelib"})
"""What Salt does without: timelib, for dates in words, would need a C compiler here."""

_BUNDLED_PIP = Path("/usr/share/python-wheels")
_REQUIREMENT = re.compile(r"^(?=\S)", re.MULTILINE)


def select(lock: str, names: frozenset[str], *, inverse: bool = False) -> str:
    """Return the lock's entries of the packages ``names``, or of all others."""
    chosen = []
    for entry in _REQUIREMENT.split(lock):
        name = entry.partition("==")[0].strip().lower()
        if "==" in entry and (name in names) != inverse:
            chosen.append(entry)
    return "".join(chosen)


def interpreter() -> str:
    """Return a Python of the image's version. Raises Unsupported where there is none."""
    if sys.version_info[:2] == PYTHON:
        return sys.executable
    found = Path(f"/usr/bin/python{PYTHON[0]}.{PYTHON[1]}")
    if found.exists():
        return str(found)
    raise Unsupported(
        f"wheels for the image need Python {PYTHON[0]}.{PYTHON[1]}",
        mend="make the image on Debian 12, or install that version",
    )


def wheels_key(lock: str) -> str:
    """Return the key of the wheels of ``lock``."""
    return keys.key("wheels", lock=lock, out=sorted(LEFT_OUT), python=PYTHON)


@dataclass(frozen=True)
class Wheelhouse:
    """Makes wheels with pip on ``host`` and keeps them in ``cache``; ``checkout`` is a copy."""

    host: Host
    cache: Cache
    checkout: Checkout
    settings: Settings

    def tools(self) -> Path:
        """Return a directory with the locked pip and setuptools, fetched once.

        Debian's own pip takes three times as long to fetch Salt's requirements.
        """
        lock = self.checkout.lock("build")
        key = keys.key("tools", lock=lock.read_text(), python=PYTHON)
        if (found := self.cache.directory("tools", key)).exists():
            return found
        target = self.cache.work / "tools"
        self._run(pip.install_tools(interpreter(), lock, target), _first_pip())
        return self.cache.add_directory("tools", key, target)

    def wheels(self, tools: Path) -> Path:
        """Return a directory with the wheels of Salt's lock, fetched and made once."""
        lock = self.checkout.lock("salt").read_text()
        key = wheels_key(lock)
        if (found := self.cache.directory("wheels", key)).exists():
            return found
        target = self.cache.work / "wheels"
        target.mkdir(parents=True)
        ready = self.cache.work / "wheels.lock"
        ready.write_text(select(lock, FROM_SOURCE | LEFT_OUT, inverse=True))
        self._run(pip.wheels(interpreter(), ready, target), tools)
        source = self.cache.work / "source.lock"
        source.write_text(select(lock, FROM_SOURCE))
        self._run(pip.wheels(interpreter(), source, target, source=True), tools)
        return self.cache.add_directory("wheels", key, target)

    def own(self, tools: Path) -> Path:
        """Return a directory that holds the wheel of our own code."""
        target = self.cache.work / "own"
        self._run(pip.wheel_of(interpreter(), self.checkout.root, target), tools)
        return target

    def _run(self, command: list[str], modules: Path | None) -> None:
        """Run pip with the image's settings; ``modules`` is where Python finds pip itself."""
        names = {
            f"PIP_{key.upper().replace('-', '_')}": " ".join(value)
            for key, value in self.settings.pip
        }
        environment = {
            **names,
            "PIP_ROOT_USER_ACTION": "ignore",
            "PIP_USER": "0",
            "PIP_REQUIRE_VIRTUALENV": "0",
            "PYTHONPATH": str(modules) if modules else "",
            "PYTHONHASHSEED": "0",
            "SOURCE_DATE_EPOCH": str(EPOCH),
        }
        self.host.run(command, env=environment, timeout=1800)


def _first_pip() -> Path | None:
    """Return where a pip lies that can fetch ours, None when this Python has one."""
    if importlib.util.find_spec("pip"):
        return None
    for path in sorted(_BUNDLED_PIP.glob("pip-*.whl")):
        return path
    raise Unsupported("no pip on this machine", mend="apt-get install python3-venv")
