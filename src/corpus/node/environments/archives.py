"""The file that an environment is exported to: a tar of two packed volumes and a manifest.

The members, in this order: ``rootfs.tar.zst``, ``srv.tar.zst``, ``manifest.json``. The manifest is
last, so that a file that was cut off has none, and is read first: nothing is unpacked before what
it says was checked. It comes from anybody.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, Final

from corpus.hosts.files import write_all
from corpus.model.errors import InvalidInput
from corpus.node import records
from corpus.node.records import Record
from corpus.node.storage.copies import PARTS
from corpus.node.storage.packing import Packed

FORMAT: Final = 1
MANIFEST: Final = "manifest.json"
_BLOCK: Final = 512
_CHUNK: Final = 1 << 20
_MAX_MANIFEST: Final = 16 << 20
_MAX_SIZE: Final = 1 << 44
_MAX_FILES: Final = 50_000_000
_DIGEST = re.compile(r"[0-9a-f]{64}", re.ASCII)
_IMAGE = re.compile(r"[0-9a-f]{12,64}", re.ASCII)
_MEND = "export the environment again, and bring over all of the file"


@dataclass(frozen=True)
class Part:
    """One packed volume: where its bytes lie in the file, their SHA-256, and what they hold."""

    name: str
    offset: int
    length: int
    digest: str
    packed: Packed


@dataclass(frozen=True)
class Archive:
    """What an exported file says of itself. ``digest`` is that of its manifest, and so of all.

    ``image`` is the digest of the image that the environment was made from; ``frozen``: all of it
    is of one moment.
    """

    path: Path
    digest: str
    made: str
    image: str
    frozen: bool
    record: Record
    parts: tuple[Part, ...]

    @property
    def size(self) -> int:
        """Bytes that all files take when they are unpacked."""
        return sum(part.packed.size for part in self.parts)

    @property
    def files(self) -> int:
        """Members in all."""
        return sum(part.packed.files for part in self.parts)


# -- writing


def header(name: str, size: int) -> bytes:
    """Return the header of a member of the file."""
    member = tarfile.TarInfo(name)
    member.size, member.mode = size, 0o600
    return member.tobuf(tarfile.GNU_FORMAT)


def pad(handle: int, size: int) -> None:
    """Fill up the block that a member of ``size`` bytes ends in."""
    write_all(handle, bytes(-size % _BLOCK))


def close_member(handle: int, name: str, start: int) -> Part:
    """End the member whose header belongs at ``start``; its bytes have been written since.

    The part that is returned holds nothing yet.
    """
    offset, end = start + _BLOCK, os.lseek(handle, 0, os.SEEK_END)
    os.lseek(handle, start, os.SEEK_SET)
    write_all(handle, header(f"{name}.tar.zst", end - offset))
    os.lseek(handle, end, os.SEEK_SET)
    pad(handle, end - offset)
    digest = hashlib.sha256()
    for data in _pieces(handle, offset, end - offset):
        digest.update(data)
    return Part(name, offset, end - offset, digest.hexdigest(), Packed(0, 0, {}))


def write_manifest(handle: int, record: Record, image: str, frozen: bool, parts: list[Part]) -> str:
    """Write the manifest and the end of the file; return the manifest's SHA-256."""
    text = json.dumps(
        {
            "format": FORMAT,
            "made": datetime.now(UTC).isoformat(timespec="seconds"),
            "image": image,
            "frozen": frozen,
            "record": json.loads(records.dump(record)),
            "parts": [_told(part) for part in parts],
        },
        indent=1,
        sort_keys=True,
    ).encode()
    write_all(handle, header(MANIFEST, len(text)))
    write_all(handle, text)
    pad(handle, len(text))
    write_all(handle, bytes(2 * _BLOCK))
    return hashlib.sha256(text).hexdigest()


