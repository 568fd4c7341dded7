"""Two scratch environments, a staging and a prod one, whose SSH is a program that is not ssh."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from corpus.model.deployment import DeploymentId
from corpus.model.manifest import Manifest
from corpus.project import peers, releases, serve
from corpus.project.place import Project
from projects import Scratch, ids

STAGING_ID = "11111111-2222-4333-8444-555555555555"
PROD_ID = "99999999-2222-4333-8444-555555555555"
FIRST, SECOND, THIRD = ids(3)

# Answers with the staging environment's forced command; a file beside it says what goes wrong.
SSH = """\
#!/usr/bin/python3 -IS
import os, subprocess, sys, time
request = sys.argv[-1]
open({log!r}, "a").write(request + "\\n")
trouble = open({trouble!r}).read() if os.path.exists({trouble!r}) else ""
if trouble == "dead":
    sys.exit("ssh: connect to host: Connection refused") or 255
if trouble == "impostor":
    sys.exit("Host key verification failed.")
if trouble == "silent":
    time.sleep(60)
if trouble == "endless":
    while True:
        os.write(1, b"x" * 65536)
done = subprocess.run(
    ["/usr/bin/python3", "-IS", {serve!r}, {root!r}],
    env={{"SSH_ORIGINAL_COMMAND": request}},
    stdout=subprocess.PIPE if request.startswith("get") else None,
)
if done.stdout is not None:
    data = done.stdout
    if trouble.startswith("cut"):
        data = data[: int(trouble.split()[1])]
    if trouble == "damaged":
        data = bytes([data[0] ^ 1]) + data[1:]
    if trouble == "longer":
        data += b"more"
    os.write(1, data[:100_000]), sys.stdout.buffer.write(data[100_000:])
    sys.stdout.flush()
    if trouble.startswith("cut"):
        sys.exit(255)
sys.exit(done.returncode)
"""


class Pair:
    """A staging and a prod environment with the same project."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, name: str = "demo") -> None:
        self.folder = folder
        self.staging = environment(folder / "staging", STAGING_ID, "staging", name)
        self.prod = environment(folder / "prod", PROD_ID, "prod", name)
        self.program = folder / "ssh"
        self._log, self._trouble = folder / "asked", folder / "trouble"
        text = SSH.format(
            log=str(self._log),
            trouble=str(self._trouble),
            serve=serve.__file__,
            root=str(self.staging.paths.root),
        )
        self.program.write_text(text)
        self.program.chmod(0o755)
        monkeypatch.setattr(peers, "client", lambda _project, _staging: [str(self.program)])

    def pair(self) -> None:
        """Do what the node does."""
        offer = peers.identity(self.staging.project, "10.88.0.1", 22001).as_dict()
        peers.pair(self.staging.project, peers.identity(self.prod.project).as_dict())
        peers.pair(self.prod.project, offer)

    def trouble(self, what: str) -> None:
        """Let the way to the staging environment be ``dead``, ``silent``, ``cut N`` …"""
        self._trouble.write_text(what)

    @property
    def asked(self) -> list[str]:
        """What the staging environment was asked, oldest first."""
        return self._log.read_text().splitlines() if self._log.exists() else []

    def release(
        self, identity: DeploymentId = FIRST, commit: str = "c" * 40, **more: Any
    ) -> Manifest:
        """Make a release in the staging environment."""
        return make_release(self.staging, identity, commit, **more)


def environment(folder: Path, id: str, platform: str, name: str = "demo") -> Scratch:
    """Return a project in an environment of its own."""
    made = Scratch(folder, name)
    place = made.place
    place.identity.parent.mkdir(parents=True, exist_ok=True)
    place.identity.write_text(json.dumps({"id": id, "platform": platform, "address": "10.88.0.9"}))
    subprocess.run(
        ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "host", "-f",
         place.host_key.with_suffix("")],
        check=True,
    )  # fmt: skip
    return made


def make_release(
    scratch: Scratch,
    identity: DeploymentId,
    commit: str = "c" * 40,
    size: int = 0,
    parts: dict[str, list[str]] | None = None,
) -> Manifest:
    """Make a release of a few files, and of ``size`` bytes that do not compress."""
    source = scratch.folder / "source"
    shutil.rmtree(source, ignore_errors=True)
    source.mkdir()
    (source / "app").write_text(f"version of {identity}\n")
    (source / "docs").mkdir()
    (source / "docs/page").write_text("page\n")
    noise = Path("/dev/urandom").open("rb").read(size)  # noqa: SIM115
    (source / "noise").write_bytes(noise)
    facts = {"commit": commit, "time": 1_700_000_000, "made_at": 1_700_000_009, "by": "ann"}
    return releases.make(scratch.project, identity, source, facts, parts or {})


def carry(source: Project, target: Project, identity: DeploymentId) -> None:
    """Copy a release's files by hand, as somebody would with a stick."""
    for path in source.paths.releases.glob(f"*{identity}*"):
        shutil.copy(path, target.paths.releases / path.name)
