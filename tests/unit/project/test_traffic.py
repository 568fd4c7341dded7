"""Traffic: held and admitted by rules, drained by what the kernel counts."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from corpus.commands import holding
from corpus.hosts.fake import Fake
from corpus.project import traffic
from projects import place_at

HEAD = "  sl  local_address rem_address   st tx_queue rx_queue\n"


def row(local: str, remote: str, state: str = "01") -> str:
    return f"   0: {local} {remote} {state} 00000000:00000000 00:00000000\n"


@pytest.mark.parametrize(
    ("rows", "count"),
    [
        ("", 0),
        (row("0A58000A:1F90", "0158000A:C001"), 1),
        (row("0A58000A:1F90", "0158000A:C001") * 3, 3),
        (row("0A58000A:1F91", "0158000A:C001"), 0),  # another port
        (row("0158000A:C001", "0A58000A:1F90"), 0),  # the port is the other side's
        (row("0A58000A:1F90", "00000000:0000", "0A"), 0),  # listening
        (row("0A58000A:1F90", "0158000A:C001", "06"), 0),  # ended
        (row("0100007F:1F90", "0100007F:C001"), 0),  # the health check's own
        (row("0" * 24 + "01000000:1F90", "0" * 24 + "01000000:C001"), 0),  # ::1
        (row("0" * 24 + "01000000:1F90", "B80D0120" + "0" * 24 + ":C001"), 1),
        (row("0" * 16 + "FFFF00000A58000A:1F90", "0" * 16 + "FFFF00000158000A:C001"), 1),
        (row("0" * 16 + "FFFF00000100007F:1F90", "0" * 16 + "FFFF00000100007F:C001"), 0),
    ],
)
def test_connections_from_elsewhere_are_counted(rows: str, count: int) -> None:
    assert holding.parse_connections(HEAD + rows, [8080]) == count


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server


def test_the_kernels_own_table_is_read(listener: socket.socket) -> None:
    port = listener.getsockname()[1]
    with socket.create_connection(("127.0.0.1", port)):
        text = Path("/proc/net/tcp").read_text()
        assert f":{port:04X}" in text
        assert holding.parse_connections(text, [port]) == 0


def test_nothing_to_drain() -> None:
    assert traffic.drain([], 5) == 0


def test_draining_gives_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(traffic, "_open", lambda _ports: 2)
    assert traffic.drain([80], 0.02) == 2
    left = iter([2, 1, 0])
    monkeypatch.setattr(traffic, "_open", lambda _ports: next(left))
    assert traffic.drain([80], 5) == 0


def test_rules_only_where_there_is_a_firewall(tmp_path: Path) -> None:
    fake = Fake()
    place = place_at(tmp_path, fake)
    traffic.hold(place, [80])
    traffic.admit(place, [80])
    assert fake.commands == []
    walled = replace(place, firewall=True)
    traffic.hold(walled, [])
    assert fake.commands == []
    traffic.hold(walled, [80])
    traffic.admit(walled, [80])
    assert fake.commands == [("nft", "-f", "-")] * 2


def test_admitting_what_was_never_held_is_no_error() -> None:
    text = holding.admit([80, 443])
    for port in (80, 443):
        added, deleted = f"add element inet corpus held {{ {port} }}", f"held {{ {port} }}"
        assert text.index(added) < text.rindex(deleted)
        assert text.count(f"delete element inet corpus held {{ {port} }}") == 1
