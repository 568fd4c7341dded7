"""Interfaces with their MTU, and the tables of nft(8) that others made."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Interface


def set_mtu(name: str, mtu: int) -> list[str]:
    """Return the command that sets the largest packet of an interface, in bytes."""
    return ["ip", "link", "set", "dev", name, "mtu", str(mtu)]


@dataclass(frozen=True)
class Link:
    """An interface, its MTU in bytes and its IPv4 addresses."""

    name: str
    mtu: int
    addresses: tuple[IPv4Interface, ...]


def parse_links(text: str) -> list[Link]:
    """Return the interfaces that ``ip -4 -json address show`` printed."""
    return [
        Link(
            entry["ifname"],
            entry["mtu"],
            tuple(
                IPv4Interface((found["local"], found["prefixlen"]))
                for found in entry.get("addr_info", ())
                if "local" in found
            ),
        )
        for entry in json.loads(text or "[]")
        if entry
    ]


def list_tables() -> list[str]:
    """Return the command that lists nft's tables, as JSON."""
    return ["nft", "--json", "list", "tables"]


def parse_tables(text: str) -> list[tuple[str, str]]:
    """Return the family and name of each table."""
    found = (entry.get("table") for entry in json.loads(text or "{}").get("nftables", []))
    return [(table["family"], table["name"]) for table in found if table]


def list_chains() -> list[str]:
    """Return the command that lists nft's chains, as JSON."""
    return ["nft", "--json", "list", "chains"]


def parse_dropping(text: str, hook: str) -> list[str]:
    """Return the chains of ``hook`` whose policy is to drop, as ``family table chain``."""
    found = (entry.get("chain") for entry in json.loads(text or "{}").get("nftables", []))
    return [
        f"{chain['family']} {chain['table']} {chain['name']}"
        for chain in found
        if chain and chain.get("hook") == hook and chain.get("policy") == "drop"
    ]


def delete_table(family: str, name: str) -> list[str]:
    """Return the command that removes one table of nft."""
    return ["nft", "delete", "table", family, name]


def ports(bridge: str) -> list[str]:
    """Return the command that prints the interfaces of a bridge, as JSON."""
    return ["ip", "-json", "link", "show", "master", bridge]


def parse_ports(text: str) -> list[str]:
    """Return the names of the interfaces that ``ports`` printed."""
    return [entry["ifname"] for entry in json.loads(text or "[]") if entry]


def link(name: str) -> list[str]:
    """Return the command that prints one interface, as JSON."""
    return ["ip", "-json", "link", "show", "dev", name]


def parse_hardware_address(text: str) -> str:
    """Return the hardware address in what ``link`` printed; empty when there is none."""
    return next((entry.get("address", "") for entry in json.loads(text or "[]") if entry), "")


def add_namespace(name: str) -> list[str]:
    """Return the command that makes an empty network of that name (ip-netns(8))."""
    return ["ip", "netns", "add", name]


def within(name: str, argv: Sequence[str]) -> list[str]:
    """Return the command that runs ``argv`` in the network ``name``."""
    return ["ip", "netns", "exec", name, *argv]


def delete_namespace(name: str) -> list[str]:
    """Return the command that removes a network of that name."""
    return ["ip", "netns", "delete", name]


def show_table(family: str, name: str) -> list[str]:
    """Return the command that prints one table, without its counters."""
    return ["nft", "--stateless", "list", "table", family, name]


_SET = re.compile(r"^\t(?:set|map) .*?^\t}$", re.MULTILINE | re.DOTALL)
_ELEMENTS = re.compile(r"^\t\telements = {.*?}\n", re.MULTILINE | re.DOTALL)


def steady(text: str) -> str:
    """Return the text of a table without the elements that the traffic adds to dynamic sets."""

    def without(found: re.Match[str]) -> str:
        return _ELEMENTS.sub("", found[0]) if "dynamic" in found[0] else found[0]

    return _SET.sub(without, text)
