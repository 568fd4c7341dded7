"""System files of images, and what is set up beside them: units, links, permissions.

A wheel cannot carry links, empty directories or permissions, so ``files/<name>.setup`` says
them, one a line, in the words of `VERBS`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from corpus.model.errors import InvalidInput

VERBS = {
    "enable": ("UNIT",),
    "mask": ("UNIT",),
    "link": ("PATH", "TARGET"),
    "directory": ("PATH", "MODE"),
    "mode": ("PATH", "MODE"),
}


@dataclass(frozen=True)
class Directive:
    """One line: a verb of `VERBS` and its arguments."""

    verb: str
    arguments: tuple[str, ...]


def parse(text: str, where: str = "setup") -> list[Directive]:
    """Return the directives; ``#`` begins a comment. Raises InvalidInput with the line."""
    found = []
    for number, raw in enumerate(text.splitlines(), 1):
        words = raw.split("#", 1)[0].split()
        if not words:
            continue
        verb, *arguments = words
        if len(arguments) != len(VERBS.get(verb, (None,) * 99)):
            forms = "; ".join(" ".join((name, *VERBS[name])) for name in VERBS)
            raise InvalidInput(f"not a directive: {raw.strip()}", f"{where}:{number}", forms)
        if verb not in {"enable", "mask"} and not arguments[0].startswith("/"):
            raise InvalidInput(f"not an absolute path: {arguments[0]}", f"{where}:{number}")
        found.append(Directive(verb, tuple(arguments)))
    return found


def read(name: str, folder: Path) -> list[Directive]:
    """Return the directives of ``<folder>/<name>.setup``; none where there is no such file."""
    path = folder / f"{name}.setup"
    return parse(path.read_text(), str(path)) if path.exists() else []


def files(name: str, folder: Path) -> dict[str, Path]:
    """Return the system files of ``<folder>/<name>/``: path in the image, file here."""
    root = folder / name
    return {
        f"/{path.relative_to(root)}": path
        for path in sorted(root.rglob("*"))
        if path.is_file() and "__pycache__" not in path.parts
    }


def mode_of(path: str, data: bytes) -> int:
    """Return the permissions of a system file: what is a program may be run."""
    program = data.startswith(b"#!") or "/bin/" in path or "/sbin/" in path
    return 0o755 if program else 0o644


def commands(directives: Sequence[Directive]) -> list[list[str]]:
    """Return the systemctl commands of the directives about units, for the inside."""
    found = []
    for verb in ("enable", "mask"):
        units = [item.arguments[0] for item in directives if item.verb == verb]
        if units:
            found.append(["systemctl", "--quiet", verb, *units])
    return found


def apply(directives: Sequence[Directive], root: Path) -> None:
    """Make the links, directories and permissions of the directives below ``root``."""
    for item in directives:
        path = root / item.arguments[0].lstrip("/")
        if item.verb == "link":
            path.parent.mkdir(parents=True, exist_ok=True)
            path.unlink(missing_ok=True)
            path.symlink_to(item.arguments[1])
        elif item.verb == "directory":
            path.mkdir(parents=True, exist_ok=True)
            path.chmod(int(item.arguments[1], 8))
        elif item.verb == "mode":
            path.chmod(int(item.arguments[1], 8))
