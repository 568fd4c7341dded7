"""A migration's ends are killed at each step: never do both nodes serve, and then one does."""

from __future__ import annotations

from functools import partial

from corpus.model.errors import CorpusError
from corpus.node.records import Stage
from unit.node.between import BOOTED, CALLED, ID, Bench, Link, both, check_ended, each_step, move
from unit.node.between import bench as bench
from unit.node.killing import forked


def test_the_mover_is_killed_at_each_step(bench: Bench) -> None:
    each_step(bench, "the mover died", lambda step: forked(partial(move, bench.folder, step)))


def test_the_receiver_is_killed_at_each_step(bench: Bench) -> None:
    def killed(step: int) -> bool:
        Link.step = step
        try:
            move(bench.folder)
        except CorpusError:
            if both(bench.folder)[0].records.get(ID).stage is Stage.READY:  # put back at once
                check_ended(bench.folder, f"the receiver died before step {step}")
            return True
        return False

    each_step(bench, "the receiver died", killed)


def test_the_receiver_is_killed_at_each_step_and_the_link_is_cut(bench: Bench) -> None:
    def killed(step: int) -> bool:
        Link.step, Link.cut = step, True
        try:
            move(bench.folder)
        except CorpusError:
            return True
        return False

    each_step(bench, "the receiver died, and the link was cut,", killed, CALLED, 2)


def test_both_are_killed_at_each_step_of_the_receiver(bench: Bench) -> None:
    def killed(step: int) -> bool:
        Link.step, Link.fatal = step, True
        return forked(partial(move, bench.folder))

    each_step(bench, "both died", killed, BOOTED, 3)


def test_both_are_killed_at_each_step_of_the_mover(bench: Bench) -> None:
    def killed(step: int) -> bool:
        Link.fatal = True
        return forked(partial(move, bench.folder, step))

    each_step(bench, "both died", killed, BOOTED, 2)
