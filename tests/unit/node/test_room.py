"""More room: in steps, up to the limit, never more than the pool has."""

from __future__ import annotations

from pathlib import Path

import pytest

from corpus.hosts import quota
from corpus.hosts.fake import Fake
from corpus.model.errors import Conflict, InvalidInput, Unsupported
from corpus.node.context import Node
from corpus.node.environments import limiting, listing, room
from corpus.node.environments import limits as bounds
from unit.node import nodes
from unit.node.rooms import GIB, record
from unit.node.rooms import limited as limited
from unit.node.rooms import node as node
from unit.node.rooms import used as used


def test_room_is_what_record_and_kernel_say(node: Node, used: dict[str, int]) -> None:
    assert room.room(node, record(node)) == room.Room(5 * GIB, GIB, 20 * GIB)
    used["limit"] = 4 * GIB  # what a crash left between record and quota: the quota is true
    assert room.room(node, record(node)).size == 4 * GIB
    used.clear()
    assert room.room(node, record(node)).used is None


@pytest.mark.parametrize(
    ("needed", "size"),
    [(1, 5), (4 * GIB, 5), (4 * GIB + 1, 10), (9 * GIB, 10), (10 * GIB, 15), (19 * GIB, 20)],
)
def test_steps_until_what_is_needed_is_free(
    node: Node, needed: int, size: int, limited: list[int | None]
) -> None:
    for _ in range(2):  # asking again changes nothing
        assert room.make_room(node, nodes.ID, needed).size == size * GIB
        assert record(node).limits.size == size * GIB
    assert set(limited) == {size * GIB}


def test_up_to_the_limit_where_a_step_would_pass_it(node: Node) -> None:
    limiting.limit(node, nodes.ID, size="6G", size_limit="8G")
    assert room.make_room(node, nodes.ID, 6 * GIB).size == 8 * GIB
    with pytest.raises(Conflict, match="9G are needed and this environment may have 8G"):
        room.make_room(node, nodes.ID, 8 * GIB)
    with pytest.raises(Conflict, match="may have 8G at the most"):
        room.enlarge(node, nodes.ID)
    assert record(node).limits.size == 8 * GIB


def test_an_admin_names_a_size_or_takes_a_step(node: Node) -> None:
    assert room.enlarge(node, nodes.ID[:8]).record.limits.size == 10 * GIB
    assert room.enlarge(node, nodes.ID, "12G").record.limits.size == 12 * GIB
    for wrong in ("11G", "much"):
        with pytest.raises(InvalidInput):
            room.enlarge(node, nodes.ID, wrong)
    with pytest.raises(Conflict, match="20G at the most"):
        room.enlarge(node, nodes.ID, "21G")


def test_the_pool_keeps_its_minimum(node: Node) -> None:
    assert isinstance(node.host, Fake)
    node.host.answer("df", f"1B-blocks Avail\n {100 * GIB} {10 * GIB}\n")
    with pytest.raises(Conflict, match="has 10G free and keeps 2G"):
        room.make_room(node, nodes.ID, 5 * GIB)
    assert record(node).limits.size == 5 * GIB
    node.host.answer("df", f"1B-blocks Avail\n {100 * GIB} {11 * GIB}\n")
    assert room.make_room(node, nodes.ID, 5 * GIB).size == 10 * GIB


def test_without_quotas_it_is_said(node: Node, used: dict[str, int], tmp_path: Path) -> None:
    used.clear()
    plain, _ = nodes.reload(tmp_path)
    with pytest.raises(Unsupported, match="sizes are not enforced on this node: the setting"):
        room.make_room(plain, nodes.ID, 50 * GIB)


def test_a_kill_between_record_and_quota_is_put_right(
    node: Node, limited: list[int | None]
) -> None:
    def killed(pool: Path, group: str, size: int | None) -> None:
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(quota, "limit", killed)
        with pytest.raises(KeyboardInterrupt):
            room.make_room(node, nodes.ID, 5 * GIB)
    room.make_room(node, nodes.ID, 5 * GIB)
    assert limited == [10 * GIB]


def test_a_size_limit_below_the_size_is_refused(node: Node) -> None:
    with pytest.raises(InvalidInput, match="above the size_limit"):
        bounds.parse("5G", size_limit="4G")
    assert bounds.parse("5G", size_limit="5G").size_limit == 5 * GIB
    with pytest.raises(InvalidInput, match="above the size_limit"):
        limiting.limit(node, nodes.ID, size_limit="1G")
    assert listing.inspect(node, nodes.ID)["size_limit"] == 20 * GIB


def test_limit_has_the_same_checks_with_the_size_limit_that_is_given(
    node: Node, limited: list[int | None]
) -> None:
    with pytest.raises(Conflict, match="30G are needed and this environment may have 20G"):
        limiting.limit(node, nodes.ID, size="30G")
    assert isinstance(node.host, Fake)
    node.host.answer("df", f"1B-blocks Avail\n {100 * GIB} {20 * GIB}\n")
    with pytest.raises(Conflict, match="has 20G free and keeps 2G"):
        limiting.limit(node, nodes.ID, size="30G", size_limit="30G")
    done = limiting.limit(node, nodes.ID, size="10G", size_limit="30G")
    assert (done.record.limits.size, done.record.limits.size_limit) == (10 * GIB, 30 * GIB)
    assert limiting.limit(node, nodes.ID, size_limit="none").record.limits.size_limit is None
    assert limited == [10 * GIB]


def test_dry_runs_tell_and_touch_nothing(node: Node, limited: list[int | None]) -> None:
    name = f"staging-{nodes.ID[:8]}"
    assert room.enlarge(node, nodes.ID, test=True).changes == [f"{name}: size 5G becomes 10G"]
    assert room.enlarge(node, nodes.ID, "5G", test=True).changes == []
    assert room.trim(node, nodes.ID, "4G", test=True).changes == [f"{name}: size 5G becomes 4G"]
    told = limiting.limit(node, nodes.ID, size="6G", size_limit="8G", test=True).changes
    assert told == [f"{name}: size 5G becomes 6G", f"{name}: size_limit none becomes 8G"]
    assert record(node).limits.size == 5 * GIB
    assert limited == []
