"""Two nodes between which an environment moves; mover, receiver or both are killed at each step.

Never do both nodes serve the environment; run again, or mended by the doctors, or after a boot of
both nodes, one does, and nothing is left of it on the other. The receiver is a process of its own,
as behind SSH.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import signal
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import SimpleNamespace

import pytest

from corpus.hosts import kernel
from corpus.hosts.fake import Fake
from corpus.model.errors import CommandFailed, Conflict
from corpus.node import boot
from corpus.node.context import Node
from corpus.node.doctor import proxy
from corpus.node.environments import guest, lifecycle, making
from corpus.node.migration import channel, guarding, health, leaving, peers, recovery, sending
from corpus.node.migration.arriving import Arrival
from corpus.node.migration.peers import Peer
from corpus.node.network import ports
from corpus.node.records import Stage
from instants import Fault, Instants, pass_through
from linked import BARRIER, Forked
from unit.node import nodes, outliving
from unit.node.killing import put_back, unwell

ID = nodes.ID
MOST = 400  # steps of one operation
NAMES = ("node1", "node2")
ARMED: list[Instants] = []
KEYS = {name: f"ssh-ed25519 {letter * 68}" for name, letter in zip(NAMES, "AB", strict=True)}


def machine(folder: Path) -> Node:
    """Return a node whose guests say nothing."""
    node = outliving.machine(folder)
    assert isinstance(node.host, Fake)
    node.host.answer("lxc-attach", "")
    return node


def arm(folder: Path, step: int) -> None:
    """Have this process die before a step."""
    fault = Fault("death", "begun", step + 1)
    ARMED.append(Instants(folder, [fault], each=lambda: None, large=folder / "none"))
    ARMED[-1].arm()
    pass_through("begun")


class Link(Forked):
    """A session with a receiver of this machine.

    ``step``: before which that of the next one dies; then the link is ``cut``, if that is so.
    Where it is ``fatal``, who is at one end dies with who is at the other, and nobody tidies up.
    """

    step: int | None = None
    cut = False
    fatal = False

    def __init__(self, argv: Sequence[str]) -> None:
        if Link.cut and Link.step is None:
            raise CommandFailed(argv, 255, "no route to host")
        super().__init__(argv)
        Link.step = None

    def answer(self, come: int, go: int) -> None:
        for armed in ARMED:
            armed.disarm()
        folder, source = self._argv
        node = machine(Path(folder))
        peer = peers.find(node, source)

        def serve() -> None:
            if Link.step is not None:
                arm(Path(folder), Link.step)
            Arrival(node, peer, come, go).serve()

        if Link.fatal:
            kernel.die_with_parent()
            serve()
        else:
            guarding.guarded(node, peer, serve, (come, go))

    def _ended(self) -> CommandFailed:
        if Link.fatal:
            os.kill(os.getpid(), signal.SIGKILL)
        return super()._ended()


@dataclass
class Bench:
    """Two nodes in a ``folder`` that know each other, of which one has an environment.

    ``start`` has them as they begin, and ``tried`` which endings were tried from which states.
    """

    folder: Path
    start: Path
    cut: Path
    tried: set[tuple[str, str]] = field(default_factory=set)


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """Return the nodes, in memory where there is some."""
    memory = Path("/dev/shm")
    place = memory if memory.is_dir() else tmp_path_factory.getbasetemp()
    with tempfile.TemporaryDirectory(dir=place) as name, pytest.MonkeyPatch.context() as patch:
        scratch = Path(name)
        made = Bench(scratch / "it", scratch / "start", scratch / "cut")
        pretend(patch, made.folder)
        begin(made.folder)
        shutil.copytree(made.folder, made.start, symlinks=True)
        yield made


def pretend(patch: pytest.MonkeyPatch, folder: Path) -> None:
    """Have the nodes talk with each other without SSH, and their guests be well."""
    other = {str(folder / one): two for one, two in zip(NAMES, reversed(NAMES), strict=True)}
    patch.setattr(proxy, "answers", lambda port: True)
    patch.setattr(peers, "AUTHORIZED", folder.parent / "authorized_keys")
    patch.setattr(peers, "authorises", lambda node: True)  # both have this one file
    patch.setattr(peers, "HOST_KEY", folder.parent / "none")
    patch.setattr(peers, "ask", lambda node, peer, request: [
        str(folder / peer.name), other[str(folder / peer.name)]])  # fmt: skip
    patch.setattr(channel, "Session", Link)
    patch.setattr(health, "_answers", lambda node, record: True)
    patch.setattr(recovery, "time", SimpleNamespace(sleep=lambda _: None))
    patch.setattr(sending.Mirror, "_mirror", mirror)


def begin(folder: Path) -> None:
    """Make the nodes, and the environment."""
    for number, (there, name) in enumerate(zip(NAMES, reversed(NAMES), strict=True), 1):
        node, key = machine(folder / name), KEYS[there]
        peers.add(node, there, asdict(Peer(there, f"192.0.2.{number}", 22, key, key)))
        boot.prepare(node)
    node = machine(folder / NAMES[0])
    making.create(node, id=ID, hosts=["one.example"], wait=0)
    ports.open_(node, ID, 5432, node_port=25000)
    (guest.srv(node.settings, ID) / "data").write_text("all of it")


def mirror(way: sending.Mirror, part: str) -> int:
    """Copy a volume to the other node's, as rsync(1) does."""
    settings = way.node.settings
    home = guest.home(settings, way.record.id)
    there = Path(str(home).replace(settings.prefix.parent.name, way.line.peer.name))
    shutil.copytree(home / part, there / part, symlinks=True, dirs_exist_ok=True)
    return 1


