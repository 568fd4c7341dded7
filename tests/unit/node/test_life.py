"""Restart, freeze, start at boot in order, and what a dry run tells of it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from corpus.hosts.fake import Fake
from corpus.model.errors import CommandFailed, Conflict, InvalidInput, NotFound
from corpus.node import boot
from corpus.node.__main__ import main
from corpus.node.context import Node
from corpus.node.environments import (
    console,
    guest,
    lifecycle,
    listing,
    making,
    plans,
    removal,
    stillness,
    traffic,
)
from corpus.node.records import Route
from unit.node import nodes
from unit.node.nodes import THIRD, host_of


@pytest.fixture
def node(tmp_path: Path) -> Node:
    made, _ = nodes.make(tmp_path)
    making.create(made, id=nodes.ID, wait=0)
    mark(made)
    return made


def mark(node: Node) -> None:
    """Let ``words`` begin here; what was before decides about the pretended guests' state."""
    node.host.run(["mark"])


def words(node: Node) -> list[str]:
    """The LXC commands since the mark that changed something."""
    said = [list(command) for command in host_of(node).commands]
    after = said[len(said) - said[::-1].index(["mark"]) :]
    found = [word for command in after for word in command if word.startswith("lxc-")]
    return [word for word in found if word != "lxc-info"]


def test_restart_stops_and_starts_also_what_is_stopped(node: Node) -> None:
    assert traffic.restart(node, nodes.ID).wanted
    assert words(node) == ["lxc-stop", "lxc-start"]
    lifecycle.stop(node, nodes.ID)
    mark(node)
    assert traffic.restart(node, nodes.ID).wanted is True
    assert words(node) == ["lxc-start"]


def test_frozen_is_shown_and_may_be_asked_again(node: Node) -> None:
    for _ in range(2):
        lifecycle.freeze(node, nodes.ID)
        assert listing.inspect(node, nodes.ID)["state"] == "frozen"
    for _ in range(2):
        lifecycle.thaw(node, nodes.ID)
        assert listing.inspect(node, nodes.ID)["state"] == "running"
    assert words(node) == ["lxc-freeze", "lxc-unfreeze"]


@pytest.mark.parametrize(
    ("way", "last"),
    [
        (lifecycle.stop, ["lxc-unfreeze", "lxc-stop"]),
        (lifecycle.start, ["lxc-unfreeze"]),
        (traffic.restart, ["lxc-unfreeze", "lxc-stop", "lxc-start"]),
        (removal.destroy, ["lxc-unfreeze", "lxc-stop"]),
    ],
)
def test_a_frozen_one_is_thawed_first(node: Node, way: object, last: list[str]) -> None:
    lifecycle.freeze(node, nodes.ID)
    mark(node)
    way(node, nodes.ID)  # type: ignore[operator]
    assert words(node) == last


def test_what_does_not_run_is_not_frozen_and_what_is_frozen_runs_nothing(node: Node) -> None:
    lifecycle.freeze(node, nodes.ID)
    with pytest.raises(Conflict, match="is frozen"):
        lifecycle.execute(node, nodes.ID, ["true"])
    lifecycle.stop(node, nodes.ID)
    for call in (lifecycle.freeze, lifecycle.thaw, plans.freeze, plans.thaw):
        with pytest.raises(Conflict, match="is stopped"):
            call(node, nodes.ID)


def test_one_that_does_not_come_to_rest_goes_on(node: Node) -> None:
    host_of(node).prepare_failure("lxc-freeze", err="busy")
    with pytest.raises(CommandFailed, match="busy"):
        lifecycle.freeze(node, nodes.ID)
    assert words(node) == ["lxc-freeze", "lxc-unfreeze"]


def test_still_leaves_it_as_it_was(node: Node) -> None:
    record = node.records.get(nodes.ID)
    with pytest.raises(KeyError), stillness.still(node, record):
        raise KeyError
    assert listing.inspect(node, nodes.ID)["state"] == "running"
    lifecycle.freeze(node, nodes.ID)
    with stillness.still(node, record):
        pass
    assert listing.inspect(node, nodes.ID)["state"] == "frozen"


def test_what_a_copy_left_frozen_goes_on_unless_somebody_wants_it_frozen(node: Node) -> None:
    record = node.records.get(nodes.ID)
    for wish, state in ((None, "running"), (lifecycle.freeze, "frozen")):
        guest.halted(node.settings, nodes.ID).touch()
        lifecycle.hold_still(node, record)  # here it was killed
        if wish:
            wish(node, nodes.ID)
        stillness.wake(node, record)
        assert listing.inspect(node, nodes.ID)["state"] == state
        assert not guest.halted(node.settings, nodes.ID).exists()


def test_a_name_is_refused_and_the_way_told(node: Node) -> None:
    with pytest.raises(Conflict, match=r"its type and its id(.|\n)*corpus_node\.route"):
        lifecycle.rename(node, nodes.ID, "shop")
    with pytest.raises(NotFound):
        lifecycle.rename(node, nodes.OTHER, "shop")


@pytest.mark.parametrize(
    "given", [{"on": "yes"}, {"order": 1001}, {"order": True}, {"order": "first"}]
)
def test_autostart_is_checked(node: Node, given: dict[str, object]) -> None:
    with pytest.raises(InvalidInput):
        lifecycle.autostart(node, nodes.ID, **given)  # type: ignore[arg-type]


