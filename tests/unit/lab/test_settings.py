from __future__ import annotations

from pathlib import Path

import pytest

from corpus.lab.settings import Settings, settings_for
from corpus.model.errors import InvalidInput


def test_the_known_labs_stand_side_by_side() -> None:
    labs = [settings_for(name, {"nodes": 4}) for name in ("demo", "test", "bench", "faults")]
    for one in labs:
        for other in labs:
            if one is not other:
                assert not one.network.overlaps(other.network)
                ports = ({*lab.http_ports, *lab.all_ssh_ports} for lab in (one, other))
                assert not set.intersection(*ports)


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
        {"http_port": 21999, "nodes": 2},
        {"ssh_ports": 0},
        {"nodes": 0},
        {"nodes": 10},
        {"nodes": 6, "subnet": "10.86.1.0/29"},
        {"storage": "quota,paper"},
        {"storage": ""},
        {"ssh_port_base": 65500},
        {"ssh_port_base": 65400, "nodes": 2},
        {"pool_size": "1G"},
        {"pool_size": "much"},
        {"colour": "red"},
    ],
)
def test_what_does_not_serve_is_refused_with_a_way_out(given: dict[str, object]) -> None:
    with pytest.raises(InvalidInput) as caught:
        settings_for("demo", given)
    assert caught.value.mend


def test_what_a_node_has_follows_from_its_number() -> None:
    settings = Settings(subnet="10.86.7.0/24", nodes=3, storage="quota,plain")
    assert str(settings.gateway) == "10.86.7.1"
    shown = [
        (node.name, str(node.address), node.http_port, node.ssh_ports, node.storage)
        for node in settings.members
    ]
    assert shown == [
        ("node1", "10.86.7.2", 8080, range(22000, 22100), "quota"),
        ("node2", "10.86.7.3", 8081, range(22100, 22200), "plain"),
        ("node3", "10.86.7.4", 8082, range(22200, 22300), "plain"),
    ]
    assert len({node.environments for node in settings.members}) == 3
