"""What runs on a machine that is, or becomes, an environment: looks, and files put or taken away.

The node sends this text to the machine's own Python (3.11, the standard library) and calls one
function: a JSON object on standard input, another one on standard output. What was put there,
and what was there before, is remembered in ``STATE`` and ``FILES``, always before it is done.

A file is described as ``["file", SHA-256, mode]``, ``["link", target]`` or ``["directory", mode]``.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import stat
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

HOME = "/var/lib/corpus-saltify"
STATE = f"{HOME}/state.json"
FILES = f"{HOME}/files.json"
ASIDE = "/var/backups/corpus-saltify"
TREE = "/opt/corpus"
NEW = "/opt/.corpus.new"
OLD = "/opt/.corpus.old"
KEYS = "/root/.ssh/authorized_keys"
LAYERS = f"{HOME}/layers"
RUN_TIME = ("/var/cache/salt", "/var/log/salt", "/run/salt", "/etc/salt/pki")
"""What Salt makes while it runs."""
DATA = ("/etc/corpus",)
"""What projects make outside of their trees: keys, and whom they are paired with."""
SHARED = ("/srv/salt/makina-projects", "/srv/pillar/makina-projects", "/srv/salt", "/srv/pillar",
          "/srv/projects", "/etc/salt/minion.d")  # fmt: skip
"""What others may use too: it goes when nothing is in it."""
Given = dict[str, Any]


def survey(root: Path, given: Given) -> Given:
    """Return what the machine is, what is at the ``places`` that are asked about, what is ours."""
    release = _values(_text(root / "etc/os-release"))
    projects = sorted(path.parent.name for path in (root / "srv/projects").glob("*/.corpus"))
    journals = [name for name in projects if _is(root, f"/srv/projects/{name}/.corpus/journal")]
    known = [*RUN_TIME, *DATA, *SHARED]
    return {
        "system": [release.get("ID", ""), release.get("VERSION_ID", "")],
        "user": os.geteuid(),
        "init": _text(root / "proc/1/comm").strip(),
        "machine": os.uname().machine,
        "python": list(sys.version_info[:2]),
        "name": os.uname().nodename,
        "free": {place: _free(root, place) for place in ("/opt", "/var/lib", "/srv")},
        "srv": _filesystem(root, "/srv"),
        "listening": sorted(_listening(root)),
        "there": sorted(path for path in [*given["places"], *known] if _is(root, path)),
        "strangers": sorted(_strangers(root)),
        "state": _load(root, STATE),
        "files": sorted(path for path in _load(root, FILES) or {} if not path.startswith(TREE)),
        "projects": projects,
        "journals": journals,
        "keys": _text(_at(root, KEYS)).splitlines(),
    }


def compare(root: Path, given: Given) -> Given:
    """Return how the machine differs from ``files``: by path ``absent``, ``changed``, ``foreign``.

    ``at``: where what is for ``TREE`` lies at the moment.
    """
    files, at = given["files"], given.get("at", TREE)
    found = {}
    for path, wanted in files.items():
        place = _at(root, path.replace(TREE, at, 1) if _within(path) else path)
        if not os.path.lexists(place):
            found[path] = "absent"
        elif _describe(place, wanted[0]) != wanted:
            found[path] = "changed"
    found.update(dict.fromkeys(_foreign(root, at, files), "foreign"))
    return {"differs": found}


def remember(root: Path, given: Given) -> Given:
    """Write down what is about to be put there; what was written before stays known.

    Return what others changed of that, or added to the tree.
    """
    old = _load(root, STATE) or {}
    folders = {str(parent) for path in [*given["files"], KEYS] for parent in Path(path).parents}
    made = [path for path in folders if not _is(root, path) and not _within(path)]
    new = given["state"] | {"directories": made, "unfinished": True}
    for name in ("packages", "keys", "directories"):
        new[name] = sorted({*old.get(name, []), *new[name]})
    places = [path for path in [*RUN_TIME, *DATA, *SHARED] if not _is(root, path)]
    new["absent"] = old.get("absent", places)
    # With all that was put there before and may still be: ``settle`` removes and forgets it.
    before = _load(root, FILES) or {}
    theirs = compare(root, {"files": before})["differs"] if before else {}
    files = {**before, **given["files"]}
    _write(_at(root, FILES), json.dumps(files).encode(), 0o600)
    _save(root, new)
    return {"theirs": [path for path, how in theirs.items() if how != "absent"]}


def place(root: Path, given: Given) -> Given:
    """Put ``texts`` (path: text) and ``links`` (path: target) there; what differed is kept."""
    kept = _keep(root, given["kept"])
    for path, text in given["texts"].items():
        _write(_at(root, path), text.encode(), given["modes"][path])
    for path, target in given["links"].items():
        new = _at(root, f"{path}.corpus-new")
        new.parent.mkdir(parents=True, exist_ok=True)
        new.unlink(missing_ok=True)
        new.symlink_to(target)
        new.replace(_at(root, path))
    return {"kept": kept}


def empty(root: Path, _given: Given) -> Given:
    """Have an empty directory to unpack the new tree into."""
    shutil.rmtree(_at(root, NEW), ignore_errors=True)
    _at(root, NEW).mkdir(parents=True)
    return {}


def swap(root: Path, given: Given) -> Given:
    """Put the unpacked tree in the place of the one before; of that, ``kept`` is kept."""
    kept = _keep(root, given["kept"])
    shutil.rmtree(_at(root, OLD), ignore_errors=True)
    os.sync()
    if _is(root, TREE):
        _at(root, TREE).rename(_at(root, OLD))
    _at(root, NEW).rename(_at(root, TREE))
    shutil.rmtree(_at(root, OLD), ignore_errors=True)
    return {"kept": kept}


def settle(root: Path, given: Given) -> Given:
    """Remove what was put there once and is no part of ``files`` any more: the end of a call."""
    for path in (_load(root, FILES) or {}).keys() - given["files"].keys():
        if not _within(path):
            _at(root, path).unlink(missing_ok=True)
    for path in (LAYERS, NEW, OLD):  # also those that a former call has left
        shutil.rmtree(_at(root, path), ignore_errors=True)
    _write(_at(root, FILES), json.dumps(given["files"]).encode(), 0o600)
    _save(root, (_load(root, STATE) or {}) | {"unfinished": False})
    return {}


def authorise(root: Path, given: Given) -> Given:
    """Add the ``keys`` that are not there to those that root logs in with."""
    path = _at(root, KEYS)
    path.parent.mkdir(mode=0o700, exist_ok=True)
    lines = _text(path).splitlines()
    lines += [key for key in given["keys"] if key not in lines]
    _rewrite(path, lines)
    return {}


def clear(root: Path, given: Given) -> Given:
    """Take away what was put there; with ``data`` also what came to be since.

    Changed files are kept aside, with whatever else lies in the tree. Without ``data`` it stays
    remembered what there was before the first time.
    """
    state, files = _load(root, STATE) or {}, _load(root, FILES) or {}
    differs = compare(root, {"files": files})["differs"] if files else {}
    kept = _keep(root, [path for path, how in differs.items() if how != "absent"])
    for path in files:
        if not _within(path):
            _at(root, path).unlink(missing_ok=True)
    for path in (TREE, NEW, OLD, LAYERS) if state else ():
        shutil.rmtree(_at(root, path), ignore_errors=True)
    for path in [*RUN_TIME, *(DATA if given["data"] else ())]:
        if path in state.get("absent", ()):
            shutil.rmtree(_at(root, path), ignore_errors=True)
    _forget_keys(root, state.get("keys", []))
    shared = [path for path in SHARED if path in state.get("absent", ())]
    for path in [*shared, *sorted(state.get("directories", []), key=len, reverse=True)]:
        with suppress(OSError):
            _at(root, path).rmdir()
    _at(root, FILES).unlink(missing_ok=True)
    if given["data"]:
        shutil.rmtree(_at(root, HOME), ignore_errors=True)
    elif state:
        _save(root, state | {"id": "", "packages": [], "keys": [], "unfinished": False})
    return {"kept": kept}


def _forget_keys(root: Path, keys: list[str]) -> None:
    path = _at(root, KEYS)
    lines = _text(path).splitlines()
    left = [line for line in lines if line not in keys]
    if left and left != lines:
        _rewrite(path, left)
    elif lines and not left:
        path.unlink()


def _strangers(root: Path) -> Iterator[str]:
    """Yield what lies where projects do and is none."""
    for path in (root / "srv/projects").glob("*"):
        if not (path / ".corpus").is_dir():
            yield path.name


def _at(root: Path, path: str) -> Path:
    return root / path.lstrip("/")


def _within(path: str) -> bool:
    return path == TREE or path.startswith(f"{TREE}/")


def _is(root: Path, path: str) -> bool:
    return os.path.lexists(_at(root, path))


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""


def _values(text: str) -> dict[str, str]:
    pairs = (line.split("=", 1) for line in text.splitlines() if "=" in line)
    return {name: value.strip('"') for name, value in pairs}


def _load(root: Path, path: str) -> Any:
    """Return what a file of ours holds; nothing where it is not there, or damaged."""
    try:
        found = json.loads(_at(root, path).read_text())
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def _save(root: Path, state: Given) -> None:
    _write(_at(root, STATE), json.dumps(state, indent=2).encode() + b"\n", 0o600)


def _existing(root: Path, path: str) -> Path:
    found = _at(root, path)
    while not found.exists():
        found = found.parent
    return found


def _free(root: Path, path: str) -> int:
    found = os.statvfs(_existing(root, path))
    return found.f_bavail * found.f_frsize


def _filesystem(root: Path, path: str) -> str:
    """Return the type of the filesystem that a path is on (proc_mounts(5))."""
    kind, longest = "", -1
    place = str(_existing(root, path).resolve())
    for line in _text(Path("/proc/self/mounts")).splitlines():
        _, point, this, *_ = line.split()
        inside = place == point or place.startswith(point.rstrip("/") + "/")
        if inside and len(point) >= longest:
            kind, longest = this, len(point)
    return kind


def _listening(root: Path) -> set[int]:
    """Return the TCP ports that something listens at (state 0A)."""
    found = set()
    for name in ("tcp", "tcp6"):
        for line in _text(root / "proc/net" / name).splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A":
                found.add(int(fields[1].rpartition(":")[2], 16))
    return found


def _describe(path: Path, wanted: str) -> list[Any]:
    """Return what is at a path, in the words of ``FILES``."""
    found = path.lstat()
    mode = stat.S_IMODE(found.st_mode)
    if stat.S_ISLNK(found.st_mode):
        return ["link", str(path.readlink())]
    if stat.S_ISDIR(found.st_mode):
        return ["directory", mode]
    if not stat.S_ISREG(found.st_mode) or wanted != "file":
        return ["other"]
    with path.open("rb") as file:
        return ["file", hashlib.file_digest(file, "sha256").hexdigest(), mode]


def _foreign(root: Path, at: str, files: Given) -> Iterator[str]:
    """Yield what lies in the tree and was not put there; Python's own caches do not count."""
    top = _at(root, at)
    for folder, names, inner in os.walk(top):
        names[:] = [name for name in names if name != "__pycache__"]
        for name in [*names, *inner]:
            path = f"{TREE}/{Path(folder, name).relative_to(top)}"
            if path not in files:
                yield path


