"""What a lab is made with: directories, subnet, ports, the size of its pool."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Any

from corpus.model.errors import InvalidInput
from corpus.model.size import format_size, parse_size

MINIMUM_POOL = 2 << 30


@dataclass(frozen=True)
class Settings:
    """The settings of one lab; each has a default that fits the demo."""

    root: Path = Path("/var/lib/corpus-lab")
    """The directory that every lab has its own directory under."""
    images: Path = Path("/var/cache/corpus/images")
    """The cache of images, shared by all labs and kept when a lab is removed."""
    subnet: str = "10.86.1.0/24"
    """The IPv4 network between the host and the lab's node."""
    http_port: int = 8080
    """The port on the host's loopback that leads to the node's HTTP."""
    ssh_port_base: int = 22000
    """The first of the loopback ports that lead to the same ports of the node."""
    ssh_ports: int = 100
    """How many they are: one for each environment."""
    pool_size: int = 24 << 30
    """Bytes of the pool; the file is sparse, so only what is written takes space."""

    def __post_init__(self) -> None:
        _check_subnet(self.subnet)
        last = self.ssh_port_base + self.ssh_ports - 1
        if not (0 < self.http_port < 65536 and 0 < self.ssh_port_base <= last < 65536):
            raise InvalidInput(
                f"ports out of range: {self.http_port}, {self.ssh_port_base}-{last}",
                mend="choose ports from 1 to 65535",
            )
        if self.ssh_port_base <= self.http_port <= last:
            raise InvalidInput(
                f"port {self.http_port} is for HTTP and within the SSH ports too",
                mend=f"choose an HTTP port outside {self.ssh_port_base}-{last}",
            )
        if self.pool_size < MINIMUM_POOL:
            raise InvalidInput(
                f"a pool of {format_size(self.pool_size)} is too small",
                mend=f"give {format_size(MINIMUM_POOL)} or more",
            )

    @property
    def network(self) -> IPv4Network:
        """The subnet."""
        return IPv4Network(self.subnet)

    @property
    def gateway(self) -> IPv4Address:
        """The host's address on the lab's bridge."""
        return self.network[1]

    @property
    def node_address(self) -> IPv4Address:
        """The node's address."""
        return self.network[2]

    @property
    def ssh_port_last(self) -> int:
        """The last of the SSH ports."""
        return self.ssh_port_base + self.ssh_ports - 1

    def as_dict(self) -> dict[str, Any]:
        """Return the settings as plain values, for the lab's record."""
        return {
            key: str(value) if isinstance(value, Path) else value
            for key, value in asdict(self).items()
        }


def _check_subnet(text: str) -> None:
    try:
        network = IPv4Network(text)
    except ValueError as error:
        raise InvalidInput(
            f"not an IPv4 network: {error}", mend="write it as 10.86.1.0/24"
        ) from None
    if not network.is_private or not 16 <= network.prefixlen <= 29:
        raise InvalidInput(
            f"{network} does not serve as a lab's network",
            mend="give a private one of /16 to /29, such as 10.86.1.0/24",
        )


# Labs that people and the tests start by name, side by side on one host.
_KNOWN: Mapping[str, Mapping[str, Any]] = {
    "demo": {},
    "test": {"subnet": "10.86.2.0/24", "http_port": 8180, "ssh_port_base": 22100},
    "bench": {"subnet": "10.86.3.0/24", "http_port": 8280, "ssh_port_base": 22200},
    "faults": {"subnet": "10.86.4.0/24", "http_port": 8380, "ssh_port_base": 22300},
}


def settings_for(name: str, given: Mapping[str, Any] | None = None) -> Settings:
    """Return the settings of lab ``name``: ``given`` ones before those of the known labs.

    A lab of another name needs a subnet and ports of its own; the demo's are used
    when none are given, and ``up`` refuses what is taken.
    """
    values = {**_KNOWN.get(name, {}), **(given or {})}
    known = {field.name for field in fields(Settings)}
    if unknown := sorted(set(values) - known):
        raise InvalidInput(
            f"unknown settings of a lab: {', '.join(unknown)}",
            mend=f"known are {', '.join(sorted(known))}",
        )
    for key in ("root", "images"):
        if key in values:
            values[key] = Path(values[key])
    if "pool_size" in values:
        values["pool_size"] = parse_size(values["pool_size"])
    return Settings(**values)
