"""Reading a tar archive, member by member, and strictly.

Only what we write ourselves is understood: POSIX headers of the kinds of members, with the
extended records, that a `Dialect` has. All else ends the reading: what no part of this code
knows cannot surprise it. Source: POSIX.1-2017, pax(1), ustar and pax formats; tar(1) of GNU,
«Storing Sparse Files», PAX format 1.0.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import IO, Final, NamedTuple

BLOCK: Final = 512
_ZERO = bytes(BLOCK)
_MAX_PADDING = 1 << 20
_NUMBERS_OF_A_HEADER = re.compile(  # mode, owner, group, size, time, checksum
    rb"([0-7]{7})\0([0-7]{7})\0([0-7]{7})\0([0-7]{11})\0([0-7]{11})\0([0-7]{6})\0 "
)
_RECORD = re.compile(rb"([1-9][0-9]{0,5}) ([A-Za-z][^=\n]{0,300})=")
_NUMBER = re.compile(rb"[0-9]{1,18}", re.ASCII)
_TIME = re.compile(rb"(-?[0-9]{1,12})(?:\.([0-9]{1,9})[0-9]*)?", re.ASCII)
_TEXTS = (b"path", b"linkpath", b"uname", b"gname")
_NUMBERS = (b"size", b"uid", b"gid")
_SPARSE = b"GNU.sparse."
_ATTRIBUTE = b"SCHILY.xattr."
_NONE: Mapping[bytes, bytes] = MappingProxyType({})

FILE, HARD_LINK, LINK, DEVICE, FOLDER, FIFO = b"0", b"1", b"2", b"3", b"5", b"6"


class Unfit(ValueError):
    """A member may not be in an archive, or what is read is none; the text says why."""


@dataclass(frozen=True)
class Dialect:
    """What an archive may have. ``attributes``: extended ones, by what their names begin with.

    ``whole``: everything a file system tells of a file: fractions of seconds, holes, and
    character devices 0/0, as which an overlay marks a name that is gone. ``longest``: bytes of
    the extended records of one member.
    """

    kinds: tuple[bytes, ...]
    attributes: tuple[bytes, ...] = ()
    whole: bool = False
    longest: int = 64 << 10


RELEASE = Dialect((FILE, HARD_LINK, LINK, FOLDER))


class Member(NamedTuple):
    """One member: ``kind`` is one of those above, ``size`` the bytes that follow it.

    ``length``: of the file, where that is sparse and its map precedes its bytes; else None.
    """

    path: bytes
    kind: bytes
    target: bytes
    mode: int
    uid: int
    gid: int
    user: bytes
    group: bytes
    size: int
    time: int
    nanoseconds: int = 0
    length: int | None = None
    attributes: Mapping[bytes, bytes] = _NONE

    @property
    def weight(self) -> int:
        """Bytes that it takes: those of its content and of its attributes, which may be more."""
        return self.size + sum(len(name) + len(value) for name, value in self.attributes.items())


def members(stream: IO[bytes], dialect: Dialect = RELEASE) -> Iterator[Member]:
    """Yield the members of ``stream``; after each, the caller reads its bytes and padding.

    Raises Unfit for what is not understood, and for an archive that ends too early.
    """
    extended: dict[bytes, bytes] = {}
    while (header := exactly(stream, BLOCK)) != _ZERO:
        numbers = _numbers(header)
        kind = header[156:157]
        if kind == b"x":
            if extended:
                raise Unfit("two extended headers in a row")
            extended = _extended(stream, numbers[3], dialect)
            continue
        if kind not in dialect.kinds:
            raise Unfit(f"a member of a kind that no such archive has: {kind!r}")
        if kind == DEVICE and header[329:345] != b"0000000\0" * 2:
            raise Unfit("a device")
        yield _member(header, numbers, kind, extended)
        extended = {}
    if extended:
        raise Unfit("an extended header of nothing")
    _end(stream)


def padding(size: int) -> int:
    """Return how many bytes follow the ``size`` bytes of a file to the next header."""
    return -size % BLOCK


def exactly(stream: IO[bytes], size: int) -> bytes:
    """Return the next ``size`` bytes. Raises Unfit when there are fewer."""
    data = stream.read(size)
    if len(data) != size:
        raise Unfit("the archive ends too early")
    return data


def _end(stream: IO[bytes]) -> None:
    """Read to the end, where nothing but zeros may be."""
    rest = stream.read(_MAX_PADDING + 1)
    if len(rest) > _MAX_PADDING or rest.strip(b"\0"):
        raise Unfit("something follows the end of the archive")


def _numbers(header: bytes) -> list[int]:
    """Return mode, owner, group, size and time of a header that is sound."""
    found = _NUMBERS_OF_A_HEADER.fullmatch(header, 100, 156)
    if not found or header[257:265] != b"ustar\00000":
        raise Unfit("a header that is not POSIX's")
    *numbers, told = [int(digits, 8) for digits in found.groups()]
    if told != sum(header) - sum(header[148:156]) + 8 * ord(" "):
        raise Unfit("a header whose checksum is wrong")
    return numbers


def _member(header: bytes, numbers: list[int], kind: bytes, extended: dict[bytes, bytes]) -> Member:
    mode, uid, gid, size, time = numbers
    path, target = _text(header, 0, 100), _text(header, 157, 100)
    if prefix := _text(header, 345, 155):
        path = prefix + b"/" + path
    user, group = _text(header, 265, 32), _text(header, 297, 32)
    if extended:
        path, target = extended.get(b"path", path), extended.get(b"linkpath", target)
        user, group = extended.get(b"uname", user), extended.get(b"gname", group)
        uid, gid = int(extended.get(b"uid", uid)), int(extended.get(b"gid", gid))
        size = int(extended.get(b"size", size))
    if size and kind != FILE:
        raise Unfit("a member that is no file and has bytes")
    if not extended:
        return Member(_plain(path, kind), kind, target, mode, uid, gid, user, group, size, time)
    length, nanoseconds = None, 0
    if sparse := extended.get(_SPARSE + b"realsize"):
        path, length = extended.get(_SPARSE + b"name", path), int(sparse)
    if told := extended.get(b"mtime"):
        time, nanoseconds = _time(told)
    attributes = {
        key.removeprefix(_ATTRIBUTE).replace(b"%3D", b"=").replace(b"%25", b"%"): value
        for key, value in extended.items()
        if key.startswith(_ATTRIBUTE)
    }
    return Member(
        _plain(path, kind), kind, target, mode, uid, gid, user, group, size, time,
        nanoseconds, length, attributes,
    )  # fmt: skip


def _time(told: bytes) -> tuple[int, int]:
    """Return seconds and nanoseconds, which are added to them."""
    found = _TIME.fullmatch(told)
    if not found:
        raise Unfit("a time that is none")
    seconds, part = int(found[1]), int((found[2] or b"").ljust(9, b"0"))
    return (seconds - 1, 10**9 - part) if part and found[1].startswith(b"-") else (seconds, part)


def _plain(path: bytes, kind: bytes) -> bytes:
    """Return a path without the ``./`` that it must begin with; that of the root is empty."""
    if not path.startswith(b"./"):
        raise Unfit("a member whose name does not begin with ./")
    return path[2:].removesuffix(b"/") if kind == FOLDER else path[2:]


def _text(header: bytes, at: int, width: int) -> bytes:
    return header[at : at + width].partition(b"\0")[0]


def _extended(stream: IO[bytes], size: int, dialect: Dialect) -> dict[bytes, bytes]:
    """Return the records of an extended header."""
    if size > dialect.longest:
        raise Unfit("an extended header that is too long")
    data = exactly(stream, size + padding(size))[:size]
    found: dict[bytes, bytes] = {}
    at = 0
    while at < size:
        head = _RECORD.match(data, at)
        end = at + int(head[1]) if head else 0
        if not head or not head.end() < end <= size or data[end - 1 : end] != b"\n":
            raise Unfit("a malformed extended header")
        key, value = head[2], data[head.end() : end - 1]
        if not _known(key, value, dialect) or key in found:
            raise Unfit(f"an extended header that no such archive has: {key[:40]!r}")
        found[key] = value
        at = end
    return found


def _known(key: bytes, value: bytes, dialect: Dialect) -> bool:
    if key in _TEXTS:
        return True
    if key in _NUMBERS:
        return bool(_NUMBER.fullmatch(value))
    if key.startswith(_ATTRIBUTE):
        return key.removeprefix(_ATTRIBUTE).startswith(dialect.attributes or (b"\0",))
    if not dialect.whole:
        return False
    if key == _SPARSE + b"realsize":
        return bool(_NUMBER.fullmatch(value))
    versions = {_SPARSE + b"major": b"1", _SPARSE + b"minor": b"0"}
    return versions.get(key) == value or key in (b"mtime", _SPARSE + b"name")
