"""Network interfaces, kernel settings and sockets: iproute2 and sysctl(8)."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping


def add_bridge(name: str) -> list[str]:
    """Return the command that makes a bridge that forwards at once, without spanning tree."""
    return ["ip", "link", "add", "name", name, "type", "bridge", "stp_state", "0",
            "forward_delay", "0"]  # fmt: skip


def hardware_address(address: str) -> str:
    """Return the locally administered hardware address that belongs to an IPv4 address."""
    parts = [int(part) for part in address.split(".")]
    return ":".join(f"{part:02x}" for part in (0x02, 0xC0, *parts))


def set_hardware_address(name: str, address: str) -> list[str]:
    """Return the command that fixes an interface's hardware address.

    A bridge without one has the lowest of its ports, another with each port that comes or goes:
    its neighbours then speak to an address that is nobody's until they ask again.
    """
    return ["ip", "link", "set", "dev", name, "address", address]


def delete_link(name: str) -> list[str]:
    """Return the command that removes an interface."""
    return ["ip", "link", "delete", "dev", name]


def set_address(name: str, address: str) -> list[str]:
    """Return the command that gives ``address`` (with its prefix length) to an interface."""
    return ["ip", "address", "replace", address, "dev", name]


def up(name: str) -> list[str]:
    """Return the command that switches an interface on."""
    return ["ip", "link", "set", "dev", name, "up"]


def down(name: str) -> list[str]:
    """Return the command that switches an interface off; its other end loses the carrier."""
    return ["ip", "link", "set", "dev", name, "down"]


def forget_neighbours(name: str) -> list[str]:
    """Return the command that has an interface ask anew for its neighbours' addresses.

    A neighbour that did not answer counts as out of reach for some seconds more.
    """
    return ["ip", "neighbour", "flush", "dev", name]


def default_routes() -> list[str]:
    """Return the command that prints the IPv4 default routes as JSON."""
    return ["ip", "-4", "-json", "route", "show", "default"]


def parse_default_devices(text: str) -> list[str]:
    """Return the interfaces of the default routes, best first."""
    return [route["dev"] for route in json.loads(text or "[]") if "dev" in route]


def parse_default_gateways(text: str) -> list[str]:
    """Return the routers of the default routes, best first."""
    return [route["gateway"] for route in json.loads(text or "[]") if "gateway" in route]


def addresses() -> list[str]:
    """Return the command that prints this machine's IPv4 addresses as JSON."""
    return ["ip", "-4", "-json", "address", "show"]


def parse_addresses(text: str) -> dict[str, str]:
    """Return each address of this machine and the interface that has it."""
    return {
        info["local"]: link["ifname"]
        for link in json.loads(text or "[]")
        for info in link.get("addr_info", ())
    }


def sysctl(settings: Mapping[str, int]) -> list[str]:
    """Return the command that sets kernel settings; ``/`` separates, names may hold dots.

    It fails where one cannot be set, and has set all others.
    """
    return ["sysctl", "--quiet", "--write", *(f"{key}={value}" for key, value in settings.items())]


def listeners(protocol: str = "tcp", *, processes: bool = True) -> list[str]:
    """Return the command that prints the listening sockets (tcp, udp), with their ``processes``.

    Those are sought among all of the machine: it takes the longer the more run.
    """
    with_names = ["--processes"] if processes else []
    return ["ss", "--no-header", "--listening", f"--{protocol}", "--numeric", *with_names]


def connections(address: str) -> list[str]:
    """Return the command that prints the TCP connections of this machine to an address."""
    return ["ss", "--no-header", "--tcp", "--numeric", "state", "established",
            "dst", address]  # fmt: skip


def parse_listeners(text: str) -> dict[int, str]:
    """Return each listening port and the name of a process that listens (or ``a process``)."""
    found: dict[int, str] = {}
    for line in text.splitlines():
        fields = line.split()
        if len(fields) < 4 or not fields[3].rpartition(":")[2].isdigit():
            continue
        name = re.search(r'\(\("([^"]+)"', line)
        found[int(fields[3].rpartition(":")[2])] = name[1] if name else "a process"
    return found


def resolve(name: str) -> list[str]:
    """Return the command that prints the IPv4 addresses of a host name (getent(1))."""
    return ["getent", "ahostsv4", name]


def parse_resolved(text: str) -> str | None:
    """Return the first address that ``resolve`` printed; None when there is none."""
    words = text.split()
    return words[0] if words else None
