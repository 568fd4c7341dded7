from __future__ import annotations

from pathlib import Path

import pytest

from corpus.lab.settings import Settings, settings_for
from corpus.model.errors import InvalidInput


def test_the_known_labs_stand_side_by_side() -> None:
    labs = [settings_for(name) for name in ("demo", "test", "bench", "faults")]
    for one in labs:
        for other in labs:
            if one is not other:
                assert not one.network.overlaps(other.network)
                assert one.http_port != other.http_port
                assert one.ssh_port_last < other.ssh_port_base or (
                    other.ssh_port_last < one.ssh_port_base
                )


def test_settings_survive_their_record() -> None:
    settings = settings_for("demo", {"pool_size": "5G", "root": "/x"})
    assert settings.pool_size == 5 << 30
    assert settings.root == Path("/x")
    assert settings_for("demo", settings.as_dict()) == settings


@pytest.mark.parametrize(
    "given",
    [
        {"subnet": "10.86.1.1/24"},
        {"subnet": "8.8.8.0/24"},
        {"subnet": "10.0.0.0/8"},
        {"subnet": "x"},
        {"http_port": 0},
        {"http_port": 22050},
        {"ssh_port_base": 65500},
        {"pool_size": "1G"},
        {"pool_size": "much"},
        {"colour": "red"},
    ],
)
def test_what_does_not_serve_is_refused_with_a_way_out(given: dict[str, object]) -> None:
    with pytest.raises(InvalidInput) as caught:
        settings_for("demo", given)
    assert caught.value.mend


def test_addresses_follow_from_the_subnet() -> None:
    settings = Settings(subnet="10.86.7.0/24")
    assert str(settings.gateway) == "10.86.7.1"
    assert str(settings.node_address) == "10.86.7.2"
