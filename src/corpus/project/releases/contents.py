"""What a release will hold: one walk over the directory that reads no file."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from corpus.hosts.members import Unfit
from corpus.model.errors import ReleaseRefused
from corpus.model.manifest import MAIN
from corpus.project.releases.rules import Rules

_MEND = "change what the build leaves in run/; docs/reference/release.md has the rules"


@dataclass
class Contents:
    """The members of one archive in order, the bytes of its files, and how many members."""

    names: list[bytes] = field(default_factory=list)
    size: int = 0
    _seen: set[tuple[int, int]] = field(default_factory=set)

    @property
    def files(self) -> int:
        """How many members the archive will have."""
        return len(self.names)

    def add(self, path: bytes, found: os.stat_result) -> None:
        """Take in a member; a file of several names counts once, as in the archive."""
        self.names.append(b"./" + path)
        if stat.S_ISREG(found.st_mode):
            if found.st_nlink > 1:
                number = (found.st_dev, found.st_ino)
                if number in self._seen:
                    return
                self._seen.add(number)
            self.size += found.st_size


def survey(source: Path, parts: Mapping[str, Sequence[str]], rules: Rules) -> dict[str, Contents]:
    """Return what each part is to hold; ``main`` is the first, and holds the rest.

    ``parts`` are path prefixes relative to ``source``, none within another one. A part that
    nothing belongs to is empty. Raises ReleaseRefused for what may not be in a release.
    """
    found = {MAIN: Contents()} | {name: Contents() for name in sorted(parts)}
    owners = {
        os.fsencode(prefix.rstrip("/")): name for name, given in parts.items() for prefix in given
    }
    found[MAIN].add(b"", source.lstat())
    for path, state, part in _walk(os.fsencode(source), b"", owners, MAIN):
        try:
            _check(path, state, source, rules)
        except Unfit as error:
            shown = os.fsdecode(path)
            raise ReleaseRefused(
                f"no release can be made: {error}", where=f"run/ {shown!r:.300}", mend=_MEND
            ) from None
        found[part].add(path, state)
    return found


def _walk(
    root: bytes, below: bytes, owners: Mapping[bytes, str], part: str
) -> Iterator[tuple[bytes, os.stat_result, str]]:
    """Yield path, state and part of each entry, a directory before what is in it, by name."""
    with os.scandir(root + b"/" + below) as entries:
        ordered = sorted(entries, key=lambda entry: entry.name)
    for entry in ordered:
        path = below + entry.name
        state = entry.stat(follow_symlinks=False)
        belongs = owners.get(path, part) if owners else part
        yield path, state, belongs
        if stat.S_ISDIR(state.st_mode):
            yield from _walk(root, path + b"/", owners, belongs)


def _check(path: bytes, state: os.stat_result, source: Path, rules: Rules) -> None:
    rules.check_path(path)
    kind = stat.S_IFMT(state.st_mode)
    if kind == stat.S_IFLNK:
        rules.check_link(path, os.readlink(os.path.join(os.fsencode(source), path)))  # noqa: PTH115, PTH118
    elif kind in (stat.S_IFREG, stat.S_IFDIR):
        rules.check_mode(state.st_mode, folder=kind == stat.S_IFDIR)
    else:
        raise Unfit("it is a device, a pipe or a socket")
