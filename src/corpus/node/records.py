"""The records of environments: the node's only memory, one JSON file each."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

from corpus.commands.ip import hardware_address
from corpus.hosts.files import read_json, write_atomic
from corpus.model.errors import Conflict, CorpusError, InvalidInput, NotFound
from corpus.model.mode import Platform
from corpus.model.names import environment_id, host_pattern
from corpus.model.typed import well_typed

HTTPS = ("both", "redirect", "off")  # see ``Route``
INTERFACES = "cenv"  # what the names of the environments' interfaces begin with
PROXIES = "cpxy"  # those of environments of role proxy, which are no ports of the bridge
_DAMAGED = ("the record of an environment", "restore it from a backup")


class Role(StrEnum):
    """What an environment is for. A ``PROXY`` can be the node's front, and nothing else."""

    PROJECTS = "projects"
    PROXY = "proxy"


class Stage(StrEnum):
    """How far an environment is. What is none of ``READY`` and ``MOVED`` was left by a crash.

    ``MOVING``: this node still decides, its guest is stopped. ``MOVED``: it lives on another
    node. ``ARRIVED``: it came from another node, which has not said yet that it lives here.
    """

    CREATING = "creating"
    READY = "ready"
    RESTORING = "restoring"
    MOVING = "moving"
    MOVED = "moved"
    ARRIVED = "arrived"
    DESTROYING = "destroying"


def group_of(id: str) -> str:
    """Return the quota group of the environment ``id``: 48 bits of it."""
    return f"2/{int(id.replace('-', '')[:12], 16)}"


@dataclass(frozen=True)
class Route:
    """A host name, or ``*.`` and one, led to a port of an environment; ``hold`` is in seconds.

    ``https``: ``both`` (HTTP and HTTPS), ``redirect`` (from HTTP to HTTPS), ``off`` (HTTP alone).
    ``hsts``: for how many seconds browsers are to come by HTTPS only; 0: nothing is said.
    ``proxy_protocol``: connections begin with the client's address (PROXY protocol, version 2).
    """

    host: str
    port: int = 80
    hold: int = 60
    https: str = "both"
    hsts: int = 0
    proxy_protocol: bool = False


@dataclass(frozen=True)
class Pair:
    """A project whose releases come from the environment ``staging`` of this node."""

    project: str
    staging: str


@dataclass(frozen=True)
class Share:
    """A directory of the node's that is a project's directory; ``id`` is its account inside."""

    project: str
    directory: str
    id: int


@dataclass(frozen=True)
class Opening:
    """A port of the node led to an environment's, for the networks ``sources``; see ``nft``."""

    protocol: str
    port: int
    node_port: int
    sources: tuple[str, ...]
    led_by: tuple[str, ...] = ()


@dataclass(frozen=True)
class Allotment:
    """A project whose directory is accounted by itself, and how many bytes that may have.

    ``size`` None: no limit but the environment's. ``size_limit`` is what ``size`` may be raised to
    by a deployment; None: what the environment may grow to.
    """

    project: str
    size: int | None = None
    size_limit: int | None = None


@dataclass(frozen=True)
class Limits:
    """What an environment may use: bytes of disk and memory, CPUs, processes. None: no limit.

    ``size_limit`` is what ``size`` may be raised to by the environment itself; None: what the
    node's setting says.
    """

    size: int
    memory: int | None = None
    cpu: float | None = None
    pids: int | None = None
    size_limit: int | None = None


@dataclass(frozen=True)
class Move:
    """Where an environment moves, or has moved: the peer ``node``, and its ports there.

    ``asked``: that node was asked to start it, and may have done so; ``kept``: its data stays here;
    ``settled``: the other node knows that it lives there.
    """

    node: str
    address: str
    http_port: int
    ssh_port: int
    asked: bool = False
    kept: bool = False
    settled: bool = False


@dataclass(frozen=True)
class Record:
    """One environment as the node remembers it. ``slot`` numbers its range of user ids.

    It is started at boot when it is ``wanted``, as start and stop say, and ``autostart`` is on:
    those of a lower ``order`` first, those of the same one together.
    ``front``: the node's HTTP and HTTPS ports lead to it; at most one, of role proxy. ``away``:
    why they are the node's own meanwhile; empty where they are not.
    ``origin`` is the peer that it comes from while it arrives.
    """

    id: str
    platform: Platform
    image: str
    address: str
    ssh_port: int
    slot: int
    limits: Limits
    routes: tuple[Route, ...] = ()
    pairs: tuple[Pair, ...] = ()
    shares: tuple[Share, ...] = ()
    openings: tuple[Opening, ...] = ()
    projects: tuple[Allotment, ...] = ()
    stage: Stage = Stage.READY
    wanted: bool = True
    autostart: bool = True
    order: int = 0
    maintenance: bool = False
    role: Role = Role.PROJECTS
    front: bool = False
    away: str = ""
    made: str = ""
    move: Move | None = None
    origin: str = ""

    @property
    def name(self) -> str:
        """The guest's host name."""
        return f"{self.platform}-{self.id[:8]}"

    @property
    def half_made(self) -> bool:
        """Whether it was left by a crash when it was made or removed: nobody's data is in it."""
        return self.stage in (Stage.CREATING, Stage.DESTROYING)

    @property
    def elsewhere(self) -> Move | None:
        """Where it lives, when that is another node which knows it: requests are led there."""
        moved = self.stage in (Stage.MOVED, Stage.CREATING, Stage.ARRIVED)
        return self.move if moved and self.move and self.move.settled else None

    @property
    def held(self) -> bool:
        """Whether it lives nowhere at the moment, or not here yet: requests wait."""
        moved = self.stage is Stage.MOVED and self.elsewhere is None
        arriving = self.stage in (Stage.CREATING, Stage.ARRIVED) and bool(self.origin)
        return moved or arriving or self.stage is Stage.MOVING

    @property
    def interface(self) -> str:
        """The node's end of its network cable (15 characters at most)."""
        kind = PROXIES if self.role is Role.PROXY else INTERFACES
        return f"{kind}{self.id.replace('-', '')[:11]}"

    @property
    def mac(self) -> str:
        """The guest's hardware address, from its address."""
        return hardware_address(self.address)

    @property
    def group(self) -> str:
        """The quota group that accounts all that the environment stores: 48 bits of its id."""
        return group_of(self.id)

    def project_group(self, project: str) -> str:
        """The quota group, within ``group``, of all that a project's directory holds."""
        digest = hashlib.sha256(f"{self.id}/{project}".encode()).digest()
        return f"1/{int.from_bytes(digest[:6])}"

    def allotment(self, project: str) -> Allotment | None:
        """Return what a project is allowed, or None where it is not accounted by itself."""
        return next((one for one in self.projects if one.project == project), None)

    def allotted(self, one: Allotment) -> Record:
        """Return the record with another allotment for that project, or one more."""
        rest = [other for other in self.projects if other.project != one.project]
        return replace(self, projects=tuple(sorted([*rest, one], key=lambda one: one.project)))

    def changed(self, **values: Any) -> Record:
        """Return the record with other values."""
        return replace(self, **values)