def _keep(root: Path, paths: list[str]) -> dict[str, str]:
    """Move what was changed by others aside; return where to, by path."""
    kept = {}
    folder = f"{ASIDE}/{time.strftime('%Y%m%dT%H%M%S')}"
    for path in sorted(paths):
        source = _at(root, path)
        if os.path.lexists(source) and not (source.is_dir() and not source.is_symlink()):
            target = _at(root, f"{folder}{path}")
            target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            shutil.move(source, target)
            kept[path] = f"{folder}{path}"
    return kept


def _rewrite(path: Path, lines: list[str]) -> None:
    """Write lines in place of those of before, with the permissions of before."""
    mode = stat.S_IMODE(path.stat().st_mode) if path.exists() else 0o600
    if lines or path.exists():
        _write(path, "".join(f"{line}\n" for line in lines).encode(), mode)


def _write(path: Path, data: bytes, mode: int) -> None:
    """Write a file so that a crash leaves the old or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f".{path.name}.corpus-new")
    new.unlink(missing_ok=True)
    handle = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(data)
        os.fchmod(file.fileno(), mode)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)


FUNCTIONS = (survey, compare, remember, place, empty, swap, settle, authorise, clear)

if __name__ == "__main__":
    os.umask(0o022)
    chosen = next(function for function in FUNCTIONS if function.__name__ == sys.argv[1])
    print(json.dumps(chosen(Path("/"), json.load(sys.stdin))))
