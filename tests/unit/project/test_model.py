"""The transaction against every history that hypothesis thinks of.

A history is a row of pushes, visits, deaths, full disks, reboots, recoveries. After each, the
promises of ``promises.py`` must hold. What is played and what is real: ``transactions.py``.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

import promises
from corpus.hosts import kernel
from corpus.project import reserve
from instants import Fault
from transactions import POINTS, World, wait

ASKED = int(os.environ.get("CORPUS_TEST_HISTORIES", "0"))
HISTORIES, LENGTH = (ASKED, 14) if ASKED else (25, 10)
REFUSED = ("gather_variables", "pre_install", "configure", "build", "post_build", "bundle")
ROLLED_BACK = ("backup", "deploy", "post_deploy", "post_install", "health")

NOT_CALLED = {
    "final": ("build", "post_build", "bundle"),
    "editable": ("bundle", "deploy", "backup"),
}

VERSIONS = st.fixed_dictionaries(
    {
        "migrates": st.booleans(),
        "starts": st.booleans(),
        "stop_before": st.sampled_from(["swap", "swap", "build"]),
        "mode": st.sampled_from(["cooking", "cooking", "final", "editable"]),
    }
)
FAILURES = st.sampled_from(["ill", "notify", *REFUSED, *ROLLED_BACK])
ONE_FAULT = st.builds(
    Fault,
    st.sampled_from(["death", "death", "death", "full", "overfull", "command"]),
    st.sampled_from(POINTS),
    st.integers(0, 40),
)
FAULTS = st.lists(ONE_FAULT, min_size=1, max_size=2, unique=True)
PERHAPS = st.one_of(st.just([]), FAULTS)


def ending_of(version: dict[str, object], fails: str) -> str:
    """Return how a deployment ends whose version fails in a phase."""
    mode = version["mode"]
    if fails in ("notify", *NOT_CALLED.get(str(mode), ())):
        return "live"
    if mode == "editable":
        return "refused" if fails in REFUSED[:2] else "rolled_back"
    if fails not in REFUSED:
        return "rolled_back"
    held = version["stop_before"] == "build" and mode == "cooking" and fails not in REFUSED[:2]
    return "rolled_back" if held else "refused"


class Transaction(RuleBasedStateMachine):
    """One project and what people, machines and disks do to it."""

    histories = steps = 0

    def __init__(self) -> None:
        super().__init__()
        memory = Path("/dev/shm")
        self.folder = Path(tempfile.mkdtemp(dir=memory if memory.is_dir() else None))
        self.world = World(self.folder)
        Transaction.histories += 1

    @initialize(live=st.sampled_from([True, True, True, False]))
    def begin(self, live: bool) -> None:
        if live:
            self.push({})

    @rule(version=VERSIONS)
    def push(self, version: dict[str, object]) -> None:
        sound = self.world.sound
        assert wait(self.world.push(self.world.version(**version))) == 0
        assert not sound or self.world.last == "live"

    @rule(version=VERSIONS, fails=FAILURES)
    def push_what_fails(self, version: dict[str, object], fails: str) -> None:
        sound = self.world.sound
        version |= {"ill": True} if fails == "ill" else {"fails": fails}
        assert wait(self.world.push(self.world.version(**version))) == 0
        if sound:
            assert self.world.last == ending_of(version, fails)

    @rule(version=VERSIONS, fails=st.one_of(st.just(""), FAILURES), faults=FAULTS)
    def push_under_a_fault(
        self, version: dict[str, object], fails: str, faults: list[Fault]
    ) -> None:
        version |= {"ill": True} if fails == "ill" else {"fails": fails}
        wait(self.world.push(self.world.version(**version), faults))

    @rule(one=VERSIONS, two=VERSIONS, faults=PERHAPS)
    def push_two(self, one: dict[str, object], two: dict[str, object], faults: list[Fault]) -> None:
        first, second = self.world.version(**one), self.world.version(**two)
        wait(*self.world.push_both(first, second, faults))

    @rule(version=VERSIONS, fails=st.sampled_from(ROLLED_BACK[1:]))
    def push_whose_way_back_fails(self, version: dict[str, object], fails: str) -> None:
        sound = self.world.sound
        version["mode"] = "cooking"
        self.world.machine.break_("restore")
        assert wait(self.world.push(self.world.version(**version, fails=fails))) == 0
        assert not sound or self.world.last == "rollback_failed"

    @rule(which=st.integers(0, 2), with_data=st.booleans(), faults=PERHAPS)
    def roll_back(self, which: int, with_data: bool, faults: list[Fault]) -> None:
        world = self.world
        if world.unfinished or not world.targets:
            return
        target = world.targets[which % len(world.targets)]
        sound = world.sound and not faults
        same = world.version_of(target).schema == world.version_of(world.live).schema
        kept = world.has_data_of(target)
        wait(world.roll_back(target, with_data, faults))
        if sound and with_data and not kept:
            assert world.last == "refused"
        elif sound:
            assert world.last == ("live" if with_data or same else "rolled_back")

    @rule(faults=PERHAPS)
    def recover(self, faults: list[Fault]) -> None:
        if self.world.unfinished:
            wait(self.world.recover(faults))

    @rule()
    def reboot(self) -> None:
        self.world.reboot()

    @rule()
    def mend(self) -> None:
        self.world.machine.mend()

    @rule()
    def visit(self) -> None:
        self.world.machine.visit(now=True)

    @invariant()
    def promises_are_kept(self) -> None:
        Transaction.steps += 1
        promises.keep(self.world)

    def teardown(self) -> None:
        """End well: mended and recovered, the project takes a good version."""
        try:
            self.world.machine.mend()
            assert wait(self.world.recover()) == 0
            promises.keep(self.world)
            assert self.world.sound
            self.push({"migrates": True})
            promises.keep(self.world)
            promises.only_what_is_kept(self.world)
        finally:
            self.world.unmount()
            shutil.rmtree(self.folder)


@pytest.fixture(autouse=True)
def _small_reserve(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have each history write less."""
    monkeypatch.setattr(reserve, "SIZE", 4096)


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts: needs root")
def test_no_history_breaks_a_promise(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    with kernel.private_bind(tmp_path, tmp_path):  # mounts of editable mode stay in here
        try_histories()
    with capsys.disabled():
        print(f" [{Transaction.histories} histories, {Transaction.steps} steps]", end="")


def try_histories() -> None:
    run_state_machine_as_test(
        Transaction,
        settings=settings(
            max_examples=HISTORIES,
            stateful_step_count=LENGTH,
            derandomize=not ASKED,
            database=None,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            phases=[Phase.generate],  # shrinking takes minutes, and so few steps are readable
        ),
    )


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    if os.geteuid() != 0:
        pytest.skip("mounts: needs root")
    with kernel.private_bind(tmp_path, tmp_path):
        made = World(tmp_path)
        for _ in range(2):
            wait(made.push(made.version()))
        yield made


@pytest.mark.parametrize("mode", ["cooking", "editable"])
@pytest.mark.parametrize("point", "hold data dump swap bind start health live".split())
def test_a_reboot_in_the_middle(world: World, point: str, mode: str) -> None:
    """systemd starts the services of whatever lies in run/ then, before anything is put back."""
    fault = Fault("death", point, 3)
    wait(world.push(world.version(mode=mode), [fault]))
    world.reboot()
    wait(world.recover())
    assert not world.unfinished
    world.machine.visit(now=True)
    promises.keep(world)


def test_a_reboot_while_a_rollback_reloads_data(world: World) -> None:
    wait(world.roll_back(world.targets[0], True, [Fault("death", "revert", 3)]))
    world.reboot()
    wait(world.recover())
    assert not world.unfinished
    world.machine.visit(now=True)
    promises.keep(world)
