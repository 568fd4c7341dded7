"""What describes a peer comes from the other side: nothing but what is expected passes."""

from __future__ import annotations

from typing import Any

import pytest

from corpus.model import peer
from corpus.model.errors import InvalidInput

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI" + "b" * 43
ID = "11111111-2222-4333-8444-555555555555"
STAGING = {
    "project": "demo", "environment": ID, "platform": "staging", "host_key": KEY,
    "signing_key": f"{KEY} root@somewhere", "fetch_key": None,
    "address": "10.88.0.1", "port": 22001,
}  # fmt: skip


def test_it_comes_back_as_it_was_told() -> None:
    found = peer.parse(STAGING)
    assert found.signing_key == KEY
    assert peer.parse(found.as_dict()) == found


@pytest.mark.parametrize(
    "change",
    [
        {"project": "../x"},
        {"project": 1},
        {"project": "corpus-releases"},
        {"environment": "../../etc"},
        {"environment": None},
        {"platform": "dev"},
        {"platform": "everything"},
        {"host_key": None},
        {"host_key": "ssh-rsa AAAA"},
        {"host_key": f'command="sh" {KEY}'},
        {"host_key": f"{KEY}\n{KEY}"},
        {"host_key": f"{KEY} a\r\nb"},
        {"host_key": KEY + "b"},
        {"host_key": [KEY]},
        {"signing_key": None},
        {"signing_key": f"{KEY} " + "x" * 2000},
        {"fetch_key": "x"},
        {"address": "-oProxyCommand=sh"},
        {"address": "a b"},
        {"address": "fe80::1%$(sh)"},
        {"address": "host\n"},
        {"address": 7},
        {"address": ""},
        {"port": 0},
        {"port": 65536},
        {"port": "22"},
        {"port": True},
        {"port": 22.0},
        {"platform": "prod"},
        {"extra": 1},
        {"a\nb" * 1000: 1},
    ],
    ids=lambda change: ascii(change)[:40],
)
def test_what_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput) as caught:
        peer.parse({**STAGING, **change})
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize("given", [None, [], "x", 1, {}])
def test_what_is_no_mapping_of_values(given: object) -> None:
    with pytest.raises(InvalidInput):
        peer.parse(given)


@pytest.mark.parametrize("address", ["10.0.0.1", "2001:db8::1", "node1.example.org"])
def test_addresses(address: str) -> None:
    assert peer.parse({**STAGING, "address": address}).address == address