def both(folder: Path) -> tuple[Node, Node]:
    """Return the nodes, as who comes after a death finds them."""
    return machine(folder / NAMES[0]), machine(folder / NAMES[1])


def state(node: Node) -> str:
    """Return the state of the environment at a node."""
    record = node.records.find(ID)
    return lifecycle.state(node, record)[0] if record else "STOPPED"


def serves(node: Node) -> bool:
    """Tell whether an environment runs at a node, and what is new to it passes."""
    record = node.records.find(ID)
    if record is None or state(node) != "RUNNING":
        return False
    rules = (node.settings.prefix.parent / "host/nft").read_text()
    held = re.search(r"ip daddr \{([^}]*)\} ct state new drop", rules)
    return held is None or record.address not in held[1].strip().split(", ")


def serving(folder: Path) -> list[str]:
    """Return the nodes that serve it."""
    return [name for name in NAMES if serves(machine(folder / name))]


def move(folder: Path, step: int | None = None) -> None:
    """Migrate it; what is over there already is said to be so. Die before a step."""
    node = machine(folder / NAMES[0])
    if step is not None:
        arm(folder / NAMES[0], step)
    try:
        leaving.migrate(node, ID, NAMES[1])
    except Conflict as error:
        if "lives on the node node2" not in str(error):
            raise


def move_on(folder: Path) -> None:
    """Migrate it, and have what the receiver left removed there."""
    move(folder)
    two = both(folder)[1]
    if two.records.find(ID):
        recovery.recover(two, ID)


def doctors(folder: Path) -> None:
    """Have each node's doctor mend what it can, the first one's once more."""
    for node in (*both(folder), machine(folder / NAMES[0])):
        unwell(node, mend=True)


def power(folder: Path, order: Sequence[int]) -> None:
    """Boot both nodes, one after the other."""
    for name in NAMES:
        host = folder / name / "host"
        for path in (*host.glob("--name=*"), host / "nft"):
            path.unlink(missing_ok=True)
    for number in order:
        boot.boot(machine(folder / NAMES[number]))


ENDINGS: dict[str, Callable[[Path], None]] = {
    "run again": move_on,
    "mended": doctors,
    "booted, the source first": lambda folder: power(folder, (0, 1)),
    "booted, the target first": lambda folder: power(folder, (1, 0)),
}
CALLED, BOOTED = list(ENDINGS)[:2], list(ENDINGS)[2:]


def check_ended(folder: Path, where: str) -> None:
    """It lives on one node, whole; the other one has nothing, or what leads there."""
    one, two = both(folder)
    moved = one.records.get(ID).stage is Stage.MOVED
    assert serving(folder) == [NAMES[moved]], where
    here, other = (two, one) if moved else (one, two)
    record = here.records.get(ID)
    assert (record.stage, record.move, record.origin) == (Stage.READY, None, ""), where
    assert [route.host for route in record.routes] == ["one.example"], where
    assert [opening.node_port for opening in record.openings] == [25000], where
    assert (guest.srv(here.settings, ID) / "data").read_text() == "all of it", where
    assert not recovery.left(here, ID), where
    assert not guest.home(other.settings, ID).exists(), where
    assert state(other) == "STOPPED", where
    away = other.records.find(ID)
    assert away is None or (away.elsewhere and away.stage is Stage.MOVED), where
    for node in both(folder):
        # Locks and half-written files are the doctor's.
        wrong = [one for one in unwell(node) if one["check"] not in ("temporary", "locks")]
        assert wrong == [], where


def digest(folder: Path) -> str:
    """A digest of all that lies there, but for times."""
    found = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        found.update(str(path.relative_to(folder)).encode())
        if path.is_file():
            found.update(re.sub(rb'"made": [^,]*,', b"", path.read_bytes()))
    return found.hexdigest()


def check_endings(bench: Bench, where: str, endings: Iterable[str]) -> None:
    """From where it was cut off, each of the endings ends it."""
    folder = bench.folder
    assert len(serving(folder)) <= 1, where
    assert [state(node) for node in both(folder)].count("RUNNING") <= 1, where
    found = digest(folder)
    left = [name for name in endings if (found, name) not in bench.tried]
    bench.tried |= {(found, name) for name in left}
    shutil.rmtree(bench.cut, ignore_errors=True)
    shutil.copytree(folder, bench.cut, symlinks=True)
    for name in left:
        with BARRIER:
            ENDINGS[name](folder)
        check_ended(folder, f"{where}, {name}")
        put_back(bench.cut, folder)


def each_step(
    bench: Bench,
    who: str,
    killed: Callable[[int], bool],
    endings: Iterable[str] = ENDINGS,
    every: int = 1,
) -> None:
    """Have it killed before each step, and ended in each way, until it was not killed any more.

    ``every`` so many steps, where what comes of a step is like what comes of its neighbours.
    """
    for step in range(0, MOST, every):
        put_back(bench.start, bench.folder)
        with BARRIER:
            died = killed(step)
        Link.cut, Link.step, Link.fatal = False, None, False
        check_endings(bench, f"{who} before step {step}", endings)
        if not died:
            break
    else:
        pytest.fail("it has no end")
    assert step > 30
