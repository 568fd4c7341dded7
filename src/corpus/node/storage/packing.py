"""A volume as a stream, and back: tar and zstd, which every kind of storage can take.

Both ways go through the strict reader of ``corpus.hosts.members``: what is written is known to
be readable, and what is read may come from anybody.
"""

from __future__ import annotations

import errno
import os
import stat
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final, cast

from corpus.commands import copying
from corpus.hosts import beneath, nested, pipeline, subvolumes
from corpus.hosts.extracting import Tree
from corpus.hosts.files import write_all
from corpus.hosts.members import (
    DEVICE,
    FIFO,
    FILE,
    FOLDER,
    HARD_LINK,
    LINK,
    Dialect,
    Member,
    Unfit,
    exactly,
    members,
    padding,
)  # fmt: skip
from corpus.model.errors import Unsupported

ATTRIBUTES: Final = (
    b"user.", b"trusted.", b"security.capability", b"system.posix_acl_", b"btrfs.",
)  # fmt: skip
DIALECT: Final = Dialect(
    (FILE, HARD_LINK, LINK, DEVICE, FOLDER, FIFO), ATTRIBUTES, whole=True, longest=1 << 20
)
SECONDS: Final = 6 * 3600  # the longest that one volume may take
_CHUNK: Final = 1 << 20
_MAX_ID: Final = 65536  # an environment has that many ids
_LONGEST_PATH: Final = 4000
_NEW: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_MOST_PARTS: Final = 8 << 20  # of a sparse file: its map is held in memory, 16 bytes for each
_DIGITS: Final = 18
_MAP_LINE: Final = 24  # bytes of a number in the map of a sparse file, at the most

Tell = Callable[[int], None]
"""Called now and then with how many bytes have passed."""


@dataclass(frozen=True)
class Packed:
    """What a stream holds: members, the bytes of its files and of what else files have (extended
    attributes), and the subvolumes within the volume, each with whether it is read-only."""

    files: int
    size: int
    subvolumes: Mapping[bytes, bool]


class _Through:
    """A stream whose bytes go on to a descriptor as they are read."""

    def __init__(self, stream: IO[bytes], target: int) -> None:
        self._stream, self._target = stream, target

    def read(self, size: int) -> bytes:
        data = self._stream.read(size)
        write_all(self._target, data)
        return data


def pack(volume: Path, target: int, tell: Tell) -> Packed:
    """Write a volume, which nobody changes meanwhile, to the descriptor ``target``.

    Raises Unfit for what no archive may hold, CommandFailed, OSError.
    """
    within = nested.everything(volume) if subvolumes.is_subvolume(volume) else {}
    reading, writing = pipeline.pipe()
    try:
        with (
            pipeline.into([copying.compress()], reading, target, timeout=SECONDS),
            _closed(writing),
            _tar(volume) as stream,
        ):
            os.close(reading)
            reading = -1
            files, size = _survey(cast("IO[bytes]", _Through(stream, writing)), tell)
    finally:
        if reading >= 0:
            os.close(reading)
    return Packed(files, size, within)


@contextmanager
def _tar(volume: Path) -> Iterator[IO[bytes]]:
    nothing = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    try:
        with pipeline.output_of([copying.whole(volume)], nothing, timeout=SECONDS) as stream:
            yield stream
    finally:
        os.close(nothing)


@contextmanager
def _closed(handle: int) -> Iterator[None]:
    try:
        yield
    finally:
        os.close(handle)


def _survey(stream: IO[bytes], tell: Tell) -> tuple[int, int]:
    files = size = 0
    for member in members(stream, DIALECT):
        files, size = files + 1, size + member.weight
        left = member.size + padding(member.size)
        while left:
            left -= len(exactly(stream, min(left, _CHUNK)))
            tell(size - left)
    return files, size


