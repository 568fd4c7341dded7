"""The target's side of what comes by rsync: volumes made beforehand, files compared, a pass pulled.

What is there was filled by the environment's root: no link in it is followed.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from corpus.commands import copying
from corpus.hosts import beneath, relay, subvolumes
from corpus.model.errors import InvalidInput
from corpus.model.names import environment_id
from corpus.node.context import Node
from corpus.node.environments import guest
from corpus.node.migration.peers import Peer
from corpus.node.records import Record, Stage
from corpus.node.storage import copies, pool

_SECONDS = 6 * 3600.0
_SILENCE = 60  # seconds without a byte in which the disk of one side may be busy
_READING = 900  # those in which a large file may be read to the end, to compare it
_THEN = 10**18  # nanoseconds, before 2002


def named(path: object) -> tuple[str, str, str]:
    """Return where a volume lies, and its name. Raises InvalidInput."""
    parent, slash, name = str(path).rpartition("/")
    if name in ("", ".", "..") or str(path).partition("/")[0] not in copies.PARTS:
        raise InvalidInput("not a path of a volume")
    return parent, slash, name


def make_volumes(node: Node, record: Record, paths: Iterable[str]) -> None:
    """Make the subvolumes that the source has within its volumes, where this pool can."""
    if pool.volumes(node).kind == "plain":
        return
    with beneath.opened(guest.home(node.settings, record.id)) as place:
        for path in sorted(paths):
            parent, _, name = named(path)
            with beneath.opened(parent or ".", place, make=True) as above:
                if not _is_volume(above, name):
                    beneath.remove(above, name)  # it was a directory when it came first
                    subvolumes.create(Path(f"/proc/self/fd/{above}") / name)


def _is_volume(folder: int, name: str) -> bool:
    try:
        with beneath.opened(name, folder) as handle:
            return subvolumes.is_root(handle)
    except OSError:
        return False


def doubt(node: Node, record: Record, part: str, paths: Iterable[str]) -> None:
    """Have files of a volume compared by content: here they get a time that is none of theirs."""
    if part not in copies.PARTS:
        raise InvalidInput("not a volume")
    with beneath.opened(guest.home(node.settings, record.id) / part) as place:
        for path in paths:
            parent, _, name = str(path).rpartition("/")
            time = secrets.randbelow(_THEN)  # by chance: the source may have any other one
            with (
                suppress(FileNotFoundError, NotADirectoryError),
                beneath.opened(parent or ".", place) as above,
            ):
                os.utime(name, ns=(time, time), dir_fd=above, follow_symlinks=False)


def pull(node: Node, peer: Peer, id: str, part: str, how: str = "") -> int:
    """Bring a volume that arrives from a peer by rsync to what that serves at our standard input.

    ``how`` is ``contents`` where times tell nothing. Returns rsync's code. Raises NotFound,
    InvalidInput.
    """
    record = node.records.get(environment_id(id))
    if record.stage is not Stage.CREATING or record.origin != peer.name or part not in copies.PARTS:
        raise InvalidInput("nothing like that arrives from there")
    contents = how == "contents"
    fetch = copying.fetch(
        guest.home(node.settings, record.id) / part,
        relay.helper(),
        contents=contents,
        silence=_READING if contents else _SILENCE,
    )
    return relay.through(fetch, timeout=_SECONDS)
