"""What an environment tells of itself to be paired with another one for a project."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from ipaddress import ip_address
from typing import Any

from corpus.model.errors import InvalidInput
from corpus.model.mode import Platform, parse_platform
from corpus.model.names import environment_id, host_name, project_name

# 51 bytes in base64, of which the first 19 say the type and the length.
_KEY = re.compile(r"(ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI[A-Za-z0-9+/]{43})( [^\r\n]*)?", re.ASCII)


@dataclass(frozen=True)
class Peer:
    """One environment as the other one of a pair knows it, for one project.

    ``host_key``     its SSH server's public key
    ``signing_key``  staging: what its releases are signed by
    ``fetch_key``    production: what it asks a staging environment with
    ``address``      where its SSH server is reached from the other one, at ``port``

    Keys are ed25519's public ones in OpenSSH's form, without comments.
    """

    project: str
    environment: str
    platform: Platform
    host_key: str
    signing_key: str | None = None
    fetch_key: str | None = None
    address: str | None = None
    port: int | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return plain values, which ``parse`` takes."""
        return {**vars(self), "platform": str(self.platform)}


def parse(given: object) -> Peer:
    """Return the peer that ``given`` describes: it comes from the other side, and is hostile.

    Raises InvalidInput for a value that is missing, unknown, or not what it must be.
    """
    if not isinstance(given, Mapping):
        raise InvalidInput(
            "a peer is a mapping", mend="give what mc_project.identity returned on the other side"
        )
    unknown = [name for name in given if name not in {field.name for field in fields(Peer)}]
    if unknown:
        raise InvalidInput(f"a peer has no {ascii(unknown[0])[:40]}")
    platform = parse_platform(str(given.get("platform")))
    if platform is Platform.DEV:
        raise InvalidInput("a dev environment makes no releases and takes none")
    needed = "signing_key" if platform is Platform.STAGING else "fetch_key"
    for name in ("host_key", needed):
        if given.get(name) is None:
            raise InvalidInput(f"a {platform} peer has a {name}, and this one has none")
    address, port = given.get("address"), given.get("port")
    return Peer(
        project=project_name(given.get("project")),
        environment=environment_id(given.get("environment")),
        platform=platform,
        host_key=_key(given, "host_key") or "",
        signing_key=_key(given, "signing_key"),
        fetch_key=_key(given, "fetch_key"),
        address=None if address is None else host_address(address),
        port=None if port is None else port_number(port),
    )


def public_key(text: object) -> str:
    """Return an ed25519 public key without its comment. Raises InvalidInput."""
    found = _KEY.fullmatch(text.strip()) if isinstance(text, str) and len(text) < 1000 else None
    if not found:
        raise InvalidInput(f"not an ed25519 public key: {ascii(text)[:60]}")
    return found[1]


def _key(given: Mapping[str, Any], name: str) -> str | None:
    value = given.get(name)
    return None if value is None else public_key(value)


def host_address(text: object) -> str:
    """Return an IP address or a host name. Raises InvalidInput."""
    try:
        # Not with a scope: behind its % there may be anything.
        return str(ip_address("" if "%" in str(text) else str(text)))
    except ValueError:
        return host_name(text)


def port_number(value: object) -> int:
    """Return a TCP port. Raises InvalidInput."""
    if isinstance(value, bool) or not isinstance(value, int) or not 0 < value < 65536:
        raise InvalidInput(f"not a port: {ascii(value)[:20]}", mend="use 1 to 65535")
    return value
