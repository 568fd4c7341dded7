"""What is put on a machine beyond Debian's packages: a part of the environments' image, and texts.

Of the image only what an environment needs to deploy: its masks, package sources, name servers
and certificates are for containers; a machine keeps those of its owner.
"""

from __future__ import annotations

import hashlib
import json
import os
import socket
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from corpus.commands import copying
from corpus.hosts import pipeline
from corpus.images import manifest, store
from corpus.images.manifest import Image, Layer
from corpus.images.recipes import ENVIRONMENT
from corpus.model.errors import InvalidInput
from corpus.node.saltify import inside
from corpus.node.saltify.records import Machine

SSHD = "/etc/ssh/sshd_config.d/corpus-accounts.conf"
UNITS = "/etc/systemd/system"
FROM_IMAGE = (
    SSHD,
    f"{UNITS}/corpus-deploy.service",
    f"{UNITS}/corpus-recover.service",
    f"{UNITS}/basic.target.d/corpus-recover.conf",
    f"{UNITS}/multi-user.target.d/corpus-deploy.conf",
    "/etc/salt/minion",
    "/etc/corpus/image.json",
    "/usr/local/bin/salt-call",
)
_SECONDS = 300.0

# In a container all services are made a better victim instead, since none may be made a worse one.
_OOM = """\
# When memory ends, services of projects go before the deploy service, which has to put them back.
[Service]
OOMScoreAdjust=-200
"""


def in_tree(path: str) -> bool:
    """Tell whether a path is of the tree that is exchanged as a whole."""
    return path.startswith(f"{inside.TREE}/")


@dataclass
class Contents:
    """``files`` describes all that is put there (see ``inside``), ``texts`` and ``links`` what
    lies outside of the tree, ``size`` is how many bytes the tree has."""

    image: Image
    layers: tuple[Layer, ...]
    files: dict[str, list[Any]] = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)
    links: dict[str, str] = field(default_factory=dict)
    size: int = 0

    def put(self, path: str, text: str, mode: int = 0o644) -> None:
        """Add a file outside of the tree."""
        digest = hashlib.sha256(text.encode()).hexdigest()
        self.texts[path] = text
        self.files[path] = ["file", digest, mode]


def of(machine: Machine, name: str) -> Contents:
    """Return what a machine, called ``name``, must hold. Raises NotFound, InvalidInput."""
    found = of_image(Path(machine.image))
    lasting = {
        "id": machine.id,
        "platform": str(machine.platform),
        "address": machine.host,
        "name": name,
        "node": socket.gethostname(),
    }
    identity = {
        **lasting,
        "guest": "saltify",
        "image": found.image.digest,
        "ssh_port": machine.port,
        "shares": {},
        "relay": "",
    }
    found.put("/etc/corpus/environment.json", json.dumps(identity, indent=2) + "\n")
    found.put("/etc/salt/minion_id", f"{machine.id}\n")
    found.put("/etc/salt/grains", json.dumps({"corpus": lasting}) + "\n")
    found.put(f"{UNITS}/corpus-deploy.service.d/saltify.conf", _OOM)
    return found


def of_image(directory: Path) -> Contents:
    """Return what comes from the image in ``directory``, its archives verified.

    Raises NotFound, InvalidInput.
    """
    image = manifest.load(directory)
    named = {layer.name: layer for layer in image.layers}
    # The other layers are Debian's packages, which a machine has of its own.
    wanted = [name for name in ENVIRONMENT.layers if name not in ("base", ENVIRONMENT.name)]
    if not all(name in named for name in wanted):
        raise InvalidInput(
            "that is no image of environments", str(directory), "give the directory environment"
        )
    found = Contents(image, tuple(named[name] for name in wanted))
    for layer in found.layers:
        store.check(image, layer)
        for member, data in _members(image.archive(layer)):
            _take(found, member, data)
    if missing := [path for path in FROM_IMAGE if path not in found.files]:
        raise InvalidInput(
            f"the image has no {missing[0]}", str(directory), "build it anew from this version"
        )
    return found


def _members(archive: Path) -> Iterator[tuple[tarfile.TarInfo, bytes]]:
    handle = os.open(archive, os.O_RDONLY | os.O_CLOEXEC)
    try:
        with (
            pipeline.output_of([copying.decompress()], handle, timeout=_SECONDS) as output,
            tarfile.open(fileobj=output, mode="r|") as members,
        ):
            for member in members:
                file = members.extractfile(member) if member.isreg() else None
                yield member, file.read() if file else b""
            while output.read(1 << 20):  # what pads the archive
                pass
    finally:
        os.close(handle)


def _take(found: Contents, member: tarfile.TarInfo, data: bytes) -> None:
    path = member.name.removeprefix(".")
    if path not in FROM_IMAGE and not in_tree(path):
        return
    if member.isreg() and path in FROM_IMAGE:
        found.put(path, data.decode(), member.mode)
    elif member.isreg():
        found.files[path] = ["file", hashlib.sha256(data).hexdigest(), member.mode]
        found.size += len(data)
    elif member.issym():
        found.files[path] = ["link", member.linkname]
        if path in FROM_IMAGE:
            found.links[path] = member.linkname
    elif member.isdir():
        found.files[path] = ["directory", member.mode]
    else:
        raise InvalidInput(f"the image has a member of an unknown kind: {path}")
