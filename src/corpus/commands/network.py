"""Interfaces with their MTU, and the tables of nft(8) that others made."""

from __future__ import annotations

import json
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
