"""Directories of a developer's that are project directories of his environment.

Only the node's admin gives one, and only to an environment of type ``dev``. By an idmapped
mount the developer's files are the project's account's inside, and what that account makes is
the developer's outside; what root and others of the environment make has ids outside that no
account of the node has. Whatever else lies there belongs to nobody inside.
"""

from __future__ import annotations

import pwd
from collections.abc import Mapping
from pathlib import Path

from corpus.hosts import beneath, idmap
from corpus.hosts.idmap import Range
from corpus.model.errors import InvalidInput
from corpus.model.mode import Platform, parse_platform
from corpus.model.names import project_name
from corpus.node.context import Node
from corpus.node.environments import guest
from corpus.node.records import Record, Share
from corpus.node.settings import Settings

FIRST_ID, MOST = 60514, 64
"""The ids that systemd sets apart for users of the host within containers (UIDS-GIDS.md)."""
_LEAST, _NOBODY = 1000, 65534
_SYSTEM = ("/bin /boot /dev /etc /lib /lib32 /lib64 /libx32 /lost+found /proc /root /run /sbin "
           "/sys /usr /var").split()  # fmt: skip


def parse(settings: Settings, platform: str, given: Mapping[str, str]) -> tuple[Share, ...]:
    """Return the shares for an environment that is to be made. Raises InvalidInput."""
    if not given:
        return ()
    if parse_platform(platform) is not Platform.DEV:
        raise InvalidInput(
            f"a {platform} environment shares no directory", mend="make it with platform=dev"
        )
    if len(given) > MOST:
        raise InvalidInput(f"{len(given)} directories are too many", mend=f"share {MOST} at most")
    names = sorted(project_name(name) for name in given)
    found = tuple(
        Share(name, str(given[name]), FIRST_ID + number) for number, name in enumerate(names)
    )
    for share in found:
        check(settings, share)
    return found


def check(settings: Settings, share: Share) -> tuple[int, int]:
    """Return the user and the group that own a shared directory. Raises InvalidInput.

    Asked at each start too: the directory may have become something else since.
    """
    path = Path(share.directory)
    plain = path.is_absolute() and str(path) == share.directory and share.directory.isprintable()
    if not plain or not path.is_dir() or path.resolve() != path:
        _refuse(share, "is no directory", "give its absolute path, without links in it")
    if path == Path("/") or any(path.is_relative_to(place) for place in _SYSTEM):
        _refuse(share, "belongs to the system", "share a directory of the developer's")
    if path.is_relative_to(settings.prefix) or settings.prefix.is_relative_to(path):
        _refuse(share, "is the node's own", "share a directory of the developer's")
    if any(path == Path(account.pw_dir) for account in pwd.getpwall()):
        _refuse(share, "is somebody's home", "share a directory within it: no keys, no mail")
    status = path.stat()
    taken = range(settings.idmap_base, settings.idmap_base + settings.idmap_slots * guest.IDS)
    for what, id in (("user", status.st_uid), ("group", status.st_gid)):
        if id < _LEAST or id == _NOBODY or id in taken:
            _refuse(
                share,
                f"belongs to the {what} {id}",
                f"give it to the developer's own {what}, of id {_LEAST} or more",
            )
    return status.st_uid, status.st_gid


def _refuse(share: Share, why: str, mend: str) -> None:
    raise InvalidInput(
        f"the directory to share with {share.project} {why}", ascii(share.directory), mend
    )


def ranges(base: int, outside: int, inside: int) -> tuple[Range, ...]:
    """Return the ids of a shared mount for users, or groups, of the guest that begins at ``base``.

    Id ``outside`` on the disk is the guest's ``inside``; every other one of the guest's is, on the
    disk, what it is on the node.
    """
    after = base + inside + 1
    return (
        Range(outside, base + inside),
        Range(base, base, inside),
        Range(after, after, guest.IDS - inside - 1),
    )


def offer(node: Node, record: Record) -> None:
    """Have ready what a guest that is about to start mounts. Raises InvalidInput, Unsupported."""
    base = guest.root(node.settings, record)
    for share in record.shares:
        user, group = check(node.settings, share)
        for end in guest.TARGETS:
            _make_target(guest.srv(node.settings, record.id), share, end)
        idmap.pin(
            guest.ids(node.settings, record.id, share),
            ranges(base, user, share.id),
            ranges(base, group, share.id),
        )


def withdraw(node: Node, record: Record) -> None:
    """Let go of the ids that ``offer`` has made; the directories stay."""
    for share in record.shares:
        idmap.unpin(guest.ids(node.settings, record.id, share))


def _make_target(volume: Path, share: Share, end: str) -> None:
    """Make the directory that is mounted over; its root may have put links in the way."""
    target = f"projects/{share.project}/{end}"
    try:
        with beneath.opened(volume) as top, beneath.opened(target, top, make=True):
            pass
    except OSError as error:
        raise InvalidInput(
            f"the place of {share.project}'s directory is no directory: {error.strerror}",
            where=f"{volume}/{target}",
            mend="remove what is there, in the environment or on the node",
        ) from None
