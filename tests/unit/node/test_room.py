"""More room: in steps, up to the limit, never more than the pool has; by whom it may be asked."""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from queue import SimpleQueue
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from corpus.commands.btrfs import Usage
from corpus.hosts import quota
from corpus.hosts.base import Result
from corpus.hosts.fake import Fake
from corpus.model.errors import (
    CommandFailed,
    Conflict,
    CorpusError,
    InvalidInput,
    NotFound,
    StillUsed,
    Unsupported,
)
from corpus.node import ask
from corpus.node.context import Node
from corpus.node.environments import (
    guest,
    lifecycle,
    limiting,
    listing,
    making,
    projects,
    room,
    sockets,
)
from corpus.node.environments import limits as bounds
from corpus.node.proxy import routes
from corpus.node.records import Allotment, Limits, Record
from corpus.node.storage import usage as usages
from corpus.node.storage.quota import QuotaVolumes
from unit.node import nodes

GIB = 1 << 30


@pytest.fixture
def used(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """What the kernel accounts to the one environment; taken away: no quotas."""
    found = {"used": GIB}

    def usage(pool: Path, group: str) -> Usage | None:
        return Usage(found["used"], found.get("limit")) if found else None

    monkeypatch.setattr(quota, "usage", usage)
    return found


@pytest.fixture
def node(tmp_path: Path, used: dict[str, int]) -> Node:
    """A node on btrfs with one environment of 5 GiB; the pool has 50 GiB free."""
    plain, _ = nodes.make(tmp_path)
    making.create(plain, id=nodes.ID, wait=0)
    return Node(replace(plain.settings, storage="quota"), plain.host)


def record(node: Node) -> Record:
    return node.records.get(nodes.ID)


def limited(node: Node) -> list[str]:
    """The sizes that the quota group was given, as btrfs was told."""
    assert isinstance(node.host, Fake)
    return [argv[3] for argv in nodes.ran(node.host, "btrfs") if argv[1:3] == ("qgroup", "limit")]


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
def test_steps_until_what_is_needed_is_free(node: Node, needed: int, size: int) -> None:
    for _ in range(2):  # asking again changes nothing
        assert room.make_room(node, nodes.ID, needed).size == size * GIB
        assert record(node).limits.size == size * GIB
    assert set(limited(node)) == {str(size * GIB)}


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


def test_a_kill_between_record_and_quota_is_put_right(node: Node) -> None:
    assert isinstance(node.host, Fake)
    killed = Result((), -9)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(node.host, "execute", lambda command: killed)
        patched.setattr(room, "check", lambda *_: None)
        with pytest.raises(CommandFailed):
            room.make_room(node, nodes.ID, 5 * GIB)
    node.host.calls.clear()
    room.make_room(node, nodes.ID, 5 * GIB)
    assert limited(node) == [str(10 * GIB)]


def test_a_size_limit_below_the_size_is_refused(node: Node) -> None:
    with pytest.raises(InvalidInput, match="above the size_limit"):
        bounds.parse("5G", size_limit="4G")
    assert bounds.parse("5G", size_limit="5G").size_limit == 5 * GIB
    with pytest.raises(InvalidInput, match="above the size_limit"):
        limiting.limit(node, nodes.ID, size_limit="1G")
    assert listing.inspect(node, nodes.ID)["size_limit"] == 20 * GIB


# -- less of it


def test_a_trim_takes_a_step_or_goes_to_a_size(node: Node) -> None:
    with pytest.raises(InvalidInput, match="less than 64M would be left"):
        room.trim(node, nodes.ID)
    room.enlarge(node, nodes.ID, "12G")
    assert room.trim(node, nodes.ID).record.limits.size == 7 * GIB
    assert room.trim(node, nodes.ID, "2G").record.limits.size == 2 * GIB
    with pytest.raises(InvalidInput, match="that would be more"):
        room.trim(node, nodes.ID, "3G")
    assert limited(node)[-1] == str(2 * GIB)


@pytest.mark.parametrize("size", ["1G", "64M", str(GIB + room.RESERVE - 1)])
def test_a_trim_below_what_is_used_is_refused_whichever_way(node: Node, size: str) -> None:
    for how in (
        lambda test: room.trim(node, nodes.ID, size, test=test),
        lambda test: limiting.limit(node, nodes.ID, size=size, test=test),
    ):
        for test in (True, False):
            with pytest.raises(StillUsed, match="1G are used already, and 32M are kept"):
                how(test)
    assert record(node).limits.size == 5 * GIB
    assert limited(node) == []
    room.trim(node, nodes.ID, GIB + room.RESERVE)


def test_what_a_guest_writes_meanwhile_has_the_trim_taken_back(
    node: Node, used: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = room.check

    def checked(*given: Any) -> None:
        real(*given)
        used["used"] = 2 * GIB

    monkeypatch.setattr(room, "check", checked)
    for trim in (
        lambda: room.trim(node, nodes.ID, "2G"),
        lambda: limiting.limit(node, nodes.ID, size="2G", pids=100),
    ):
        used["used"] = GIB
        with pytest.raises(StillUsed):
            trim()
        assert limited(node)[-2:] == [str(2 * GIB), str(5 * GIB)]
        assert record(node).limits == Limits(5 * GIB)
    assert isinstance(node.host, Fake)
    values = [argv[-1] for argv in nodes.ran(node.host, "lxc-cgroup")]
    assert values == ["100", "max"]


def test_limit_has_the_same_checks_with_the_size_limit_that_is_given(node: Node) -> None:
    with pytest.raises(Conflict, match="30G are needed and this environment may have 20G"):
        limiting.limit(node, nodes.ID, size="30G")
    assert isinstance(node.host, Fake)
    node.host.answer("df", f"1B-blocks Avail\n {100 * GIB} {20 * GIB}\n")
    with pytest.raises(Conflict, match="has 20G free and keeps 2G"):
        limiting.limit(node, nodes.ID, size="30G", size_limit="30G")
    done = limiting.limit(node, nodes.ID, size="10G", size_limit="30G")
    assert (done.record.limits.size, done.record.limits.size_limit) == (10 * GIB, 30 * GIB)
    assert limiting.limit(node, nodes.ID, size_limit="none").record.limits.size_limit is None
    assert limited(node) == [str(10 * GIB)]


def test_dry_runs_tell_and_touch_nothing(node: Node) -> None:
    name = f"staging-{nodes.ID[:8]}"
    assert room.enlarge(node, nodes.ID, test=True).changes == [f"{name}: size 5G becomes 10G"]
    assert room.enlarge(node, nodes.ID, "5G", test=True).changes == []
    assert room.trim(node, nodes.ID, "4G", test=True).changes == [f"{name}: size 5G becomes 4G"]
    told = limiting.limit(node, nodes.ID, size="6G", size_limit="8G", test=True).changes
    assert told == [f"{name}: size 5G becomes 6G", f"{name}: size_limit none becomes 8G"]
    assert record(node).limits.size == 5 * GIB
    assert limited(node) == []


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        ('{"local": {"kept": 2147483648}}', "demo: 2G of past deployments (mc_project.usage demo)"),
        ('{"local": {"kept": "a lot"}}', None),
        ('{"local": {"kept": -1}}', None),
        ("[" * 5000, None),
        ("", None),
    ],
)
def test_a_refusal_says_what_the_environment_could_prune(
    node: Node, answer: str, told: str | None
) -> None:
    assert isinstance(node.host, Fake)
    node.host.answer("lxc-attach", answer)
    node.change(nodes.ID, lambda now: now.allotted(Allotment("demo", 5 * GIB)))
    with pytest.raises(StillUsed) as refused:
        room.trim(node, nodes.ID, "1G", "demo")
    mend = refused.value.mend or ""
    assert mend.startswith("ask for 1056M or more")
    assert mend.splitlines()[1:] == ([f"           {told}"] if told else [])


