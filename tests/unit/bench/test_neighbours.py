"""What the bench says of a neighbour that is too loud."""

from __future__ import annotations

from bench import neighbours


def test_a_bomb_is_held_against_plain_load() -> None:
    found = {"processes": [0.02, 0.012, 0.03], "disk": [0.009, 0.04, 0.011]}
    made = {one.name: one for one in neighbours.figures([0.001], [0.004, 0.003, 0.005], found)}
    loud, low = made["neighbours.processes.p99"], made["neighbours.disk.p99"]
    assert (loud.value, loud.reference_value, loud.met) == (0.02, 0.004, False)
    assert (low.value, low.met) == (0.011, True)
    assert made["neighbours.quiet.p99"].met is None
