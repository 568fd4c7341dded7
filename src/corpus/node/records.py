"""The record of an environment: all that the node remembers of it, and how that is written."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from ipaddress import IPv4Address
from typing import Any

from corpus.commands.ip import hardware_address
from corpus.commands.nft import PROTOCOLS
from corpus.model.errors import Conflict
from corpus.model.mode import Platform
from corpus.model.names import environment_id, host_pattern
from corpus.model.networks import parse_network
from corpus.model.typed import well_typed

HTTPS = ("both", "redirect", "off")  # see ``Route``
INTERFACES = "cenv"  # what the names of the environments' interfaces begin with
PROXIES = "cpxy"  # those of environments of role proxy, which are no ports of the bridge


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
    given["routes"] = tuple(Route(**route) for route in given["routes"])
    given["pairs"] = tuple(Pair(**pair) for pair in given["pairs"])
    given["shares"] = tuple(Share(**share) for share in given["shares"])
    for one in given["openings"]:
        one |= {"sources": tuple(one["sources"]), "led_by": tuple(one.get("led_by", ()))}
    given["openings"] = tuple(Opening(**one) for one in given["openings"])
    given["projects"] = tuple(Allotment(**one) for one in given["projects"])
    given["move"] = Move(**given["move"]) if given.get("move") else None
    record = well_typed(Record(**given))
    _check_usable(record)
    return record


def _check_usable(record: Record) -> None:
    """Raise ValueError or InvalidInput for what front or firewall refuse, and so of all others."""
    ports = [record.ssh_port]
    for route in record.routes:
        ports.append(route.port)
        if host_pattern(route.host) != route.host or route.https not in HTTPS:
            raise ValueError(f"not a route: {route!r:.200}")
        if route.hold < 0 or route.hsts < 0:
            raise ValueError(f"not a time: {route!r:.200}")
    for opening in record.openings:
        ports += [opening.port, opening.node_port]
        if opening.protocol not in PROTOCOLS or not opening.sources:
            raise ValueError(f"not an open port: {opening!r:.200}")
        for source in opening.sources:
            parse_network(source)
    if there := record.move:
        ports += [there.http_port, there.ssh_port]
        IPv4Address(there.address)
    if not all(0 < port < 65536 for port in ports):
        raise ValueError(f"not a port among {ports!r:.200}")
