"""The manifest of a release: what was made of what, and the digest of every archive of it.

Its text is canonical: one manifest, one sequence of bytes, which is what is signed. It comes
from another environment, so ``parse`` takes nothing on trust.
"""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass, field
from typing import Any, Final, NoReturn

from corpus.model.deployment import DeploymentId
from corpus.model.errors import InvalidInput
from corpus.model.names import project_name

FORMAT: Final = 1
MAIN: Final = "main"
"""The part that holds all that no other part claims; it is unpacked first."""
MAX_TEXT: Final = 64 << 10
MAX_PARTS: Final = 16
MAX_SIZE: Final = 1 << 44
MAX_FILES: Final = 5_000_000

_PART = re.compile(r"[a-z0-9][a-z0-9-]{0,30}", re.ASCII)
_DIGEST = re.compile(r"[0-9a-f]{64}", re.ASCII)
_COMMIT = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?", re.ASCII)
_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}", re.ASCII)
_TIMES = 1 << 36  # seconds: some two thousand years


@dataclass(frozen=True)
class Part:
    """One archive of a release.

    ``archive_size`` and ``size`` are bytes, of the archive and of the files in it;
    ``files`` counts its members: files, directories and links.
    """

    name: str
    archive: str
    sha256: str
    archive_size: int
    size: int
    files: int


@dataclass(frozen=True)
class Manifest:
    """What a release is. Times are Unix seconds; ``time`` is that of the commit.

    ``base`` must be the same where the release runs; ``image`` is told for information.
    ``signer`` is the id of the environment whose key signed the manifest.
    """

    project: str
    deployment: DeploymentId
    commit: str
    pillar_commit: str
    time: int
    made_at: int
    by: str
    architecture: str
    base: str
    image: str
    recipe: str
    signer: str
    parts: tuple[Part, ...]
    format: int = field(default=FORMAT)

    @property
    def size(self) -> int:
        """Bytes of all files, unpacked."""
        return sum(part.size for part in self.parts)

    @property
    def files(self) -> int:
        """Files, directories and links of all parts."""
        return sum(part.files for part in self.parts)

    @property
    def archive_size(self) -> int:
        """Bytes of all archives."""
        return sum(part.archive_size for part in self.parts)

    def as_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return {
            **asdict(self),
            "deployment": str(self.deployment),
            "parts": [asdict(part) for part in self.parts],
        }

    def to_bytes(self) -> bytes:
        """Return the canonical text, which is what is written and signed."""
        return (json.dumps(self.as_dict(), indent=2, sort_keys=True) + "\n").encode("ascii")


def stem(project: str, deployment: DeploymentId) -> str:
    """Return what the names of all files of one release begin with."""
    return f"{project}-{deployment}"


def archive_name(project: str, deployment: DeploymentId, part: str = MAIN) -> str:
    """Return the file name of one part's archive."""
    middle = "" if part == MAIN else f".{part}"
    return f"{stem(project, deployment)}{middle}.tar.zst"


def part_name(name: object) -> str:
    """Return ``name`` when a part may bear it. Raises InvalidInput."""
    if not isinstance(name, str) or not _PART.fullmatch(name):
        raise InvalidInput(
            f"not the name of a part: {ascii(name)[:60]}",
            mend="use up to 31 lower-case letters, digits and hyphens, no hyphen first",
        )
    return name


def parse(data: bytes) -> Manifest:
    """Return the manifest whose canonical text is ``data``. Raises InvalidInput.

    Anything but what ``to_bytes`` writes is refused: a surplus key, another order, a size
    beyond the limits, an archive's name that is not the one that follows from the ids.
    """
    if len(data) > MAX_TEXT:
        _refuse(f"it is longer than {MAX_TEXT} bytes")
    try:
        found = json.loads(data.decode("ascii"))
    except (ValueError, RecursionError):
        _refuse("it is not JSON in ASCII")
    manifest = _manifest(_mapping(found, set(Manifest.__dataclass_fields__), "the manifest"))
    if manifest.to_bytes() != data:
        _refuse("it is not written in its canonical form")
    return manifest


def _manifest(found: dict[str, Any]) -> Manifest:
    if found["format"] != FORMAT or found["format"] is True:
        _refuse(f"format {ascii(found['format'])[:20]} is not one that this version knows")
    project = project_name(found["project"])
    deployment = DeploymentId.parse(_text(found, "deployment"))
    return Manifest(
        project=project,
        deployment=deployment,
        commit=_like(_COMMIT, found, "commit"),
        pillar_commit=_like(_COMMIT, found, "pillar_commit", empty=True),
        time=_number(found, "time", _TIMES),
        made_at=_number(found, "made_at", _TIMES),
        by=_text(found, "by"),
        architecture=_like(_WORD, found, "architecture"),
        base=_text(found, "base"),
        image=_text(found, "image"),
        recipe=_text(found, "recipe"),
        signer=_like(_WORD, found, "signer"),
        parts=_parts(found["parts"], project, deployment),
    )


def _parts(found: object, project: str, deployment: DeploymentId) -> tuple[Part, ...]:
    if not isinstance(found, list) or not 0 < len(found) <= MAX_PARTS:
        _refuse(f"it has no list of 1 to {MAX_PARTS} parts")
    parts = []
    for given in found:
        entry = _mapping(given, set(Part.__dataclass_fields__), "a part")
        name = part_name(entry["name"])
        if entry["archive"] != archive_name(project, deployment, name):
            _refuse(f"the archive of part {name} has a foreign name")
        parts.append(
            Part(
                name=name,
                archive=entry["archive"],
                sha256=_like(_DIGEST, entry, "sha256"),
                archive_size=_number(entry, "archive_size", MAX_SIZE),
                size=_number(entry, "size", MAX_SIZE),
                files=_number(entry, "files", MAX_FILES),
            )
        )
    names = [part.name for part in parts]
    if names != [MAIN, *sorted(set(names) - {MAIN})]:
        _refuse("its parts are not main first, then the others by name, each once")
    return tuple(parts)


def _mapping(found: object, keys: set[str], what: str) -> dict[str, Any]:
    if not isinstance(found, dict) or set(found) != keys:
        _refuse(f"{what} does not have the keys {', '.join(sorted(keys))}, and only them")
    return found


def _text(found: dict[str, Any], key: str) -> str:
    value = found[key]
    if not isinstance(value, str) or len(value) > 200 or not value.isprintable():
        _refuse(f"{key} is not a printable text of up to 200 characters")
    return value


def _like(pattern: re.Pattern[str], found: dict[str, Any], key: str, *, empty: bool = False) -> str:
    value = _text(found, key)
    if not pattern.fullmatch(value) and not (empty and not value):
        _refuse(f"{key} is malformed")
    return value


def _number(found: dict[str, Any], key: str, limit: int) -> int:
    value = found[key]
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= limit:
        _refuse(f"{key} is not a number from 0 to {limit}")
    return value


def _refuse(why: str) -> NoReturn:
    raise InvalidInput(f"the manifest of a release is not acceptable: {why}")
