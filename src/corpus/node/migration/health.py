"""What of an environment ran before it moved, and whether it runs again."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from corpus.commands import ip, systemctl
from corpus.hosts.container import Container
from corpus.model.errors import CorpusError
from corpus.node.context import Node
from corpus.node.environments import lifecycle
from corpus.node.records import Record

_PATIENCE = 30.0  # seconds for all of it to run again
_BOOTED = 4.0  # seconds of it once the boot is over
_OFTEN = 0.03
_ASK = 10.0


@dataclass(frozen=True)
class Survey:
    """The services that run, and those of its routes' and open ports at which somebody listens."""

    units: tuple[str, ...] = ()
    ports: tuple[int, ...] = ()


def survey(node: Node, record: Record, *, starting: bool = False) -> Survey:
    """Return what runs in an environment, or is ``starting``, as far as it does wherever it is.

    What belongs to a login or was begun by hand (``run-…``, with an ``@``) is left out.
    """
    if lifecycle.state(node, record)[0] != "RUNNING":
        return Survey()
    inside = Container(record.id, node.host, node.settings.lxcpath)
    shown = inside.run(systemctl.running_services(starting=starting), check=False, timeout=_ASK)
    units = systemctl.parse_units(shown.out)
    kept = {unit for unit in units if "@" not in unit and not unit.startswith("run-")}
    listening = ip.parse_listeners(inside.run(ip.listeners(), check=False, timeout=_ASK).out)
    ports = {route.port for route in record.routes}
    ports |= {one.port for one in record.openings if one.protocol == "tcp"}
    return Survey(tuple(sorted(kept)), tuple(sorted(ports & set(listening))))


def _answers(node: Node, record: Record) -> bool:
    try:
        lifecycle.wait_for_ssh(node, record.id, 0)
    except CorpusError:
        return False
    return True


def booted(node: Node, record: Record) -> bool:
    """Tell whether an environment has started all that it starts at boot."""
    inside = Container(record.id, node.host, node.settings.lxcpath)
    shown = inside.run(systemctl.system_state(), check=False, timeout=_ASK)
    return shown.out.strip() in ("running", "degraded")


def wait(node: Node, record: Record, wanted: Survey, lost: Callable[[], bool]) -> None:
    """Wait until SSH answers and all that was ``wanted`` runs. Raises CorpusError.

    ``lost`` tells that nobody waits for it any more.
    """
    deadline = time.monotonic() + _PATIENCE
    while not _answers(node, record):
        if time.monotonic() > deadline or lost():
            lifecycle.wait_for_ssh(node, record.id, 0)
            break
        time.sleep(_OFTEN)
    while True:
        found = survey(node, record, starting=True)
        units = set(wanted.units) - set(found.units)
        ports = set(wanted.ports) - set(found.ports)
        if not units and not ports:
            return
        if deadline - time.monotonic() > _BOOTED and booted(node, record):
            deadline = time.monotonic() + _BOOTED
        if time.monotonic() > deadline or lost():
            missing = [*sorted(units), *(f"port {port}" for port in sorted(ports))]
            raise CorpusError(
                f"{record.name} started, but what ran before does not: {', '.join(missing)}",
                mend="see why it needs the node that it was on; or stop that service first",
            )
        time.sleep(_OFTEN)
