"""The nftables rules that hold an environment's inbound traffic during a deployment.

A held port drops the first packet of every new connection from outside. The proxy tries
again until the port is admitted, so its client waits instead of failing. Connections that
exist go on; the loopback (health checks) is never held. Where a held port has an entry in
``pages``, new connections are led to that port instead: somebody answers there.
"""

from __future__ import annotations

from collections.abc import Sequence

TABLE = """\
add table inet corpus
add set inet corpus held { type inet_service; }
add map inet corpus pages { type inet_service : inet_service; }
add chain inet corpus nat { type nat hook prerouting priority -100; policy accept; }
flush chain inet corpus nat
add rule inet corpus nat iif != lo tcp dport @held redirect to :tcp dport map @pages
add chain inet corpus input { type filter hook input priority -10; policy accept; }
flush chain inet corpus input
add rule inet corpus input iif != lo tcp dport @held tcp flags & (syn | ack) == syn drop
"""


def apply() -> list[str]:
    """Return the command that applies rules from its standard input, all or none."""
    return ["nft", "-f", "-"]


def within(pid: int, argv: Sequence[str]) -> list[str]:
    """Return ``argv`` such that it runs in the network of the process ``pid``."""
    return ["nsenter", f"--net=/proc/{pid}/ns/net", "--", *argv]


def hold(ports: Sequence[int]) -> str:
    """Return the rules that hold ``ports``, whatever was held before."""
    return TABLE + "".join(f"add element inet corpus held {{ {port} }}\n" for port in ports)


def admit(ports: Sequence[int]) -> str:
    """Return the rules that admit ``ports``, held or not."""
    return hold(ports) + "".join(
        f"delete element inet corpus held {{ {port} }}\n" for port in ports
    )


def answer(ports: Sequence[int], page: int) -> str:
    """Return the rules that lead new connections to held ``ports`` to the port ``page``."""
    return "".join(f"add element inet corpus pages {{ {port} : {page} }}\n" for port in ports)


def forget_page(port: int) -> str:
    """Return the rule that undoes ``answer`` for a port; it fails when it was not there."""
    return f"delete element inet corpus pages {{ {port} }}\n"


def parse_connections(text: str, ports: Sequence[int]) -> int:
    """Count the connections to ``ports`` from elsewhere in /proc/net/tcp or tcp6: those that
    are established (01) or about to be (03)."""
    wanted = set(ports)
    count = 0
    for line in text.splitlines()[1:]:
        _, local, remote, state, *_ = line.split()
        address = remote.rpartition(":")[0]
        if state in ("01", "03") and int(local.rpartition(":")[2], 16) in wanted:
            count += not (address.endswith("7F") or address == "0" * 24 + "01000000")
    return count
