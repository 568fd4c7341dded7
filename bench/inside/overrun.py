"""Write more than an environment may, as its root, one way: arguments WAY and its SIZE in bytes.

Prints what went in and what ended it: ``size`` (bytes that files hold), ``error`` (a name of errno,
empty when twice the size went in). When a way is refused, small writes are tried until those are.
"""

import contextlib
import errno
import fcntl
import json
import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path

from corpus.hosts import subvolumes

TOP = Path("/srv/overrun")
MIB = 1 << 20
BLOCK = os.urandom(MIB)
FICLONE = 0x40049409
TRIES = 20  # refusals in a row after which a way is at its end
THREADS = 8


class Full(Exception):
    """Twice the size went in."""


class Budget:
    """What may still be written before it is clear that nothing ends it, and what has ended it."""

    def __init__(self, size: int) -> None:
        self.left, self.error = 2 * size, ""
        self._lock = threading.Lock()

    def take(self, size: int) -> None:
        with self._lock:
            self.left -= size
            if self.left < 0:
                raise Full

    def write(self, path: Path, size: int, flags: int = 0) -> bool:
        """Put a file of ``size`` bytes, or overwrite one; False when that was refused."""
        try:
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | flags)
            try:
                done = 0
                while done < size:
                    wrote = os.write(handle, BLOCK[: min(MIB, size - done)])
                    done += wrote
                    self.take(wrote)
            finally:
                os.close(handle)  # which tells of it too, where writing did not
        except OSError as error:
            self.refused(error)
            return False
        return True

    def refused(self, error: OSError) -> None:
        """Keep by which error it ended; any but that of a full disk is a fault of the bench."""
        if error.errno not in (errno.EDQUOT, errno.ENOSPC):
            raise error
        self.error = errno.errorcode[error.errno]

    def repeat(self, once: Callable[[int], bool]) -> None:
        """Do it until it was refused so often in a row."""
        number = failures = 0
        while failures < TRIES:
            failures = 0 if once(number) else failures + 1
            number += 1


def big(budget: Budget, size: int) -> None:
    """One file, buffered, a mebibyte at a time."""
    budget.write(TOP / "file", 3 * size)


def synced(budget: Budget, size: int) -> None:
    """One file, each mebibyte on the disk before the next."""
    budget.write(TOP / "file", 3 * size, os.O_DSYNC)


def threads(budget: Budget, size: int) -> None:
    """Eight files at a time, buffered, each by a thread of its own."""

    def one(name: int) -> None:
        with contextlib.suppress(Full):
            budget.repeat(lambda number: budget.write(TOP / f"{name}-{number}", 4 * MIB))

    running = [threading.Thread(target=one, args=(name,)) for name in range(THREADS)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()


def files(budget: Budget, size: int) -> None:
    """Files of 4 KiB."""
    _small(budget, 4096)


def tiny(budget: Budget, size: int) -> None:
    """Files of 1,000 bytes, which btrfs keeps in its metadata."""
    _small(budget, 1000)


def _small(budget: Budget, size: int) -> None:
    def one(number: int) -> bool:
        folder = TOP / str(number // 1000)
        try:
            folder.mkdir(exist_ok=True)
        except OSError as error:
            budget.refused(error)
            return False
        return budget.write(folder / str(number), size)

    budget.repeat(one)


def volumes(budget: Budget, size: int) -> None:
    """Subvolumes that it makes itself, a file of 8 MiB in each."""

    def one(number: int) -> bool:
        try:
            subvolumes.create(TOP / str(number))
        except OSError as error:
            budget.refused(error)
            return False
        return budget.write(TOP / f"{number}/file", 8 * MIB)

    budget.repeat(one)


def snapshots(budget: Budget, size: int) -> None:
    """Snapshots of a subvolume with 16 MiB, each overwritten afterwards."""
    subvolumes.create(TOP / "base")
    budget.write(TOP / "base/file", 16 * MIB)

    def one(number: int) -> bool:
        try:
            subvolumes.snapshot(TOP / "base", TOP / str(number))
        except OSError as error:
            budget.refused(error)
            return False
        return budget.write(TOP / f"{number}/file", 16 * MIB)

    budget.repeat(one)


def reflinks(budget: Budget, size: int) -> None:
    """Files that share 16 MiB by reflinks, each overwritten afterwards."""
    budget.write(TOP / "base", 16 * MIB)
    base = os.open(TOP / "base", os.O_RDONLY)

    def one(number: int) -> bool:
        try:
            with (TOP / str(number)).open("wb") as file:
                fcntl.ioctl(file, FICLONE, base)
        except OSError as error:
            budget.refused(error)
            return False
        return budget.write(TOP / str(number), 16 * MIB)

    budget.repeat(one)


WAYS = {
    "file": big,
    "synced": synced,
    "threads": threads,
    "small-files": files,
    "tiny-files": tiny,
    "subvolumes": volumes,
    "snapshots": snapshots,
    "reflinks": reflinks,
}


def main() -> None:
    """Write the way that is asked, then what little still goes in, and wait for the disk."""
    way, size = sys.argv[1], int(sys.argv[2])
    TOP.mkdir()
    budget, outcome = Budget(size), ""
    try:
        WAYS[way](budget, size)
        budget.repeat(lambda number: budget.write(TOP / f"last-{number}", 4096))
        outcome = budget.error
    except Full:
        pass
    except OSError as error:
        outcome = f"not there: {errno.errorcode.get(error.errno or 0, error)}"
    os.sync()
    held = sum(
        (Path(folder) / name).lstat().st_blocks * 512
        for folder, _, names in os.walk(TOP)
        for name in names
    )
    print(json.dumps({"size": held, "error": outcome}))


if __name__ == "__main__":
    main()
