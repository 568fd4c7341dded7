"""ssh(1) and ssh-keygen(1): keys, and commands on a paired environment."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path


def make_key(path: Path) -> list[str]:
    """Return the command that makes an ed25519 key pair: ``path`` and ``path``.pub."""
    return ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", str(path)]


def client(key: Path, known_hosts: Path, alias: str) -> list[str]:
    """Return how ssh begins that trusts one pinned host key alone, and offers one key alone.

    ``alias`` is the host's name in ``known_hosts``, whatever its address is. A connection
    that is dead ends within 30 s.
    """
    options = [
        "BatchMode=yes",
        "IdentitiesOnly=yes",
        "IdentityAgent=none",
        "PreferredAuthentications=publickey",
        "StrictHostKeyChecking=yes",
        "UpdateHostKeys=no",
        f"UserKnownHostsFile={known_hosts}",
        "GlobalKnownHostsFile=/dev/null",
        f"HostKeyAlias={alias}",
        "HostKeyAlgorithms=ssh-ed25519",
        "ForwardAgent=no",
        "ClearAllForwardings=yes",
        "ConnectTimeout=10",
        "ServerAliveInterval=10",
        "ServerAliveCountMax=2",
        "LogLevel=ERROR",
    ]
    return ["ssh", "-F", "/dev/null", "-i", str(key), *(f"-o{option}" for option in options)]


def ask(client: Sequence[str], user: str, address: str, port: int, request: str) -> list[str]:
    """Return the command that sends one request to ``user``'s forced command."""
    return [*client, "-T", "-p", str(port), "-l", user, "--", address, request]