# -- projects


def test_a_project_has_a_size_of_its_own(node: Node) -> None:
    with pytest.raises(NotFound, match=r"no project demo .* accounted by itself"):
        room.allot(node, nodes.ID, "demo", "2G")
    node.change(nodes.ID, lambda now: now.allotted(Allotment("demo")))
    with pytest.raises(InvalidInput, match="demo has no size of its own"):
        room.enlarge(node, nodes.ID, project="demo")
    assert room.tighter(node, record(node), "demo").size == 5 * GIB
    done = room.allot(node, nodes.ID, "demo", "2G", "9G", test=True)
    assert done.changes == ["demo: size none becomes 2G", "demo: size_limit none becomes 9G"]
    assert record(node).projects == (Allotment("demo"),)
    room.allot(node, nodes.ID, "demo", "2G", "9G")
    assert room.tighter(node, record(node), "demo") == room.Room(2 * GIB, GIB, 9 * GIB)
    assert room.make_room(node, nodes.ID, 3 * GIB, "demo").size == 5 * GIB  # the environment's
    assert record(node).projects == (Allotment("demo", 7 * GIB, 9 * GIB),)
    room.trim(node, nodes.ID, "3G", "demo")
    assert record(node).limits.size == 5 * GIB
    with pytest.raises(InvalidInput, match="above the size_limit"):
        room.allot(node, nodes.ID, "demo", "10G")
    with pytest.raises(StillUsed):
        room.allot(node, nodes.ID, "demo", "1G")
    room.allot(node, nodes.ID, "demo", "none", "none")
    assert record(node).projects == (Allotment("demo"),)
    assert limited(node)[-1] == "none"


