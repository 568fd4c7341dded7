"""A copy of an environment, to try things on: all that it holds, and nothing that it is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import uuid4

from corpus.model.errors import Conflict, CorpusError, InvalidInput
from corpus.model.mode import Platform, parse_platform
from corpus.model.names import environment_id
from corpus.node.context import Node
from corpus.node.environments import (
    guest,
    lifecycle,
    listing,
    lost,
    making,
    removal,
    renewing,
    rootfs,
    stillness,
)
from corpus.node.environments import limits as bounds
from corpus.node.environments.making import Wanted
from corpus.node.network import addresses
from corpus.node.proxy import routes
from corpus.node.records import Record
from corpus.node.storage import copies

_BECOMES = {Platform.PROD: (Platform.STAGING,)}
"""The other types that a copy may be of: what production has, tried on staging. Staging is not
production by a copy but by a promotion, and a dev environment's code is a developer's."""


def plan(
    node: Node,
    id: str,
    *,
    new: str | None = None,
    platform: str | None = None,
    size: str | int | None = None,
    memory: str | int | None = None,
    cpu: float | str | None = None,
    pids: int | str | None = None,
    hosts: Sequence[str] = (),
    address: str | None = None,
    ssh_port: int | None = None,
) -> tuple[Record, Wanted]:
    """Return the original and what its copy is to be. Raises what ``clone`` raises."""
    record = lifecycle.ready(node, node.records.resolve(id))
    if record.shares:
        raise InvalidInput(
            f"environment {record.name} shares directories of this machine, which no copy has",
            mend="push its project to another environment instead",
        )
    if new is not None:
        if node.records.find(environment_id(new)) is not None:
            raise Conflict(f"environment {new} is there", mend="leave new out, or destroy it")
        lost.check_new(node, environment_id(new))
    led, records = routes.parse_routes(hosts), node.records.all()
    routes.check_free(records, led, "")
    if address is not None:
        addresses.free_address(node, records, address)
    if ssh_port is not None:
        addresses.free_port(node, records, ssh_port)
    given = bounds.changed(
        record.limits, size=size, memory=memory, cpu=cpu, pids=pids, size_limit=None
    )
    kind = type_of_copy(record.platform, platform)
    role = making.check_role(record.role, led)
    return record, Wanted(
        kind, record.image, given, address, ssh_port, led, role=role, projects=record.projects
    )


def changes(
    node: Node,
    id: str,
    *,
    keys: Sequence[str] = (),
    freeze: bool = True,
    start: bool = True,
    **given: Any,
) -> list[str]:
    """Tell what ``clone`` would do. Raises what it would raise."""
    rootfs.public_keys(keys)
    original, wanted = plan(node, id, **given)
    stillness.check(node, original, wanted=freeze, apart=True)
    new = given.get("new") or "a new id"
    return [
        f"copy {original.name} to a {wanted.platform} environment with {new}",
        *(f"lead {route.host} to it" for route in wanted.routes),
        *(["start it"] if start else []),
    ]


def type_of_copy(original: Platform, asked: str | None) -> Platform:
    """Return the platform type of a copy: by default the original's. Raises InvalidInput."""
    kind = original if asked is None else parse_platform(asked)
    if kind is not original and kind not in _BECOMES.get(original, ()):
        raise InvalidInput(
            f"a copy of a {original} environment is no {kind} environment",
            mend="a copy has the type of its original; of a prod one it may be staging",
        )
    return kind


def clone(
    node: Node,
    id: str,
    *,
    new: str | None = None,
    keys: Sequence[str] = (),
    freeze: bool = True,
    start: bool = True,
    wait: float = 10.0,
    **given: Any,
) -> dict[str, Any]:
    """Make a copy of an environment, which may run; return what ``inspect`` returns.

    It has an id (``new``, else a random one), an address, a port, host keys and a machine id of
    its own, no routes but ``hosts``, no pairs, and no key that speaks for the original (see
    ``renewing``). ``freeze`` halts the original for the instant of the copy. ``start``: it begins
    to run. ``keys`` take the place of the keys of its root. ``given`` is what ``plan`` takes. On
    a failure all that was made is removed again. Raises InvalidInput, Conflict, NotFound,
    CommandFailed, CorpusError.
    """
    chosen, public = str(uuid4()) if new is None else environment_id(new), rootfs.public_keys(keys)
    with removal.alone(node, chosen):
        left = node.records.find(chosen)
        if left is not None and left.half_made:
            removal.remove(node, left)
        original, wanted = plan(node, id, new=chosen, **given)
        with making.allocated(node, chosen, wanted) as record:
            with node.lock(original.id):
                original = lifecycle.ready(node, original.id)
                with stillness.still(node, original, wanted=freeze, apart=True):
                    source, place = (
                        guest.home(node.settings, one) for one in (original.id, chosen)
                    )
                    copies.make(node, source, place, record)
            try:
                renewing.renew(node, record, public)
            except OSError as error:
                raise CorpusError(f"the copy cannot be given its own identity: {error}") from None
            making.finish(node, record, start=start)
    if start and wait:
        lifecycle.wait_for_ssh(node, chosen, wait)
    return listing.inspect(node, chosen)