def test_plans_tell_what_would_be_and_touch_nothing(node: Node) -> None:
    name = node.records.get(nodes.ID).name
    assert plans.start(node, nodes.ID) == []
    assert plans.stop(node, nodes.ID) == [f"stop {name}", f"{name} is not started at boot"]
    assert plans.restart(node, nodes.ID) == [f"stop {name}", f"start {name}"]
    assert plans.freeze(node, nodes.ID) == [f"freeze {name}"]
    assert plans.thaw(node, nodes.ID) == []
    assert plans.autostart(node, nodes.ID, False, 0) == [f"autostart of {name}: off"]
    assert words(node) == []
    lifecycle.stop(node, nodes.ID)
    assert plans.start(node, nodes.ID) == [f"start {name}", f"{name} is started at boot"]
    assert plans.stop(node, nodes.ID) == []


def test_boot_starts_by_order_and_leaves_what_is_off(tmp_path: Path) -> None:
    node, _ = nodes.make(tmp_path)
    for id in (nodes.ID, nodes.OTHER, THIRD):
        making.create(node, id=id, wait=0)
    lifecycle.autostart(node, nodes.ID, order=5)
    lifecycle.autostart(node, nodes.OTHER, order=-5)
    lifecycle.autostart(node, THIRD, on=False)
    node, host = nodes.reload(tmp_path)
    outcome = boot.boot(node)
    started = [_name(command) for command in nodes.ran(host, "lxc-start")]
    assert started == [nodes.OTHER, nodes.ID]
    assert outcome[THIRD] == "stopped, its autostart is off"
    assert node.records.get(THIRD).wanted is False


def test_a_failing_one_keeps_none_of_a_later_order_from_starting(tmp_path: Path) -> None:
    node, _ = nodes.make(tmp_path)
    for id in (nodes.ID, nodes.OTHER):
        making.create(node, id=id, wait=0)
    lifecycle.autostart(node, nodes.OTHER, order=1)
    node, host = nodes.reload(tmp_path)
    host.prepare_failure("lxc-start", err="broken")
    outcome = boot.boot(node)
    assert outcome[nodes.ID].startswith("failed")
    assert outcome[nodes.OTHER] == "started"


def _name(command: Sequence[str]) -> str:
    return next(w for w in command if w.startswith("--name=")).removeprefix("--name=")


def test_a_console_is_noted_when_it_opens_and_when_it_closes(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    shells: list[Sequence[str]] = []

    def shell(argv: Sequence[str]) -> int:
        shells.append(argv)
        return 3

    monkeypatch.setattr(console, "interactive", shell)
    assert console.attach(node, nodes.ID, "guestbook") == 3
    assert shells[0][-3:] == ["su", "--login", "guestbook"]
    said = [command[-1] for command in nodes.ran(host_of(node), "logger")]
    assert [line.split()[0] for line in said] == ["opened", "closed"]
    assert all(nodes.ID in line and "as guestbook in" in line for line in said)
    assert said[1].endswith("with 3")


@pytest.mark.parametrize("user", ["", "-c", "a\nb", "a" * 33])
def test_a_console_is_of_an_account(node: Node, user: str) -> None:
    with pytest.raises(InvalidInput):
        console.attach(node, nodes.ID, user)


def test_a_console_of_what_is_stopped_is_refused(node: Node) -> None:
    lifecycle.stop(node, nodes.ID)
    with pytest.raises(Conflict, match="is stopped"):
        console.attach(node, nodes.ID)


def test_the_console_is_a_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = tmp_path / "node.toml"
    settings.write_text(f'prefix = "{tmp_path}/corpus"\nstorage = "plain"\n')
    assert main(["--settings", str(settings), "console", nodes.ID]) == 3
    assert "no environment" in capsys.readouterr().err


def test_who_has_logged_in_is_asked_of_the_kernel(tmp_path: Path) -> None:
    (tmp_path / "loginuid").write_text("0")
    assert console.caller(tmp_path) == "root"
    (tmp_path / "loginuid").write_text("987654")
    assert console.caller(tmp_path) == "987654"


def test_new_connections_are_dropped_before_a_routed_one_stops(node: Node) -> None:
    traffic.restart(node, nodes.ID)
    assert nodes.ran(host_of(node), "nsenter") == []  # nothing leads there
    node.change(nodes.ID, lambda now: now.changed(routes=(Route("a.example", 8000),)))
    traffic.restart(node, nodes.ID)
    call = next(call for call in host_of(node).calls if call.argv[0] == "nsenter")
    assert call.argv == ("nsenter", "--net=/proc/42/ns/net", "--", "nft", "-f", "-")
    assert b"add element inet corpus held { 8000 }" in (call.stdin or b"")
    lifecycle.stop(node, nodes.ID)
    traffic.restart(node, nodes.ID)
    assert len(nodes.ran(host_of(node), "nsenter")) == 1


def test_one_that_cannot_be_stopped_is_reached_as_before(node: Node) -> None:
    node.change(nodes.ID, lambda now: now.changed(routes=(Route("a.example", 8000),)))
    host_of(node).prepare_failure("lxc-stop", err="no")
    with pytest.raises(CommandFailed):
        traffic.restart(node, nodes.ID)
    told = [call.stdin or b"" for call in host_of(node).calls if call.argv[0] == "nsenter"]
    assert b"delete element inet corpus held { 8000 }" not in told[0]
    assert b"delete element inet corpus held { 8000 }" in told[1]


def test_what_prints_inside_is_bounded(node: Node) -> None:
    assert isinstance(node.host, Fake)
    node.host.answer("lxc-attach", '{"local": [1]}')
    record = node.records.get(nodes.ID)
    assert lifecycle.salted(node, record, "test.ping") == [1]
    assert node.host.calls[-1].most == 4 << 20
    lifecycle.execute(node, nodes.ID, ["true"], most=10)
    assert node.host.calls[-1].most == 10
