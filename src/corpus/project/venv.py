"""A project's Python virtual environment: made once for its requirements, then kept.

A new environment is built at its final path, since its scripts carry that path, and is copied
into a cache under a key made of all that it depends on. The next deployment with the same key
gets it back by a copy that shares the blocks (reflink) where the filesystem can. A cached
environment appears under its name by one rename, so one that was half copied is never used.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from corpus.hosts.base import Host
from corpus.model.errors import CommandFailed, CorpusError, InvalidInput, NotFound

PYTHON = Path("/usr/bin/python3")
KEPT = 3
"""How many environments a cache holds; those used least recently go first."""

_MARK = ".corpus-key"
# Compiled modules then hold a digest of their source and not its time, which no two builds
# share and no release keeps; it is checked, so that a module changed by hand is compiled anew.
# Sources: py_compile, «SOURCE_DATE_EPOCH»; a wheel is a zip, whose times begin in 1980.
_SAME_BYTES = {"SOURCE_DATE_EPOCH": "315532800", "PYTHONHASHSEED": "0"}
_FORMAT = b"2"  # part of the key: raise it when environments are made in another way
_WHEELS = Path("/usr/share/python-wheels")  # Debian's python3-pip-whl, where ensurepip looks too
_INCLUDED = re.compile(r"(?:-r|--requirement|-c|--constraint)[ =]*(\S+)")
_LOCAL = re.compile(r"-e\b|--editable\b|[./]|file:|[^#]*@\s*file:")


@dataclass(frozen=True)
class Plan:
    """What an environment is to hold. ``cacheable``: nothing in it comes from a local path."""

    target: Path
    requirements: Path
    cache: Path
    python: Path
    key: str
    cacheable: bool = True

    @property
    def cached(self) -> Path:
        """Where the cache keeps this environment."""
        return self.cache / f"venv-{self.key}"

    @property
    def current(self) -> str | None:
        """The key of the environment at the target; None when there is none, or half of one."""
        try:
            return (self.target / _MARK).read_text().strip()
        except (FileNotFoundError, NotADirectoryError):
            return None


def plan(target: Path, requirements: Path, cache: Path, python: Path = PYTHON) -> Plan:
    """Read the requirements and return what is to be done. Nothing is changed.

    The key covers the requirements with the files that they include, the interpreter and the
    target's path. Raises NotFound for a file that is absent, InvalidInput for a relative path.
    """
    for path in (target, requirements, cache, python):
        if not path.is_absolute():
            raise InvalidInput(f"not an absolute path: {path}", mend="begin it with common.paths")
    digest = hashlib.sha256(_FORMAT)
    cacheable = True
    for file in _with_included(requirements):
        text = file.read_bytes()
        digest.update(b"%d\n" % len(text) + text)
        cacheable = cacheable and not _names_local_path(text.decode(errors="replace"))
    for part in (*_identity(python), os.fsencode(target)):
        digest.update(b"\0" + part)
    return Plan(target, requirements, cache, python, digest.hexdigest()[:32], cacheable)


def install(host: Host, wanted: Plan, *, timeout: float | None = None) -> str:
    """Put the environment at its target and return ``present``, ``cached`` or ``built``.

    ``timeout`` bounds each command, in seconds. Raises CorpusError with the end of pip's
    output when the packages cannot be installed; the target is then absent.
    """
    if wanted.cacheable and wanted.current == wanted.key:
        return "present"
    _remove(wanted.target)
    wanted.target.parent.mkdir(parents=True, exist_ok=True)
    if wanted.cacheable and (wanted.cached / _MARK).is_file():
        _copy(host, wanted.cached, wanted.target)
        os.utime(wanted.cached)
        return "cached"
    try:
        _build(host, wanted, timeout)
    except BaseException:
        _remove(wanted.target)
        raise
    if wanted.cacheable:
        _keep(host, wanted)
    return "built"


def prune(cache: Path, kept: int = KEPT) -> list[str]:
    """Remove half-made copies and all but the ``kept`` environments used last; name them."""
    gone = [path for path in cache.glob(".venv-*") if path.is_dir()]
    whole = sorted(cache.glob("venv-*"), key=lambda path: path.stat().st_mtime, reverse=True)
    gone += whole[kept:]
    for path in gone:
        _remove(path)
    return [path.name for path in gone]


def pip_command(python: Path) -> list[str]:
    """Return the beginning of a pip command line that works on the environment of ``python``.

    Debian ships pip as a wheel for ensurepip, and a wheel runs as it is: so no environment
    needs a pip of its own, which takes seconds to install and is copied at every deployment.
    """
    wheels = sorted(_WHEELS.glob("pip-*.whl"))
    return [str(python), str(wheels[-1] / "pip")] if wheels else [str(python), "-m", "pip"]


def _build(host: Host, wanted: Plan, timeout: float | None) -> None:
    python = wanted.target / "bin" / "python"
    pip = pip_command(python)
    bare = [] if pip[1:2] == ["-m"] else ["--without-pip"]
    make = [str(wanted.python), "-m", "venv", *bare, str(wanted.target)]
    options = ["--no-input", "--disable-pip-version-check", "--no-warn-script-location"]
    packages = [*pip, "install", *options, "--requirement", str(wanted.requirements)]
    try:
        host.run(make, timeout=timeout)
        host.run(
            packages,
            timeout=timeout,
            cwd=wanted.requirements.parent,
            env={
                "PIP_CACHE_DIR": str(wanted.cache / "pip"),
                "PIP_ROOT_USER_ACTION": "ignore",
                **_SAME_BYTES,
            },
        )
    except CommandFailed as error:
        raise CorpusError(
            f"the packages could not be installed: {error.what}",
            where=str(wanted.requirements),
            mend="read pip's message above; try the file with pip in an environment of your own",
        ) from error
    (wanted.target / _MARK).write_text(f"{wanted.key}\n")


def _keep(host: Host, wanted: Plan) -> None:
    wanted.cache.mkdir(parents=True, exist_ok=True)
    prune(wanted.cache, KEPT - 1)
    half = wanted.cache / f".venv-{wanted.key}"
    _copy(host, wanted.target, half)
    os.utime(half)
    half.rename(wanted.cached)


def _copy(host: Host, source: Path, target: Path) -> None:
    host.run(["cp", "-a", "--reflink=auto", "--", str(source), str(target)])


def _remove(path: Path) -> None:
    if path.is_symlink() or path.is_file():
        path.unlink()
    elif path.exists():
        shutil.rmtree(path)


def _with_included(requirements: Path) -> list[Path]:
    """Return the file and those that it includes, in order, each once."""
    found: list[Path] = []
    waiting = [requirements]
    while waiting:
        file = waiting.pop(0)
        if file in found:
            continue
        if not file.is_file():
            raise NotFound(
                f"no requirements file: {file}",
                where=str(found[-1]) if found else None,
                mend="is it in the repository, and synced before the environment is made?",
            )
        found.append(file)
        for line in file.read_text(errors="replace").splitlines():
            included = _INCLUDED.match(line.strip())
            if included and "://" not in included[1]:
                waiting.append(file.parent / included[1])
    return found


def _names_local_path(text: str) -> bool:
    return any(_LOCAL.match(line.strip()) for line in text.splitlines())


def _identity(python: Path) -> tuple[bytes, ...]:
    """Return what tells one interpreter from another without starting it."""
    real = python.resolve()
    try:
        state = real.stat()
    except FileNotFoundError:
        raise NotFound(f"no Python at {python}", mend="install python3 and python3-venv") from None
    return os.fsencode(real), b"%d %d" % (state.st_size, state.st_mtime_ns)
