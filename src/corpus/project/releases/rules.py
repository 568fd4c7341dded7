"""What may be in a release: asked when one is made, and again, of a hostile one, when unpacked."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from corpus.hosts.members import Unfit

_CONTROL = re.compile(rb"[\x00-\x1f\x7f]")
_PLAIN = re.compile(rb"(?:[^\x00-\x1f\x7f/.][^\x00-\x1f\x7f/]{0,254}/){0,20}"
                    rb"[^\x00-\x1f\x7f/.][^\x00-\x1f\x7f/]{0,254}")  # fmt: skip
_INTERPRETER = re.compile(rb"/usr/bin/python3(?:\.[0-9]{1,3})?")
_LEADING = re.compile(rb"(?:\.\./)*")
_MAX_NAME, _MAX_PATH, _MAX_DEPTH = 255, 3000, 100


@dataclass(frozen=True)
class Rules:
    """The rules for the project whose directory is ``root``."""

    root: Path

    def check_path(self, path: bytes) -> None:
        """Raise Unfit unless ``path`` names something below ``run/``, and plainly so."""
        if len(path) <= _MAX_PATH and _PLAIN.fullmatch(path):
            return  # nearly all are; the rest is for those that are odd, or begin with a dot
        parts = path.split(b"/")
        if _CONTROL.search(path):
            raise Unfit("its name holds a control character")
        if any(part in (b"", b".", b"..") for part in parts):
            raise Unfit("its name leads out of the release, or is not in its plain form")
        if len(path) > _MAX_PATH or len(parts) > _MAX_DEPTH or len(max(parts, key=len)) > _MAX_NAME:
            raise Unfit("its name is too long")

    def check_mode(self, mode: int, *, folder: bool) -> None:
        """Raise Unfit for permissions that lend somebody's rights; a directory may be setgid."""
        if mode & (0o4000 if folder else 0o6000):
            raise Unfit("it is setuid or setgid")

    def check_link(self, path: bytes, target: bytes) -> None:
        """Raise Unfit when the link ``path`` leads out of the project's ``run/`` and ``data/``.

        The system's Python is allowed too: a virtual environment links to it. ``..`` may only
        be at the beginning: behind another link, it would lead to where no text tells.
        """
        if _CONTROL.search(target) or not target or len(target) > _MAX_PATH:
            raise Unfit("it is a link to nothing that has a plain name")
        if _INTERPRETER.fullmatch(target):
            return
        found = self._resolved(path, target)
        own = [os.fsencode(self.root / name) for name in ("run", "data")]
        if not any(found == folder or found.startswith(folder + b"/") for folder in own):
            shown = os.fsdecode(target)
            raise Unfit(f"it is a link out of run/ and data/: {shown!r:.200}")

    def _resolved(self, path: bytes, target: bytes) -> bytes:
        rest = target[len(_LEADING.match(target)[0]) :]  # type: ignore[index]
        above = (len(target) - len(rest)) // 3
        if rest == b"..":
            rest, above = b"", above + 1
        if b".." in rest.split(b"/"):
            raise Unfit("it is a link with .. behind another name")
        if target.startswith(b"/"):
            base: list[bytes] = []
        else:
            base = os.fsencode(self.root / "run").split(b"/")[1:] + path.split(b"/")[:-1]
            base = base[: len(base) - above] if above <= len(base) else []
        plain = [part for part in rest.split(b"/") if part not in (b"", b".")]
        return b"/" + b"/".join([*base, *plain])
