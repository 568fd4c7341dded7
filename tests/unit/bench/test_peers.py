"""What the bench says of a peer that was not there, and of goals."""

from __future__ import annotations

from typing import Any

from bench import figures, peers, scale


def look(pss: int, charged: int) -> dict[str, int]:
    return {"pss": pss, "charged": charged, "monitor": 5_000_000, "deploy": 0}


def found(**more: Any) -> dict[str, Any]:
    return {
        "seconds": {"corpus": {what: [0.5, 0.4, 0.6] for what in peers.TIMES}},
        "bytes": {"corpus": [look(80_000_000, 60_000_000)]},
        "daemon": 0,
        "features": {},
        **more,
    }


def test_without_lxd_nothing_is_said_of_it_and_no_goal_is_met_or_missed() -> None:
    made = peers.figures(found(), "")
    assert len(made) == len(peers.TIMES) + 2
    for figure in made:
        assert (figure.reference, figure.reference_value) == ("LXD, not measured", None)
        assert (figure.met, figure.ratio) == (None, None)
        assert figure.value > 0
    assert "not measured" in figures.table(made)


def test_creating_is_held_against_half_of_lxds_time_and_the_rest_against_all_of_it() -> None:
    theirs = {what: [0.7] for what in peers.TIMES}
    given = found(daemon=90_000_000)
    given["seconds"]["lxd"] = theirs
    given["bytes"]["lxd"] = [look(70_000_000, 70_000_000)]
    met = {figure.name: figure.met for figure in peers.figures(given, "5.0.2")}
    assert met["peers.create"] is False
    assert met["peers.stop"] is True
    assert met["peers.idle.pss"] is None


def test_what_grows_with_the_number_misses_its_goal() -> None:
    looks = {"list": 0.01, "inspect": 0.002, "usage": 0.0005}
    given: dict[str, Any] = {
        "create": [0.5] * 45 + [0.6] * 5,
        "looks": {"1": looks, "50": {**looks, "list": 0.06, "usage": 0.001}},
        "alone": ([80_000_000], 0.01),
        "together": ([70_000_000] * 50, 0.2),
        "halt": 3.0,
        "boot": 9.0,
        "boot to SSH": 12.0,
        "boot to push": 12.0,
        "destroy": [0.5] * 40 + [0.2] * 10,
    }
    met = {figure.name: figure.met for figure in scale.figures(given)}
    assert met == {
        "scale.create.50": True,
        "scale.list.50": False,
        "scale.inspect.50": True,
        "scale.usage.50": True,
        "scale.idle.pss.50": None,
        "scale.idle.cpu.50": None,
        "scale.boot.50": None,
        "scale.halt.50": None,
        "scale.destroy.50": False,
    }