def unpack(
    pieces: Iterable[bytes],
    volume: Path,
    what: Packed,
    tell: Tell,
    apart: Mapping[bytes, str] = nested.NONE,
) -> str:
    """Fill the empty ``volume`` from a stream that is to hold ``what``; return its SHA-256.

    ``apart``: the quota groups of some subvolumes, by paths. The volume is nobody's yet:
    whatever is refused is refused by removing it. Raises Unfit, CommandFailed, OSError.
    """
    tree = Volume(volume, what.subvolumes, apart)
    done = 0
    with (
        pipeline.fed(pieces) as (source, digest),
        pipeline.output_of([copying.decompress()], source, timeout=SECONDS) as stream,
    ):
        tree.begin(what)
        for member in members(stream, DIALECT):
            tree.add(member, stream)
            done += member.weight
            tell(done)
        tree.end()
        found = digest()
    tree.finish()
    return found


class _Anything:
    """The rules for a system's tree: names that are names, and links to wherever."""

    def check_path(self, path: bytes) -> None:
        parts = path.split(b"/")
        if any(part in (b"", b".", b"..") or len(part) > 255 for part in parts):
            raise Unfit("its name leads out of the volume, or is not in its plain form")
        if b"\0" in path or len(path) > _LONGEST_PATH:
            raise Unfit("its name is too long")

    def check_mode(self, mode: int, *, folder: bool) -> None:
        if mode & ~0o7777:
            raise Unfit("it has permissions that there are not")

    def check_link(self, path: bytes, target: bytes) -> None:
        if not target or b"\0" in target or len(target) > 4095:
            raise Unfit("it is a link to nothing")


class Volume(Tree):
    """A volume that is filled: directories may be subvolumes, files have all that files can have.

    Where the storage has no subvolumes, they become directories. An archive may have many
    millions of members: what is remembered of them does not grow with their number. A directory
    is filled at a stretch, as tar(1) writes it; what was made before is looked up where it lies.
    """

    def __init__(
        self, root: Path, within: Mapping[bytes, bool], apart: Mapping[bytes, str] = nested.NONE
    ) -> None:
        super().__init__(root, _Anything(), frozenset())
        self._within = within
        self._apart = apart
        self._made: set[bytes] = set()  # those of ``within``

    def finish(self) -> None:
        """Give directories what is theirs; read-only subvolumes take nothing any more then."""
        super().finish()
        for path in sorted(self._made, key=len, reverse=True):
            shown = Path(os.fsdecode(self._root + b"/" + path))
            if self._within[path] and subvolumes.is_subvolume(shown):
                subvolumes.set_read_only(shown, True)

    def _is_within(self, folder: bytes) -> bool:
        """Tell whether that is a directory which is being filled; those within it are filled."""
        if folder not in self._folders:
            return False
        while (last := next(reversed(self._folders))) != folder:
            self._close(last, self._folders.pop(last))
        return True

    def _is_linkable(self, path: bytes) -> bool:
        self._rules.check_path(path)
        place, _, name = path.rpartition(b"/")
        try:
            with beneath.opened(self._root) as root, beneath.opened(place, root) as folder:
                found = os.stat(name, dir_fd=folder, follow_symlinks=False)
        except OSError:
            return False
        return not stat.S_ISDIR(found.st_mode)  # a link can have two names as well

    def _keep(self, member: Member) -> None:
        if member.kind == FOLDER:
            self._folders[member.path] = member
            if member.path in self._within:
                self._made.add(member.path)

    def _make_folder(self, full: bytes, path: bytes) -> None:
        if path not in self._within:
            super()._make_folder(full, path)
            return
        if path in self._apart:
            place, _, name = full.rpartition(b"/")
            with beneath.opened(place) as folder:
                subvolumes.create_in(folder, os.fsdecode(name), self._apart[path])
            return
        try:
            subvolumes.create(Path(os.fsdecode(full)))
        except Unsupported:
            super()._make_folder(full, path)

    def _make_other(self, full: bytes, member: Member) -> None:
        kind = stat.S_IFIFO if member.kind == FIFO else stat.S_IFCHR
        os.mknod(full, kind | 0o600, os.makedev(0, 0))  # members lets no other device pass
        self._own(full, member)
        os.chmod(full, member.mode & 0o7777)  # noqa: PTH101
        os.utime(full, ns=_times(member), follow_symlinks=False)

    def _make(self, member: Member, stream: IO[bytes]) -> None:
        super()._make(member, stream)
        full = self._root + b"/" + member.path
        if member.kind == LINK:
            os.utime(full, ns=_times(member), follow_symlinks=False)
        if member.kind in (LINK, FIFO, DEVICE):
            self._attribute(full, member)

    def _write(self, full: bytes, member: Member, stream: IO[bytes]) -> None:
        handle = os.open(full, _NEW, 0o600)
        try:
            holes = [(0, member.size)] if member.length is None else None
            _copy(handle, stream, member.size, holes, member.length)
            self._own(handle, member)
            os.fchmod(handle, member.mode & 0o7777)
            self._attribute(handle, member)
            os.utime(handle, ns=_times(member))
        finally:
            os.close(handle)

    def _own(self, what: bytes | int, member: Member) -> None:
        if member.uid >= _MAX_ID or member.gid >= _MAX_ID:
            raise Unfit("its owner is none of an environment's")
        super()._own(what, member)

    def _attribute(self, what: bytes | int, member: Member) -> None:
        for name, value in member.attributes.items():
            try:
                if isinstance(what, int):
                    os.setxattr(what, name, value)
                else:
                    os.setxattr(what, name, value, follow_symlinks=False)
            except OSError as error:
                # One that another file system kept may be none here; without it files are whole.
                if error.errno not in (errno.EOPNOTSUPP, errno.EPERM):
                    raise

    def _dress(self, full: bytes, member: Member) -> None:
        self._attribute(full, member)
        os.utime(full, ns=_times(member))


