"""What a lab is made with: directories, subnet, ports, its nodes and their pools."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Any

from corpus.model.errors import InvalidInput
from corpus.model.size import format_size, parse_size

MINIMUM_POOL = 2 << 30
MOST_NODES = 9  # the number ends the name of an interface, which has 15 characters
FILESYSTEMS = {"auto": "btrfs", "quota": "btrfs", "image": "btrfs", "plain": "ext4"}
"""For each kind of storage that a node knows, the filesystem that it finds in its pool."""
ENVIRONMENTS = 88  # the environments of node1 are in 10.88.0.0/16, those of node2 in 10.89.0.0/16


@dataclass(frozen=True)
class Settings:
    """The settings of one lab; each has a default that fits the demo."""

    root: Path = Path("/var/lib/corpus-lab")
    """The directory that every lab has its own directory under."""
    images: Path = Path("/var/cache/corpus/images")
    """The cache of images, shared by all labs and kept when a lab is removed."""
    subnet: str = "10.86.1.0/24"
    """The IPv4 network between the host and the lab's nodes."""
    nodes: int = 1
    """How many compute nodes; more may be added to a lab later, none taken away."""
    storage: str = "auto"
    """The kind of each node's pool, separated by commas; the last one is that of the rest."""
    http_port: int = 8080
    """The port on the host's loopback that leads to the first node's HTTP; then the others'."""
    ssh_port_base: int = 22000
    """The first of the loopback ports that lead to the same ports of the first node."""
    ssh_ports: int = 100
    """How many they are for each node: one for each environment."""
    pool_size: int = 24 << 30
    """Bytes of each node's pool; its file is sparse: only what is written takes space."""

    def __post_init__(self) -> None:
        _check_subnet(self.subnet)
        if not 1 <= self.nodes <= min(MOST_NODES, self.network.num_addresses - 3):
            raise InvalidInput(
                f"a lab in {self.network} cannot have {self.nodes} nodes",
                mend=f"give 1 to {MOST_NODES}, and a subnet that holds them",
            )
        if unknown := sorted(set(self.storage.split(",")) - set(FILESYSTEMS)):
            raise InvalidInput(
                f"not a kind of storage: {', '.join(unknown)!r:.80}",
                mend=f"known are {', '.join(FILESYSTEMS)}",
            )
        self._check_ports()
        if self.pool_size < MINIMUM_POOL:
            raise InvalidInput(
                f"a pool of {format_size(self.pool_size)} is too small",
                mend=f"give {format_size(MINIMUM_POOL)} or more",
            )

    def _check_ports(self) -> None:
        http, ssh = self.http_ports, self.all_ssh_ports
        good = range(1, 65536)
        if not ssh or any(port not in good for ports in (http, ssh) for port in ports):
            raise InvalidInput(
                f"ports out of range: {_span(http)}, {_span(ssh)}",
                mend="choose ports from 1 to 65535",
            )
        if set(http) & set(ssh):
            raise InvalidInput(
                f"port {_span(http)} is for HTTP and within the SSH ports too",
                mend=f"choose an HTTP port outside {_span(ssh)}",
            )

    @property
    def http_ports(self) -> range:
        """The loopback ports of HTTP, one for each node."""
        return range(self.http_port, self.http_port + self.nodes)

    @property
    def all_ssh_ports(self) -> range:
        """The loopback ports of SSH, of all nodes."""
        return range(self.ssh_port_base, self.ssh_port_base + self.nodes * self.ssh_ports)

    @property
    def members(self) -> list[Member]:
        """The nodes."""
        return [Member(self, number) for number in range(1, self.nodes + 1)]

    @property
    def network(self) -> IPv4Network:
        """The subnet."""
        return IPv4Network(self.subnet)

    @property
    def gateway(self) -> IPv4Address:
        """The host's address on the lab's bridge; the nodes' follow it."""
        return self.network[1]

    def as_dict(self) -> dict[str, Any]:
        """Return the settings as plain values, for the lab's record."""
        return {
            key: str(value) if isinstance(value, Path) else value
            for key, value in asdict(self).items()
        }


@dataclass(frozen=True)
class Member:
    """One node of a lab: what follows from the lab's settings and its number, from 1."""

    lab: Settings
    number: int

    @property
    def name(self) -> str:
        """Its host name."""
        return f"node{self.number}"

    @property
    def address(self) -> IPv4Address:
        """Its address on the lab's bridge."""
        return self.lab.gateway + self.number

    @property
    def http_port(self) -> int:
        """The host's loopback port that leads to its HTTP."""
        return self.lab.http_ports[self.number - 1]

    @property
    def ssh_ports(self) -> range:
        """The host's loopback ports that lead to the same ports of it."""
        count = self.lab.ssh_ports
        return self.lab.all_ssh_ports[(self.number - 1) * count : self.number * count]

    @property
    def environments(self) -> IPv4Network:
        """The network of its environments, another for each node."""
        return IPv4Network(f"10.{ENVIRONMENTS + self.number - 1}.0.0/16")

    @property
    def storage(self) -> str:
        """The kind of its pool."""
        kinds = self.lab.storage.split(",")
        return kinds[min(self.number, len(kinds)) - 1]


def _span(ports: range) -> str:
    return f"{ports[0]}-{ports[-1]}" if len(ports) > 1 else str(ports.start)


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


# Labs that people and the tests start by name, side by side on one host, of four nodes at most.
_KNOWN: Mapping[str, Mapping[str, Any]] = {
    "demo": {},
    "test": {"subnet": "10.86.2.0/24", "http_port": 8180, "ssh_port_base": 22400},
    "bench": {"subnet": "10.86.3.0/24", "http_port": 8280, "ssh_port_base": 22800},
    "faults": {"subnet": "10.86.4.0/24", "http_port": 8380, "ssh_port_base": 23200},
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
