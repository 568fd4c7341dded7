"""Members of an archive becoming files, under rules and limits."""

from __future__ import annotations

import grp
import os
import pwd
from pathlib import Path
from typing import IO, Final, Protocol

from corpus.hosts.files import write_all
from corpus.hosts.members import FILE, FOLDER, HARD_LINK, LINK, Member, Unfit, exactly, padding

_CHUNK: Final = 1 << 20
_MAX_ID: Final = 1 << 31
_NEW: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class Rules(Protocol):
    """What may be in an archive; each raises Unfit."""

    def check_path(self, path: bytes) -> None:
        """Check where a member is to lie."""

    def check_mode(self, mode: int, *, folder: bool) -> None:
        """Check the permissions of a file or a directory."""

    def check_link(self, path: bytes, target: bytes) -> None:
        """Check where the symbolic link ``path`` leads."""


class Limits(Protocol):
    """What an archive holds: so many members, of so many bytes in all."""

    @property
    def files(self) -> int:
        """Members."""

    @property
    def size(self) -> int:
        """Bytes."""


class Tree:
    """A directory that nobody else knows, filled from archives.

    Every member is made new, and only in a directory that was made here before: so none is
    written through a link or over another one.
    """

    def __init__(self, root: Path, rules: Rules, owners: frozenset[bytes]) -> None:
        self._root = os.fsencode(root)
        self._rules = rules
        self._owners = owners
        self._folders: dict[bytes, Member | None] = {b"": None}
        self._files: set[bytes] = set()
        self._size = self._count = 0
        self._part: Limits | None = None
        self._privileged = os.geteuid() == 0

    def begin(self, part: Limits) -> None:
        """Begin an archive, whose sizes are the limits. Hard links do not lead to another one."""
        self._part, self._size, self._count = part, 0, 0
        self._files.clear()

    def add(self, member: Member, stream: IO[bytes]) -> None:
        """Check one member, make it, and read its bytes. Raises Unfit, OSError."""
        assert self._part is not None  # noqa: S101  begin comes first
        self._count += 1
        self._size += member.weight
        if self._count > self._part.files or self._size > self._part.size:
            raise Unfit("the archive holds more than its manifest says")
        try:
            self._make(member, stream)
        except Unfit as error:
            raise Unfit(f"{os.fsdecode(member.path)!r:.300}: {error}") from None

    def end(self) -> None:
        """End an archive. Raises Unfit unless it held what its manifest says."""
        assert self._part is not None  # noqa: S101  begin comes first
        if (self._count, self._size) != (self._part.files, self._part.size):
            raise Unfit("the archive holds less than its manifest says")

    def finish(self) -> None:
        """Give the directories their own permissions and times, the innermost first."""
        for path in reversed(self._folders):
            self._close(path, self._folders[path])

    def _close(self, path: bytes, member: Member | None) -> None:
        """Give a directory that is filled what is its own, where the archive has told that."""
        if member is not None:
            full = self._root + b"/" + path
            self._own(full, member)
            os.chmod(full, member.mode & 0o7777)  # noqa: PTH101
            self._dress(full, member)

    def _is_within(self, folder: bytes) -> bool:
        """Tell whether a directory was made from an archive, or is the root."""
        return folder in self._folders

    def _is_linkable(self, path: bytes) -> bool:
        """Tell whether a hard link may lead to what was made at ``path``."""
        return path in self._files

    def _keep(self, member: Member) -> None:
        """Remember a member that was made, for what comes after it."""
        if member.kind == FOLDER:
            self._folders[member.path] = member
        elif member.kind in (FILE, HARD_LINK):
            self._files.add(member.path)

    def _dress(self, full: bytes, member: Member) -> None:
        """Give a directory what the last change of what is in it would change."""
        os.utime(full, (member.time, member.time))

    def _make(self, member: Member, stream: IO[bytes]) -> None:
        path = member.path
        if member.kind == FOLDER and not path and self._folders[b""] is None:
            self._rules.check_mode(member.mode, folder=True)
            self._folders[b""] = member
            return
        self._rules.check_path(path)
        if not self._is_within(path.rpartition(b"/")[0]):
            raise Unfit("it is not in a directory of the archive")
        full = self._root + b"/" + path
        try:
            if member.kind == FILE:
                self._rules.check_mode(member.mode, folder=False)
                self._write(full, member, stream)
            elif member.kind == FOLDER:
                self._rules.check_mode(member.mode, folder=True)
                self._make_folder(full, path)
            elif member.kind == LINK:
                self._rules.check_link(path, member.target)
                os.symlink(member.target, full)  # noqa: PTH211
                self._own(full, member)
                os.utime(full, (member.time, member.time), follow_symlinks=False)
            elif member.kind == HARD_LINK:
                self._link(full, member)
            else:
                self._make_other(full, member)
        except FileExistsError:
            raise Unfit("it is there twice") from None
        self._keep(member)

    def _make_folder(self, full: bytes, path: bytes) -> None:
        os.mkdir(full, 0o700)  # noqa: PTH102

    def _make_other(self, full: bytes, member: Member) -> None:
        raise Unfit("it is of a kind that no such archive has")

    def _link(self, full: bytes, member: Member) -> None:
        target = member.target.removeprefix(b"./")
        if not self._is_linkable(target):
            raise Unfit("it is a hard link to something that is no file of the archive")
        os.link(self._root + b"/" + target, full, follow_symlinks=False)

    def _write(self, full: bytes, member: Member, stream: IO[bytes]) -> None:
        handle = os.open(full, _NEW, 0o600)
        try:
            left = member.size
            while left > _CHUNK:
                write_all(handle, exactly(stream, _CHUNK))
                left -= _CHUNK
            if left:
                write_all(handle, memoryview(exactly(stream, left + padding(left)))[:left])
            self._own(handle, member)
            os.fchmod(handle, member.mode & 0o7777)
            os.utime(handle, (member.time, member.time))
        finally:
            os.close(handle)

    def _own(self, what: bytes | int, member: Member) -> None:
        """Give it to its owner; without privileges all stays the caller's, as with tar(1)."""
        if not self._privileged:
            return
        uid, gid = member.uid, member.gid
        if member.user in self._owners:
            uid = pwd.getpwnam(member.user.decode()).pw_uid
        if member.group in self._owners:
            gid = grp.getgrnam(member.group.decode()).gr_gid
        if uid >= _MAX_ID or gid >= _MAX_ID:
            raise Unfit("its owner is none")
        if (uid, gid) != (0, 0):
            os.chown(what, uid, gid, follow_symlinks=False) if isinstance(what, bytes) else (
                os.fchown(what, uid, gid)
            )
