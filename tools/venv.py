"""Make .venv from requirements/dev.lock, with the wheels that the image is made from.

Run by `make venv` with Debian's own Python. Salt and what it needs come out of the wheelhouse
that the image's Salt layer uses, so that they are built from source once on a machine; the
rest comes from where the machine's pip configuration says. Hashes are checked in both.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import sys
import tempfile
from pathlib import Path

from corpus.hosts.local import Local
from corpus.model.errors import CorpusError
from corpus.project.venv import PYTHON, pip_command

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
SALT_LOCK = ROOT / "requirements" / "salt.lock"
DEV_LOCK = ROOT / "requirements" / "dev.lock"
CACHE = Path("/var/cache/corpus/wheels")
_PIN = re.compile(r"^[A-Za-z0-9._-]+==[^ ;\\]+", re.MULTILINE)
_PIP = ["--quiet", "--no-input", "--disable-pip-version-check"]


def wheelhouse(pip: list[str]) -> Path:
    """Return the directory with the wheels of salt.lock; build them when they are not there."""
    key = hashlib.sha256(SALT_LOCK.read_bytes() + sys.version.encode()).hexdigest()[:16]
    house = CACHE / key
    if house.is_dir():
        return house
    print("venv: building the wheels of Salt, once (about a minute)", flush=True)
    CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".half-", dir=CACHE) as half:
        wheels = Path(half, "wheels")
        options = [*_PIP, "--no-deps", "--require-hashes", "--wheel-dir", str(wheels)]
        Local().run([*pip, "wheel", *options, "--requirement", str(SALT_LOCK)])
        wheels.rename(house)
    return house


def install() -> None:
    """Make the environment anew."""
    shutil.rmtree(VENV, ignore_errors=True)
    Local().run([str(PYTHON), "-m", "venv", "--without-pip", str(VENV)])
    pip = pip_command(VENV / "bin" / "python")
    options = [*_PIP, "--no-compile", "--no-deps"]
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as pins:
        pins.write("\n".join(_PIN.findall(SALT_LOCK.read_text())))
        pins.flush()
        offline = ["--no-index", "--find-links", str(wheelhouse(pip))]
        Local().run([*pip, "install", *options, *offline, "--requirement", pins.name])
    print("venv: installing what the tests need", flush=True)
    Local().run([*pip, "install", *options, "--require-hashes", "--requirement", str(DEV_LOCK)])
    Local().run(
        [*pip, "install", *options, "--no-index", "--no-build-isolation", "--editable", str(ROOT)]
    )


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
