"""What every function of this package takes: the node."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from corpus.hosts.base import Host
from corpus.hosts.local import Local
from corpus.model.errors import Conflict
from corpus.node.recorded import Records
from corpus.node.records import Record
from corpus.node.settings import DEFAULT_FILE, Settings, load


@dataclass(frozen=True)
class Node:
    """A compute node: its settings and the host that runs its commands."""

    settings: Settings
    host: Host

    @property
    def records(self) -> Records:
        """The environments that it remembers."""
        return Records(self.settings.records)

    @contextmanager
    def lock(self, name: str = "node", *, wait: bool = True) -> Iterator[None]:
        """Hold one of the node's locks; the kernel frees it when the holder dies.

        Without ``wait``, Conflict is raised when somebody holds it.

        An environment's lock (its id) is taken before ``node``, which guards what all share:
        addresses, ports, firewall, proxy.
        """
        self.settings.locks.mkdir(parents=True, exist_ok=True)
        path = self.settings.locks / name
        handle = _locked(path, wait)
        while not _still(path, handle):  # its last holder has removed the file
            os.close(handle)
            handle = _locked(path, wait)
        try:
            yield
        finally:
            os.close(handle)

    def change(self, id: str, how: Callable[[Record], Record]) -> Record:
        """Save what ``how`` makes of an environment's record, unless it is the same; return it.

        It is read within the node's lock: what others change at the same time stays. Raises
        NotFound.
        """
        with self.lock():
            old = self.records.get(id)
            new = how(old)
            if new != old:
                self.records.save(new)
        return new


def _locked(path: Path, wait: bool) -> int:
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        raise Conflict(f"{path.name} is busy", mend="wait until that is done") from None
    return handle


def _still(path: Path, handle: int) -> bool:
    try:
        return path.stat().st_ino == os.fstat(handle).st_ino
    except FileNotFoundError:
        return False


def this_node(file: Path = DEFAULT_FILE) -> Node:
    """Return the machine that this process runs on, with the settings of ``file``."""
    return Node(load(file), Local())