def test_a_trim_of_a_project_that_is_taken_back_leaves_no_size_where_there_was_none(
    node: Node, used: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    node.change(nodes.ID, lambda now: now.allotted(Allotment("demo")))
    real = room.check

    def checked(*given: Any) -> None:
        real(*given)
        used["used"] = 2 * GIB

    monkeypatch.setattr(room, "check", checked)
    with pytest.raises(StillUsed):
        room.allot(node, nodes.ID, "demo", "2G")
    assert limited(node)[-2:] == [str(2 * GIB), "none"]
    assert record(node).projects == (Allotment("demo"),)


def test_a_guest_cannot_make_its_record_grow_without_end(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    def made(_: object, folder: int, name: str, group: str, within: str) -> bool:
        with suppress(FileExistsError):
            os.mkdir(name, dir_fd=folder)
        return True

    monkeypatch.setattr(QuotaVolumes, "allot", made)
    monkeypatch.setattr(projects, "MOST", 3)
    for name in ("a", "b", "c", "a"):
        assert projects.make(node, nodes.ID, name)
    with pytest.raises(Conflict, match="has 3 projects"):
        projects.make(node, nodes.ID, "d")
    (guest.srv(node.settings, nodes.ID) / "projects/b").rmdir()
    assert projects.make(node, nodes.ID, "d")
    assert [one.project for one in record(node).projects] == ["a", "c", "d"]


def test_where_parts_are_not_accounted_nothing_is_made(node: Node, tmp_path: Path) -> None:
    plain, _ = nodes.reload(tmp_path)
    assert projects.make(plain, nodes.ID, "demo") is False
    assert record(plain).projects == ()
    assert not (guest.srv(plain.settings, nodes.ID) / "projects").exists()


def test_usage_where_nothing_is_accounted_says_so(node: Node, tmp_path: Path) -> None:
    plain, _ = nodes.reload(tmp_path)
    (found,) = usages.usage(plain)
    assert (found["used"], found["system"], found["projects"], found["shared"]) == (None,) * 4
    assert found["image"] == {"id": "abababababab", "used": None, "environments": 1}


def test_groups_of_projects_are_apart(node: Node) -> None:
    one = record(node)
    two = one.changed(id=nodes.OTHER)
    groups = [each.project_group(name) for each in (one, two) for name in ("demo", "shop")]
    assert len({*groups, one.group, two.group}) == 6
    assert all(group.startswith("1/") and int(group[2:]) < 1 << 48 for group in groups)


# -- who changes a record at the same time


def meanwhile(monkeypatch: pytest.MonkeyPatch, node: Node, module: Any, name: str) -> None:
    """Have an admin lead a host name to the environment once ``name`` was called."""
    real = getattr(module, name)

    def called(*given: Any, **more: Any) -> Any:
        found = real(*given, **more)
        routes.route(node, nodes.ID, routes.parse_route("new.example.org"))
        return found

    monkeypatch.setattr(module, name, called)


CHANGES: dict[str, tuple[Any, str, Callable[[Node], object]]] = {
    "enlarge": (room, "check", lambda node: room.enlarge(node, nodes.ID)),
    "stop": (lifecycle, "ready", lambda node: lifecycle.stop(node, nodes.ID)),
    "limit": (bounds, "changed", lambda node: limiting.limit(node, nodes.ID, pids=100)),
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_an_admin_changes_meanwhile_stays(
    node: Node, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    module, name, work = CHANGES[change]
    before = record(node)
    meanwhile(monkeypatch, node, module, name)
    work(node)
    assert [route.host for route in record(node).routes] == ["new.example.org"]
    assert record(node).changed(routes=()) != before


def test_a_name_led_to_one_that_is_being_made_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, _ = nodes.make(tmp_path)
    meanwhile(monkeypatch, plain, making, "bring_up")
    making.create(plain, id=nodes.ID, wait=0)
    assert [route.host for route in record(plain).routes] == ["new.example.org"]
    assert record(plain).stage == "ready"


def test_more_room_that_is_there_already_saves_nothing(node: Node) -> None:
    file = node.settings.records / f"{nodes.ID}.json"
    before = file.stat().st_ino, file.stat().st_mtime_ns
    room.make_room(node, nodes.ID, 1)
    assert (file.stat().st_ino, file.stat().st_mtime_ns) == before


# -- the socket


@pytest.fixture
def caller(node: Node, monkeypatch: pytest.MonkeyPatch) -> Iterator[Caller]:
    """A process of this machine in the place of the environment's root."""
    monkeypatch.setattr(guest, "root", lambda settings, record: os.getuid())
    with TemporaryDirectory() as short:  # the path of a socket may have 107 bytes
        made = Caller(Node(replace(node.settings, asks=Path(short)), node.host))
        yield made
        made.close()


class Caller:
    """Listens where systemd does, and answers each connection in a thread."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self.told: SimpleQueue[str] = SimpleQueue()  # what its journal would say
        self.path = guest.asks(node.settings, nodes.ID) / "sock"
        self.path.parent.mkdir()
        self._server = socket.socket(socket.AF_UNIX)
        self._server.bind(str(self.path))
        self._server.listen()
        self._over = False
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            line, _ = self._server.accept()
            if self._over:
                line.close()
                return
            with line:
                self.told.put(ask.answer(self.node, line))

    def say(self, said: bytes, *, end: bool = True) -> dict[str, Any]:
        with socket.socket(socket.AF_UNIX) as line:
            line.connect(str(self.path))
            line.sendall(said)
            if end:
                line.shutdown(socket.SHUT_WR)
            found: dict[str, Any] = json.loads(line.makefile().read())
            return found

    def close(self) -> None:
        self._over = True
        with socket.socket(socket.AF_UNIX) as line:
            line.connect(str(self.path))
        self._thread.join()
        self._server.close()


def test_usage_and_enlarge(caller: Caller) -> None:
    assert caller.say(b'{"ask": "usage"}\n') == {"size": 5 * GIB, "used": GIB, "limit": 20 * GIB}
    asked = json.dumps({"ask": "enlarge", "bytes": 5 * GIB}).encode() + b"\n"
    assert caller.say(asked) == {"size": 10 * GIB}
    caller.told.get(timeout=5)
    assert caller.told.get(timeout=5) == f'{nodes.ID} was told {{"size": {10 * GIB}}}'
    refused = caller.say(json.dumps({"ask": "enlarge", "bytes": 50 * GIB}).encode() + b"\n")
    assert "51G are needed" in refused["error"]
    assert "size_limit" in refused["mend"]


@pytest.mark.parametrize(
    "said",
    [
        b"", b"\n", b"usage\n", b'{"ask": "usage"}', b'{"ask": "usage", "id": "x"}\n', b"[]\n",
        b'{"ask": "enlarge"}\n', b'{"ask": "enlarge", "bytes": -1}\n', b"\xff\n", b"null\n",
        b'{"ask": "enlarge", "bytes": true}\n', b'{"ask": "enlarge", "bytes": 1e9}\n',
        b'{"ask": "enlarge", "bytes": NaN}\n', b'{"ask": "enlarge", "bytes": "5G"}\n',
        b'{"ask": "enlarge", "bytes": 1' + b"0" * 400 + b"}\n", b"[" * 1000 + b"\n",
        b'{"ask": "usage"}\n{"ask": "usage"}\n', b'{"ask": ["usage"]}\n', b"x" * 900 + b"\n",
        b'{"ask": "usage"' + b" " * 1100 + b"}\n", b'{"ask": "destroy"}\n',
        b'{"ask": "usage", "project": ""}\n', b'{"ask": "usage", "project": "../demo"}\n',
        b'{"ask": "project"}\n', b'{"ask": "project", "project": "a/../../b"}\n',
        b'{"ask": "project", "project": ["demo"]}\n', b'{"ask": "project", "project": null}\n',
        b'{"ask": "project", "project": "demo", "bytes": 5}\n', b'{"project": "demo"}\n',
        b'{"ask": "enlarge", "bytes": 5, "project": "root"}\n',
    ],
)  # fmt: skip
def test_hostile_questions_are_refused(caller: Caller, said: bytes) -> None:
    told = caller.say(said)
    assert set(told) == {"error", "mend"}
    assert record(caller.node).limits.size == 5 * GIB


def test_a_question_without_end_is_bounded(caller: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ask, "_SECONDS", 0.3)
    begun = time.monotonic()
    assert caller.say(b'{"ask":', end=False)["error"] == "the question took too long"
    assert time.monotonic() - begun < 2


def test_who_goes_away_does_no_harm(caller: Caller) -> None:
    for said in (b"", b'{"ask": "usage"}\n'):
        with socket.socket(socket.AF_UNIX) as line:
            line.connect(str(caller.path))
            line.sendall(said)
    assert caller.say(b'{"ask": "usage"}\n')["size"] == 5 * GIB


def test_another_user_is_refused(caller: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guest, "root", lambda settings, record: os.getuid() + 1)
    assert "only the environment's root" in caller.say(b'{"ask": "usage"}\n')["error"]


def test_what_breaks_on_the_node_is_for_its_journal(
    caller: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(node: Node, record: Record) -> None:
        raise CorpusError("of no concern to a tenant", "/secret/place")

    monkeypatch.setattr(ask, "room", broken)
    told = caller.say(b'{"ask": "usage"}\n')
    assert told["error"] == "the node could not do it"
    assert "secret" not in json.dumps(told)
    assert "/secret/place" in caller.told.get(timeout=5)


def test_the_socket_comes_with_each_start_and_goes_with_the_environment(node: Node) -> None:
    assert isinstance(node.host, Fake)
    unit = f"corpus-ask@{nodes.ID}.socket"
    place = guest.asks(node.settings, nodes.ID)
    assert (place.stat().st_uid, place.stat().st_gid) == (0, 1_000_000)
    assert place.stat().st_mode & 0o777 == 0o710
    inode = place.stat().st_ino
    started = [a for a in nodes.ran(node.host, "systemctl") if a[-1] == unit]
    assert started[-1][-3] == "start"
    sockets.offer(node, record(node))
    assert place.stat().st_ino == inode
    sockets.withdraw(node, record(node).id)
    assert not place.exists()
    assert next(reversed(nodes.ran(node.host, "systemctl")))[-3:] == ("stop", "--", unit)


# -- the identity


def start_again(node: Node) -> None:
    lifecycle.stop(node, nodes.ID)
    lifecycle.start(node, nodes.ID)


def identity(node: Node) -> Path:
    return guest.rootfs(node.settings, nodes.ID) / "etc/corpus/environment.json"


def test_the_identity_is_written_anew_at_every_start(node: Node, tmp_path: Path) -> None:
    assert isinstance(node.host, Fake)
    later = Node(nodes.make(tmp_path, relay="192.0.2.25:587")[0].settings, node.host)
    identity(node).write_text("{}")
    lifecycle.start(later, nodes.ID)  # it runs and goes on
    assert len(nodes.ran(node.host, "lxc-start")) == 1
    told = json.loads(identity(node).read_text())
    assert (told["relay"], told["gateway"]) == ("10.88.0.1:25", "10.88.0.1")
    assert identity(node).stat().st_mode & 0o777 == 0o644


Trap = Callable[[Path, Path], object]
TRAPS: dict[str, Trap] = {
    "link": lambda file, victim: (file.unlink(), file.symlink_to(victim)),
    "directory": lambda file, victim: (file.unlink(), file.mkdir(), (file / "x").touch()),
    "link above": lambda file, victim: (
        file.unlink(), file.parent.rmdir(), file.parent.symlink_to(victim.parent)
    ),
    "link of the new one": lambda file, victim: (
        file.with_name(".environment.json.new").symlink_to(victim)
    ),
    "directory of the new one": lambda file, victim: (
        (file.with_name(".environment.json.new") / "x").mkdir(parents=True)
    ),
    "pipe": lambda file, victim: (file.unlink(), os.mkfifo(file)),
    "file above": lambda file, victim: (file.unlink(), file.parent.rmdir(), file.parent.touch()),
}  # fmt: skip


@pytest.mark.parametrize("trap", TRAPS)
def test_traps_of_a_guest_do_not_lead_out_nor_keep_it_from_starting(
    tmp_path: Path, trap: str
) -> None:
    plain, _ = nodes.make(tmp_path)
    making.create(plain, id=nodes.ID, wait=0)
    victim = tmp_path / "of-the-node/environment.json"
    victim.parent.mkdir()
    victim.write_text("mine")
    TRAPS[trap](identity(plain), victim)
    start_again(plain)
    assert victim.read_text() == "mine"
    assert [path.name for path in victim.parent.iterdir()] == ["environment.json"]
    assert listing.inspect(plain, nodes.ID)["state"] == "running"
