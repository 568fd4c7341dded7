"""The files that the node writes into an environment.

Ids on disk are the guest's own (its mounts are idmapped), so root's files belong to 0.
"""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from corpus.commands.nft import RELAY_PORT
from corpus.hosts import beneath
from corpus.model.errors import InvalidInput, NotFound
from corpus.node.context import Node
from corpus.node.environments import guest
from corpus.node.network import addresses
from corpus.node.records import Record
from corpus.node.storage import images

IDENTITY = "etc/corpus/environment.json"
_KEY = re.compile(
    r"(ssh-(ed25519|rsa)|ecdsa-sha2-nistp\d+|sk-[a-z0-9@.-]+) [A-Za-z0-9+/]+=*( [^\r\n]*)?"
)


def public_keys(keys: Sequence[str]) -> list[str]:
    """Return the SSH public keys, without blank lines; raises InvalidInput."""
    found = [key.strip() for key in keys if key.strip()]
    for key in found:
        if not _KEY.fullmatch(key):
            raise InvalidInput(
                f"not an SSH public key: {ascii(key)[:40]}",
                mend="give the line of a .pub file, without options",
            )
    return found


def identity(node: Node, record: Record) -> dict[str, Any]:
    """Return what an environment is told of itself and of its node: environment.json."""
    settings = node.settings
    try:
        image = images.find(node, record.image).digest
    except NotFound:
        image = record.image
    return {
        **_lasting(record),
        "image": image,
        "gateway": str(settings.gateway),
        "ssh_port": record.ssh_port,
        "shares": {share.project: share.id for share in record.shares},
        "relay": f"{settings.gateway}:{RELAY_PORT}" if settings.relay else "",
    }


def _lasting(record: Record) -> dict[str, Any]:
    return {
        "id": record.id,
        "platform": str(record.platform),
        "address": record.address,
        "name": record.name,
        "node": socket.gethostname(),
    }


def identify(node: Node, record: Record) -> None:
    """Write environment.json anew into an environment, which may run.

    Its root may have put links or anything else in the way, also just now, and may have filled
    its disk: none is followed, and what cannot be written stays as it was.
    """
    with suppress(OSError), beneath.opened(guest.rootfs(node.settings, record.id)) as root:
        text = json.dumps(identity(node, record), indent=2) + "\n"
        beneath.write(root, IDENTITY, text, 0o644)


def files(node: Node, record: Record, keys: Sequence[str]) -> dict[str, tuple[str, int]]:
    """Return the text and the permissions of each file, by its path in the environment.

    Both address families of the own name are in /etc/hosts: Salt looks them up at every start
    and waits 25 s when no name server answers. Its grains hold what stays as it is.
    """
    hosts = (
        f"127.0.0.1 localhost\n127.0.1.1 {record.name}\n{record.address} {record.name}\n"
        f"::1 localhost ip6-localhost {record.name}\n"
    )
    found = {
        "etc/hostname": (f"{record.name}\n", 0o644),
        "etc/hosts": (hosts, 0o644),
        IDENTITY: (json.dumps(identity(node, record), indent=2) + "\n", 0o644),
        "etc/salt/minion_id": (f"{record.id}\n", 0o644),
        "etc/salt/grains": (json.dumps({"corpus": _lasting(record)}) + "\n", 0o644),
    }
    if nameservers := addresses.nameservers(node):
        lines = "".join(f"nameserver {server}\n" for server in nameservers)
        found["etc/resolv.conf"] = (lines, 0o644)
    if keys:
        found["root/.ssh/authorized_keys"] = ("\n".join(keys) + "\n", 0o600)
    return found


def write(root: Path, given: dict[str, tuple[str, int]]) -> None:
    """Write the files under ``root``, never through a link. Raises OSError."""
    with beneath.opened(root) as folder:
        for name, (text, mode) in given.items():
            beneath.write(folder, name, text, mode, private="/.ssh/" in name)