def _times(member: Member) -> tuple[int, int]:
    when = member.time * 10**9 + member.nanoseconds
    return when, when


def _copy(
    handle: int,
    stream: IO[bytes],
    size: int,
    parts: Iterable[tuple[int, int]] | None,
    length: int | None,
) -> None:
    """Write a file's bytes from the stream; a sparse one's begin with a map of its parts."""
    left = size
    if parts is None:
        parts, used = _map(stream, size)
        left -= used
    end = 0
    for offset, count in parts:
        if offset < end or count > left or (length is not None and offset + count > length):
            raise Unfit("a sparse file with a map that is wrong")
        end, left = offset + count, left - count
        os.lseek(handle, offset, os.SEEK_SET)
        while count:
            data = exactly(stream, min(count, _CHUNK))
            write_all(handle, data)
            count -= len(data)
    if left:
        raise Unfit("a sparse file with a map that is wrong")
    exactly(stream, padding(size))
    if length is not None:
        os.ftruncate(handle, length)


def _map(stream: IO[bytes], size: int) -> tuple[Iterable[tuple[int, int]], int]:
    """Return offset and length of each part of a sparse file, and the bytes that tell them."""
    data, used = b"", 0

    def number() -> int:
        nonlocal data, used
        while b"\n" not in data[:_MAP_LINE]:
            if len(data) > _MAP_LINE or used + 512 > size:
                raise Unfit("a sparse file with a map that is wrong")
            data += exactly(stream, 512)
            used += 512
        text, _, data = data.partition(b"\n")
        if not text.isdigit() or len(text) > _DIGITS:
            raise Unfit("a sparse file with a map that is wrong")
        return int(text)

    count = number()
    if count > _MOST_PARTS:
        raise Unfit("a sparse file of more parts than are taken")
    found = array("Q", (number() for _ in range(2 * count)))
    each = iter(found)
    return zip(each, each, strict=True), used