def check_here(record: Record, *, ending: bool = False) -> None:
    """Raise Conflict when an environment moves, or has moved: it is changed where it lives.

    ``ending``: what leads there from here may end once it has.
    """
    if record.stage is Stage.MOVING or (record.stage is Stage.MOVED and not ending):
        name = record.move.node if record.move else ""
        how = "moves to" if record.stage is Stage.MOVING else "lives on"
        raise Conflict(f"{record.name} {how} the node {name}", mend="ask that node")


def dump(record: Record) -> bytes:
    """Return the record as JSON."""
    return json.dumps(asdict(record), indent=2, sort_keys=True).encode() + b"\n"


def of(given: Any) -> Record:
    """Return the record that was JSON; of what is none it raises as ``undamaged`` catches it."""
    given["platform"] = Platform(given["platform"])
    given["stage"] = Stage(given["stage"])
    given["role"] = Role(given.get("role", Role.PROJECTS))
    given["limits"] = Limits(**given["limits"])
    given["id"] = environment_id(given["id"])
    given["address"] = str(IPv4Address(str(given["address"])))
    given["routes"] = tuple(_route(Route(**route)) for route in given["routes"])
    given["pairs"] = tuple(Pair(**pair) for pair in given["pairs"])
    given["shares"] = tuple(Share(**share) for share in given["shares"])
    for one in given["openings"]:
        one |= {"sources": tuple(one["sources"]), "led_by": tuple(one.get("led_by", ()))}
    given["openings"] = tuple(Opening(**one) for one in given["openings"])
    given["projects"] = tuple(Allotment(**one) for one in given["projects"])
    given["move"] = Move(**given["move"]) if given.get("move") else None
    return well_typed(Record(**given))


def _route(given: Route) -> Route:
    """Return a route that the front can have; one that it refused would keep all others from it."""
    numbers = (given.port, given.hold, given.hsts)
    whole = all(type(one) is int and one >= 0 for one in numbers) and 0 < given.port < 65536
    if not whole or given.https not in HTTPS or host_pattern(given.host) != given.host:
        raise ValueError(f"not a route: {given!r:.200}")
    return given


class Records:
    """The records in one directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def _path(self, id: str) -> Path:
        return self.directory / f"{environment_id(id)}.json"

    def find(self, id: str) -> Record | None:
        """Return the record of an environment, or None."""
        return read_json(self._path(id), of, *_DAMAGED)

    def get(self, id: str) -> Record:
        """Return the record of the environment ``id``, or whose id begins so; or NotFound."""
        record = self.find(self.resolve(id))
        if record is None:
            raise NotFound(f"no environment {id} on this node", mend="list the environments")
        return record

    def resolve(self, id: str) -> str:
        """Return the full id for its first eight digits or more.

        Of decimal ones Salt's command line makes a number.
        """
        id = str(id)
        if len(id) < 36 and len(id) >= 8:
            found = [r.id for r in self.all() if r.id.startswith(id) or r.name == id]
            if len(found) > 1:
                raise InvalidInput(f"{id} names {len(found)} environments", mend="give more digits")
            if not found:
                raise NotFound(f"no environment {id} on this node", mend="list the environments")
            return found[0]
        return environment_id(id)

    def all(self) -> list[Record]:
        """Return all records that can be read, the oldest first."""
        return self._read()[0]

    def lasting(self) -> list[Record]:
        """Return those of them that are not being destroyed: what others are derived from."""
        return [record for record in self.all() if record.stage is not Stage.DESTROYING]

    def damaged(self) -> dict[str, str]:
        """Return what is wrong with each record that cannot be read, by its id."""
        return self._read()[1]

    def _read(self) -> tuple[list[Record], dict[str, str]]:
        found, damaged = list[Record](), {}
        for path in self.directory.glob("[0-9a-f]*.json"):
            try:
                record = read_json(path, of, *_DAMAGED)
            except CorpusError as error:
                damaged[path.stem] = str(error)
            else:
                found += [record] if record else []
        return sorted(found, key=lambda record: (record.made, record.id)), damaged

    def save(self, record: Record) -> None:
        """Write a record so that a crash leaves the old or the new one."""
        write_atomic(self._path(record.id), dump(record), 0o600)

    def remove(self, id: str) -> None:
        """Forget an environment."""
        self._path(id).unlink(missing_ok=True)
