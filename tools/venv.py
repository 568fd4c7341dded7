"""Make .venv from requirements/dev.lock, with the wheels that the image is made from.

Run by `make venv` with Debian's own Python. Salt and what it needs come out of the image
builder's cache, so that they are fetched and made once on a machine; the rest comes from
where the machine's pip configuration says. Hashes are checked in both.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from corpus.hosts.local import Local
from corpus.images import settings, source
from corpus.images.builder import DEFAULT_CACHE
from corpus.images.cache import Cache
from corpus.images.wheelhouse import Wheelhouse, wheels_key
from corpus.model.errors import CorpusError

ROOT = source.here().root
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
PIP = [str(PYTHON), "-m", "pip", "--quiet", "--no-input", "--disable-pip-version-check"]
INSTALL = [*PIP, "install", "--no-compile", "--no-deps", "--no-warn-script-location"]


def _say(line: str) -> None:
    print(f"venv: {line}", flush=True)


def shared() -> tuple[Path, list[Path]]:
    """Return where the locked pip lies and the wheels of salt.lock; make both when absent."""
    cache = Cache(DEFAULT_CACHE)
    house = Wheelhouse(Local(), cache, source.here(), settings.load())
    with cache.locked(lambda: _say("waiting for a build of the image")):
        key = wheels_key(source.here().lock("salt").read_text())
        if not cache.directory("wheels", key).exists():
            _say("fetching and making the wheels of Salt, once on this machine")
        modules = house.tools()
        wheels = house.wheels(modules)
    return modules, sorted(wheels.glob("*.whl"))


def install() -> None:
    """Make the environment anew."""
    host = Local()
    modules, wheels = shared()
    # An environment needs no pip of its own: the locked one works on it from outside.
    pip = {"PYTHONPATH": str(modules), "PIP_ROOT_USER_ACTION": "ignore"}
    shutil.rmtree(VENV, ignore_errors=True)
    host.run(["/usr/bin/python3", "-m", "venv", "--without-pip", str(VENV)])
    host.run([*INSTALL, "--no-index", *map(str, wheels)], env=pip)
    _say("installing what the tests need")
    lock = ROOT / "requirements" / "dev.lock"
    host.run([*INSTALL, "--require-hashes", "--requirement", str(lock)], env=pip)
    own = ["--no-index", "--no-build-isolation", "--editable", str(ROOT)]
    host.run([*INSTALL, *own], env=pip)


def main() -> int:
    """Make the environment; return the exit code."""
    try:
        install()
    except CorpusError as error:
        shutil.rmtree(VENV, ignore_errors=True)
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
