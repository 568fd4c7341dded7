"""Networks as people write them: an IPv4 address, or a network such as ``192.0.2.0/24``."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Network, collapse_addresses

from corpus.model.errors import InvalidInput

ALL = "0.0.0.0/0"


def parse_network(text: str) -> IPv4Network:
    """Return the network; an address is one of its own. Raises InvalidInput."""
    try:
        return IPv4Network(str(text).strip())
    except ValueError as error:
        raise InvalidInput(
            f"not an IPv4 network: {str(text)!r:.60} ({error})",
            mend="write 192.0.2.0/24, or an address; environments have no IPv6",
        ) from None


def collapse(networks: Iterable[str]) -> list[str]:
    """Return the same addresses as few networks of which none lies in another, sorted."""
    return [str(network) for network in collapse_addresses(map(parse_network, networks))]
