"""Time what is done with releases, beside the bare tools, where this process runs.

Arguments: the folder to work in, bytes, files, runs. The files are cut out of the packages of the
Python that runs this: sources, compiled modules and libraries, as a release has. Each run makes
the release and, as reference, tar | zstd -3 with as many threads, both until the archive is on
the disk; reads the archive from the disk by cat, sha256sum and ``verify``, and digests as much
in memory; unpacks it by ``tar -x`` and ``unpack``, until it is on the disk. The order changes
from run to run.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from itertools import cycle
from pathlib import Path
from random import Random
from uuid import uuid4

from corpus.hosts import kernel
from corpus.model.deployment import DeploymentId
from corpus.model.manifest import Manifest
from corpus.project import releases
from corpus.project.place import Place, Project

FACTS = {"commit": "c" * 40, "time": 1_700_000_000, "made_at": 1_700_000_000, "by": "bench"}


def fill(folder: Path, size: int, files: int) -> None:
    """Write the files, 200 in each directory."""
    packages = sorted(path for path in Path(sys.prefix, "lib").rglob("*") if path.is_file())
    Random(1).shuffle(packages)
    each, content, given = size // files, bytearray(), cycle(packages)
    for number in range(files):
        while len(content) < each:
            content += next(given).read_bytes()
        path = folder / f"{number // 200:03}" / f"{number:05}"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content[:each])
        del content[:each]


def timed(work: Callable[[], object]) -> float:
    """Return the seconds that ``work`` takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def chain(first: list[str], second: list[str], target: Path) -> None:
    """Run the reference of making: two commands in a row, then wait for the disk."""
    with target.open("wb") as file:
        with subprocess.Popen(first, stdout=subprocess.PIPE) as tar:
            subprocess.run(second, stdin=tar.stdout, stdout=file, check=True)
        assert tar.returncode == 0
        os.fsync(file.fileno())


def quietly(command: str, path: Path) -> None:
    """Let a command read a file; what it prints is of no use."""
    subprocess.run([command, path], stdout=subprocess.DEVNULL, check=True)


def forget(path: Path) -> None:
    """Let the kernel drop what it holds of a file, so that the next reader asks the disk."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


class Rounds:
    """The measures, and what they need from each other."""

    def __init__(self, root: Path, size: int, files: int) -> None:
        self.root = root
        place = Place(prefix=root / "srv", etc=root / "etc", accounts=False, firewall=False)
        self.project = Project.at(place, "bench")
        self.source = self.project.paths.root / "source"
        self.source.mkdir(parents=True)
        fill(self.source, size, files)
        kernel.sync(root)
        self.plain = root / "plain.tar.zst"
        self.made: Manifest | None = None
        self.found: dict[str, list[float]] = {}

    def note(self, name: str, work: Callable[[], object]) -> None:
        """Keep the seconds of one measure."""
        self.found.setdefault(name, []).append(timed(work))

    def make(self, turned: bool) -> None:
        """Make the release and its reference, each with the files in memory."""
        if self.made:
            releases.remove(self.project, self.made.deployment)
        self.plain.unlink(missing_ok=True)
        tar = ["tar", "--create", "--file=-", f"--directory={self.source}", "--sort=name", "."]
        subprocess.run([*tar[:2], "--file=/dev/zero", *tar[3:]], check=True)

        def release() -> None:
            deployment = DeploymentId.make(datetime.now(UTC), uuid4())
            self.made = releases.make(self.project, deployment, self.source, FACTS, {})

        def bare() -> None:
            chain(tar, ["zstd", "-q", "-3", "-T0", "-c"], self.plain)

        pairs = [("make", release), ("make.bare", bare)]
        for name, work in reversed(pairs) if turned else pairs:
            kernel.sync(self.root)
            self.note(name, work)

    def check(self, turned: bool) -> None:
        """Read the archive from the disk, digest as much, and check the signature alone."""
        made = self.made
        assert made
        archive = self.project.paths.release(made.deployment)
        ways: list[tuple[str, Callable[[], object]]] = [
            ("cat", lambda: quietly("cat", archive)),
            ("sha256sum", lambda: quietly("sha256sum", archive)),
            ("digest", self.digest),
            ("verify", lambda: releases.verify(self.project, made.deployment)),
        ]
        for name, work in reversed(ways) if turned else ways:
            forget(archive)
            self.note(name, work)
        self.note(
            "signature",
            lambda: releases.verify(self.project, made.deployment, archives=False),
        )

    def digest(self) -> None:
        """Digest as many bytes as the archive has, without reading any."""
        made, chunk, digest = self.made, bytes(1 << 20), hashlib.sha256()
        assert made
        for _ in range(made.archive_size // len(chunk)):
            digest.update(chunk)
        digest.update(chunk[: made.archive_size % len(chunk)])

    def unpack(self, turned: bool) -> None:
        """Unpack it in two ways, until all is on the disk."""
        made = self.made
        assert made
        ours, theirs = self.project.paths.root / "ours", self.project.paths.root / "theirs"
        theirs.mkdir()
        argv = ["tar", "--extract", "--zstd", f"--directory={theirs}",
                f"--file={self.project.paths.release(made.deployment)}"]  # fmt: skip

        def tar() -> None:
            subprocess.run(argv, check=True)
            kernel.sync(self.root)

        ways: list[tuple[str, Callable[[], object]]] = [
            ("unpack", lambda: releases.unpack(self.project, made, ours)),
            ("unpack.bare", tar),
        ]
        for name, work in reversed(ways) if turned else ways:
            kernel.sync(self.root)
            self.note(name, work)
        subprocess.run(["diff", "--recursive", "--brief", ours, theirs], check=True)
        for folder in (ours, theirs):
            shutil.rmtree(folder)


def main(folder: str, size: str, files: str, runs: str) -> None:
    """Measure and print."""
    rounds = Rounds(Path(folder), int(size), int(files))
    for run in range(int(runs)):
        rounds.make(run % 2 == 1)
        rounds.check(run % 2 == 1)
        rounds.unpack(run % 2 == 1)
    made = rounds.made
    assert made
    shutil.rmtree(rounds.root)
    print(json.dumps({"seconds": rounds.found, "archive_size": made.archive_size}))


if __name__ == "__main__":
    main(*sys.argv[1:])
