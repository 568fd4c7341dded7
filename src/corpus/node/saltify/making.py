"""A machine becomes an environment, and is put right when it is none any more."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

from corpus.hosts.ssh import SSH
from corpus.model.errors import Conflict, InvalidInput
from corpus.model.mode import parse_platform
from corpus.model.names import environment_id
from corpus.model.peer import host_address, port_number, public_key
from corpus.node import keypairs
from corpus.node.context import Node
from corpus.node.environments.rootfs import public_keys
from corpus.node.records import Stage
from corpus.node.saltify import contents as things
from corpus.node.saltify import looking, placing
from corpus.node.saltify.records import LOCK, Machine, Machines


def own_key(node: Node) -> str:
    """Return the public key that the node reaches machines with, made at the first call."""
    return public_key(keypairs.public(node, Machines(node).key, LOCK))


def prepare(
    node: Node,
    host: str,
    *,
    port: int = 22,
    user: str = "root",
    key: str | None = None,
    platform: str = "prod",
    id: str | None = None,
    keys: Sequence[str] = (),
    host_key: str | None = None,
    accept_new: bool = False,
    image: str | None = None,
    test: bool = False,
) -> dict[str, Any]:
    """Make the machine at ``host`` an environment, or complete it; return what ``describe`` does.

    ``key`` is the file of a private key that root there accepts (default: the node's own),
    ``keys`` are public keys of its root, ``host_key`` is its SSH server's public ed25519 key.
    The first contact needs that, or ``accept_new``. ``image`` is the directory of the
    environments' image, remembered for later calls. Raises InvalidInput, NotFound, Conflict,
    Unsupported, CommandFailed.
    """
    machines = Machines(node)
    given: dict[str, Any] = {
        "host": host_address(host),
        "port": port_number(port),
        "user": _user(user),
        "platform": parse_platform(platform),
        "keys": tuple(public_keys(keys)),
    }
    named = _id(node, id, given["host"], given["port"])
    with alone(node, named):
        if node.records.find(named):
            raise Conflict(f"{named} is an environment of this node", mend="leave id out")
        machine = _asked(machines, named, given, key=key, host_key=host_key, image=image)
        if not machine.host_key and not accept_new:
            raise InvalidInput(
                "the machine's host key is not known", machine.host,
                "give host_key= what /etc/ssh/ssh_host_ed25519_key.pub there holds, or "
                "accept_new=True to take what it shows now",
            )  # fmt: skip
        with looking.reached(node, machine) as (reached, pinned):
            return _complete(node, reached, pinned, test=test, mend=True)


def check(
    node: Node, id: str, *, mend: bool = False, image: str | None = None, test: bool = False
) -> dict[str, Any]:
    """Return how a machine differs from what was put there; with ``mend`` put it right.

    ``changes`` is what there is to do, or was done; ``differs`` says of each path whether it is
    ``absent``, ``changed``, or ``foreign`` in our tree, which is left. Raises as ``prepare``.
    """
    machines = Machines(node)
    named = machines.get(id).id
    with alone(node, named):
        machine = machines.get(named)
        machine = machine.changed(image=_image(image) if image else machine.image)
        with looking.reached(node, machine) as (there, pinned):
            return _complete(node, there, pinned, test=test, mend=mend)


@contextmanager
def alone(node: Node, id: str) -> Iterator[None]:
    """Hold a machine's lock; its file goes with the record."""
    with node.lock(id):
        try:
            yield
        finally:
            if Machines(node).find(id) is None:
                (node.settings.locks / id).unlink(missing_ok=True)


def _user(user: object) -> str:
    name = str(user)
    if not name.replace("-", "").replace("_", "").isalnum() or name.startswith("-"):
        raise InvalidInput(f"not an account: {ascii(name)[:40]}")
    return name


def _image(directory: str) -> str:
    return str(Path(directory).absolute())


def _id(node: Node, id: str | None, host: str, port: int) -> str:
    """Return the id of the machine at ``host``: the one given, known, or a new one."""
    known = [
        machine for machine in Machines(node).all() if (machine.host, machine.port) == (host, port)
    ]
    if id is None:
        return known[0].id if known else str(uuid4())
    named = environment_id(id)
    for machine in known:
        if machine.id != named:
            raise Conflict(f"{host} is the machine {machine.id}", mend="leave id out")
    return named


def _asked(
    machines: Machines,
    id: str,
    given: dict[str, Any],
    *,
    key: str | None,
    host_key: str | None,
    image: str | None,
) -> Machine:
    """Return the record of what is asked, over what is known of the machine."""
    there = machines.find(id)
    if there is None and image is None:
        raise InvalidInput(
            "which image the machine is made from is not said",
            mend="give image= the directory of the environments' image (manifest.json, layers)",
        )
    if there and there.platform != given["platform"]:
        raise Conflict(f"the machine is of type {there.platform}", mend="remove it first")
    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    base = there or Machine(id=id, key=str(machines.key), host_key="", image="", made=now, **given)
    return base.changed(
        **{**given, "keys": tuple(dict.fromkeys([*base.keys, *given["keys"]]))},
        key=str(Path(key).absolute()) if key else base.key,
        host_key=public_key(host_key) if host_key else base.host_key,
        image=_image(image) if image else base.image,
    )


def _complete(node: Node, host: SSH, machine: Machine, *, test: bool, mend: bool) -> dict[str, Any]:
    name = host.run(["uname", "-n"]).out.strip()
    contents = things.of(machine, name)
    found = looking.look(host, machine, name, contents)
    if test:
        return {"test": True, "changes": found.changes}
    kept = {}
    if mend:
        Machines(node).save(machine)
        kept = placing.apply(host, machine, contents, found)
        machine = machine.changed(stage=Stage.READY, digest=contents.image.digest)
        Machines(node).save(machine)
    return {
        **describe(machine),
        "name": name,
        "differs": found.differs,
        "changes": found.changes,
        "kept": kept,
        "projects": found.survey["projects"],
        "notes": [*found.notes, *(placing.ssh_notes(host) if mend else [])],
    }


def describe(machine: Machine) -> dict[str, Any]:
    """Return a machine as plain values."""
    return {**vars(machine), "platform": str(machine.platform), "stage": str(machine.stage),
            "keys": list(machine.keys)}  # fmt: skip
