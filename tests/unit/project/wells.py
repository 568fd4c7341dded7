"""A project that nothing is wrong with, in an environment alike, for what its doctor finds."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from corpus.hosts.base import Command, Result
from corpus.hosts.local import Local
from corpus.project import layout
from corpus.project.doctor.examine import examine
from projects import Phases, Scratch, copy_to_run, git, ids

Found = list[dict[str, Any]]
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBVqTEsOZAQJcL7hvCpTXNBvyWT3fWUVBWfSCJDZUOUZ me"
UNIT = "[Service]\nExecStart=/bin/true\n"


class Machine(Local):
    """This one, without its systemd: what it is asked is written down."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, ...]] = []
        self.state = "active"

    def execute(self, command: Command) -> Result:
        if command.argv[0] != "systemctl":
            return super().execute(command)
        self.asked.append(command.argv)
        names = command.argv[command.argv.index("--") + 1 :] if "--" in command.argv else ()
        shown = (f"Id={name}\nActiveState={self.state}\nLoadState=loaded\n" for name in names)
        return Result(command.argv, 0, "\n".join(shown))


class Well:
    """A project that nothing is wrong with, in an environment alike."""

    def __init__(self, folder: Path) -> None:
        self.machine = Machine()
        self.scratch = Scratch(folder, host=self.machine)
        self.project, self.paths, self.place = (
            self.scratch.project, self.scratch.paths, self.scratch.place
        )  # fmt: skip
        self.place.identity.parent.mkdir()
        self.place.identity.write_text('{"platform": "staging"}')
        self.host_key = self.place.host_key.with_suffix("")
        for key in (self.host_key, self.place.release_key):
            key.parent.mkdir(exist_ok=True)
            make = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)]
            subprocess.run(make, check=True)
        self.place.release_key.with_suffix(".pub").unlink()  # nobody needs it
        layout.initialise(self.project, [KEY])
        files = {".salt/top.sls": "", "app": "1", "systemd/demo.service": UNIT}
        done = self.scratch.deploy(
            self.scratch.commit(files), Phases({"services": ["demo.service"]}, build=copy_to_run)
        )
        assert done.outcome == "live", done.text
        self.listen()

    def listen(self) -> None:
        """Be a deploy service that answers and does nothing."""
        self.place.socket.unlink(missing_ok=True)
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.listener.bind(str(self.place.socket))
        self.listener.listen()
        threading.Thread(target=self._accept, args=(self.listener,), daemon=True).start()

    @staticmethod
    def _accept(listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                listener.accept()[0].close()

    def hang_up(self) -> None:
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()

    def examine(self, *, mend: bool = False) -> Found:
        return examine(self.place, "demo", mend=mend)

    @property
    def live(self) -> str:
        return self.scratch.ledger[-1].id

    def orphan(self) -> Path:
        """Return the archive of a deployment that no ledger knows."""
        (identity,) = ids(1)
        archive = self.paths.archive(identity).root
        (archive / "data").mkdir(parents=True)
        return archive


@pytest.fixture(scope="module")
def wells(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Well]]:
    """Return the projects that tests have given back."""
    wells: list[Well] = []
    yield wells
    for well in wells:
        well.hang_up()


@pytest.fixture
def well(wells: list[Well], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Well]:
    """Return the project; the test must leave it well, else the next has another."""
    if os.geteuid() != 0:
        pytest.skip("mounts: needs root")
    well = wells.pop() if wells else Well(tmp_path_factory.mktemp("well"))
    yield well
    assert wrong(well.examine()) == []
    wells.append(well)


def wrong(found: Found) -> Found:
    """Return what is not as it should be."""
    return [each for each in found if each["state"] != "ok"]


def rewrite(path: Path, text: str) -> None:
    """Put another file in the place of one."""
    path.unlink(missing_ok=True)
    path.write_text(text)


def config(well: Well, *argv: str) -> None:
    """Change how the project's repository is configured."""
    git(f"--git-dir={well.paths.project_git}", "config", *argv)
