"""The files that the node writes into a new environment.

Ids on disk are the guest's own (its mounts are idmapped), so root's files belong to 0.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Sequence
from pathlib import Path

from corpus.model.errors import InvalidInput
from corpus.node.records import Record

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


def files(
    record: Record, *, node: str, keys: Sequence[str], nameservers: Sequence[str]
) -> dict[str, tuple[str, int]]:
    """Return the text and the permissions of each file, by its path in the environment.

    Both address families of the own name are in /etc/hosts: Salt looks them up at every start
    and waits 25 s when no name server answers.
    """
    facts = {
        "id": record.id,
        "platform": str(record.platform),
        "address": record.address,
        "name": record.name,
        "node": node,
    }
    hosts = (
        f"127.0.0.1 localhost\n127.0.1.1 {record.name}\n{record.address} {record.name}\n"
        f"::1 localhost ip6-localhost {record.name}\n"
    )
    found = {
        "etc/hostname": (f"{record.name}\n", 0o644),
        "etc/hosts": (hosts, 0o644),
        "etc/corpus/environment.json": (json.dumps(facts, indent=2) + "\n", 0o644),
        "etc/salt/minion_id": (f"{record.id}\n", 0o644),
        "etc/salt/grains": (json.dumps({"corpus": facts}) + "\n", 0o644),
    }
    if nameservers:
        lines = "".join(f"nameserver {server}\n" for server in nameservers)
        found["etc/resolv.conf"] = (lines, 0o644)
    if keys:
        found["root/.ssh/authorized_keys"] = ("\n".join(keys) + "\n", 0o600)
    return found


def write(root: Path, given: dict[str, tuple[str, int]]) -> None:
    """Write the files under ``root``, an image that no guest has run yet, never through a link."""
    for name, (text, mode) in given.items():
        path = root / name
        private = path.parent.name == ".ssh"
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700 if private else 0o755)
        path.unlink(missing_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with os.fdopen(os.open(path, flags, mode), "w") as file:
            file.write(text)
            os.fchmod(file.fileno(), mode)