def _told(part: Part) -> dict[str, Any]:
    found = asdict(part)
    packed = found.pop("packed")
    del found["offset"]
    within = {os.fsdecode(path): read_only for path, read_only in packed["subvolumes"].items()}
    return {**found, **packed, "subvolumes": within}


# -- reading


def read(path: Path) -> Archive:
    """Return what a file says of itself, without unpacking any of it. Raises InvalidInput."""
    try:
        with path.open("rb") as file:
            lengths, text = _members(file, path)
    except (OSError, tarfile.TarError) as error:
        raise InvalidInput(f"not an exported environment: {error}", str(path), _MEND) from None
    try:
        return _parse(path, text, lengths)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise InvalidInput(f"its manifest is damaged: {error}", str(path), _MEND) from None


def _members(file: IO[bytes], path: Path) -> tuple[dict[str, tuple[int, int]], bytes]:
    """Return where each packed volume lies, and the manifest."""
    whole = path.stat().st_size
    found: dict[str, tuple[int, int]] = {}
    at = 0
    for name in (*(f"{part}.tar.zst" for part in PARTS), MANIFEST):
        file.seek(at)
        member = tarfile.TarInfo.frombuf(file.read(_BLOCK), "utf-8", "strict")
        if member.name != name or not member.isreg():
            raise tarfile.TarError(f"{name} is not where it belongs")
        at += _BLOCK
        if not 0 <= member.size <= whole - at:
            raise tarfile.TarError("it ends too early")
        found[name.partition(".")[0]] = (at, member.size)
        at += member.size + -member.size % _BLOCK
    if found["manifest"][1] > _MAX_MANIFEST:
        raise tarfile.TarError("its manifest is too long")
    file.seek(found["manifest"][0])
    return found, file.read(found["manifest"][1])


def _parse(path: Path, text: bytes, lengths: Mapping[str, tuple[int, int]]) -> Archive:
    given = json.loads(text)
    if given["format"] != FORMAT:
        raise ValueError(f"its format is {given['format']!r:.20}, and {FORMAT} is known here")
    if [part["name"] for part in given["parts"]] != list(PARTS):
        raise ValueError("it has other parts than an environment")
    return Archive(
        path=path,
        digest=hashlib.sha256(text).hexdigest(),
        made=str(given["made"])[:40],
        image=_matching(_IMAGE, given["image"]),
        frozen=given["frozen"] is True,
        record=records.of(given["record"]),
        parts=tuple(_part(part, *lengths[part["name"]]) for part in given["parts"]),
    )


def _part(given: Mapping[str, Any], offset: int, length: int) -> Part:
    if given["length"] != length:
        raise ValueError("a volume is longer or shorter than its manifest says")
    subvolumes = {
        os.fsencode(str(place)): read_only is True
        for place, read_only in given["subvolumes"].items()
    }
    packed = Packed(
        _number(given["files"], _MAX_FILES), _number(given["size"], _MAX_SIZE), subvolumes
    )
    return Part(given["name"], offset, length, _matching(_DIGEST, given["digest"]), packed)


def _number(value: object, most: int) -> int:
    if type(value) is not int or not 0 <= value <= most:
        raise ValueError(f"not a number that can be: {value!r:.40}")
    return value


def _matching(pattern: re.Pattern[str], value: object) -> str:
    if not isinstance(value, str) or not pattern.fullmatch(value):
        raise ValueError(f"not what it must be: {value!r:.40}")
    return value


def pieces(archive: Archive, part: Part) -> Iterator[bytes]:
    """Yield the bytes of one packed volume."""
    handle = os.open(archive.path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield from _pieces(handle, part.offset, part.length)
    finally:
        os.close(handle)


def _pieces(handle: int, offset: int, length: int) -> Iterator[bytes]:
    while length:
        data = os.pread(handle, min(length, _CHUNK), offset)
        if not data:
            raise InvalidInput("the file has become shorter", mend=_MEND)
        offset, length = offset + len(data), length - len(data)
        yield data
