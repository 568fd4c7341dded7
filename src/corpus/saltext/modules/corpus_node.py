"""Execution functions of a compute node; the work is done by ``corpus.node``.

Every function returns plain values. An error of ours becomes a CommandExecutionError with the
message and, as ``exit_code``, our exit code (``salt-call`` itself ends with 1 for every error).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from functools import wraps
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from salt.exceptions import CommandExecutionError

from corpus.model.errors import CorpusError, InvalidInput
from corpus.node import boot as _boot
from corpus.node import environments, images, lifecycle, pairing, proxy, room
from corpus.node.context import Node, this_node

__virtualname__ = "corpus_node"
__func_alias__ = {"list_": "list", "exec_": "exec"}
__context__: dict[str, Any]
__opts__: dict[str, Any]

_P = ParamSpec("_P")
_T = TypeVar("_T")


def __virtual__() -> str:
    """Load under the name ``corpus_node``."""
    return __virtualname__


def _edge(function: Callable[_P, _T]) -> Callable[_P, _T]:
    @wraps(function)
    def call(*args: _P.args, **kwargs: _P.kwargs) -> _T:
        try:
            return function(*args, **kwargs)
        except CorpusError as error:
            __context__["retcode"] = error.exit_code
            failure = CommandExecutionError(str(error))
            failure.exit_code = error.exit_code
            raise failure from error

    return call


def _node() -> Node:
    file = __opts__.get("corpus_node_settings")
    return this_node(Path(file)) if file else this_node()


def _words(given: str | list[Any] | None) -> list[str]:
    """Return a list for a list, or for a text with commas or line ends between its parts."""
    if given is None:
        return []
    parts = given.replace("\n", ",").split(",") if isinstance(given, str) else given
    return [str(part).strip() for part in parts if str(part).strip()]


def _pairs(given: str | dict[str, Any] | None) -> dict[str, str]:
    """Return a mapping for a mapping, or for a text such as ``a=1,b=2``. Raises InvalidInput."""
    if isinstance(given, dict):
        return {str(name): str(value) for name, value in given.items()}
    words = _words(given)
    if not all("=" in word for word in words):
        raise InvalidInput(f"not pairs: {given!r:.60}", mend="write NAME=VALUE,NAME=VALUE")
    return dict(word.split("=", 1) for word in words)


@_edge
def prepare() -> dict[str, Any]:
    """Make this machine a node: pool, bridge, firewall, proxy. May be called again.

    CLI Example: ``salt-call --local corpus_node.prepare``
    """
    return _boot.prepare(_node())


@_edge
def facts() -> dict[str, Any]:
    """Return what the node has and can do: pool, quotas, network.

    CLI Example: ``salt-call --local corpus_node.facts``
    """
    return _boot.facts(_node())


@_edge
def boot() -> dict[str, str]:
    """Rebuild everything from the records and start what is wanted.

    CLI Example: ``salt-call --local corpus_node.boot``
    """
    return _boot.boot(_node())


@_edge
def image_import(directory: str) -> dict[str, Any]:
    """Bring the image in ``directory`` (manifest and layers) into the pool.

    CLI Example: ``salt-call --local corpus_node.image_import /var/cache/corpus/images/x``
    """
    image = images.import_image(_node(), Path(directory))
    return {**asdict(image), "id": image.id}


@_edge
def image_list() -> list[dict[str, Any]]:
    """Return the images in the pool, the oldest first.

    CLI Example: ``salt-call --local corpus_node.image_list``
    """
    return [{**asdict(image), "id": image.id} for image in images.listed(_node())]


@_edge
def create(
    id: str | None = None,
    platform: str = "staging",
    size: str | int = "5G",
    memory: str | int | None = None,
    cpu: float | str | None = None,
    pids: int | None = None,
    size_limit: str | int | None = None,
    image: str | None = None,
    hosts: str | list[str] | None = None,
    keys: str | list[str] | None = None,
    address: str | None = None,
    ssh_port: int | None = None,
    share: str | dict[str, Any] | None = None,
    wait: float = 10.0,
) -> dict[str, Any]:
    """Make and start an environment; with the ``id`` of one that is there, start that.

    ``hosts``: host names led to its port 80. ``keys``: SSH public keys of its root. ``wait``:
    seconds for its SSH server to answer, 0 not to wait. ``share``: directories of this machine
    that are project directories of a ``dev`` environment, as ``demo=/home/ann/demo``.

    CLI Example: ``salt-call --local corpus_node.create platform=staging size=5G memory=512M``
    """
    return environments.create(
        _node(),
        id=id,
        platform=platform,
        size=size,
        memory=memory,
        cpu=cpu,
        pids=pids,
        size_limit=size_limit,
        image=image,
        hosts=_words(hosts),
        keys=_words(keys),
        address=address,
        ssh_port=ssh_port,
        share=_pairs(share),
        wait=wait,
    )


@_edge
def start(id: str) -> dict[str, Any]:
    """Start an environment, now and at every boot.

    CLI Example: ``salt-call --local corpus_node.start ID``
    """
    node = _node()
    return environments.inspect(node, lifecycle.start(node, id).id)


@_edge
def stop(id: str, timeout: int = 30) -> dict[str, Any]:
    """Stop an environment, also across boots; killed after ``timeout`` seconds.

    CLI Example: ``salt-call --local corpus_node.stop ID``
    """
    node = _node()
    return environments.inspect(node, lifecycle.stop(node, id, int(timeout)).id)


@_edge
def limit(
    id: str,
    size: str | int | None = None,
    memory: str | int | None = None,
    cpu: float | str | None = None,
    pids: int | None = None,
    size_limit: str | int | None = None,
) -> dict[str, Any]:
    """Change limits of an environment while it runs; what is left out stays.

    CLI Example: ``salt-call --local corpus_node.limit ID memory=1G``
    """
    node = _node()
    record = lifecycle.limit(
        node, id, size=size, memory=memory, cpu=cpu, pids=pids, size_limit=size_limit
    )
    return environments.inspect(node, record.id)


@_edge
def enlarge(id: str, size: str | int | None = None) -> dict[str, Any]:
    """Raise the size of an environment to ``size``, by default by 5G, as it can itself.

    Refused past its ``size_limit``, and when the pool would be left with too little.

    CLI Example: ``salt-call --local corpus_node.enlarge ID size=20G``
    """
    node = _node()
    return environments.inspect(node, room.enlarge(node, id, size).id)


@_edge
def list_() -> list[dict[str, Any]]:
    """Return all environments of the node, the oldest first.

    CLI Example: ``salt-call --local corpus_node.list``
    """
    return environments.listed(_node())


@_edge
def inspect(id: str) -> dict[str, Any]:
    """Return one environment: state, address, SSH port, limits, use, routes.

    CLI Example: ``salt-call --local corpus_node.inspect ID``
    """
    return environments.inspect(_node(), id)


@_edge
def destroy(id: str) -> bool:
    """Remove an environment with all its data; False when there is none.

    CLI Example: ``salt-call --local corpus_node.destroy ID``
    """
    return environments.destroy(_node(), id)


@_edge
def route(id: str, host: str, port: int = 80, hold: int = 60) -> dict[str, Any]:
    """Lead a host name to an environment; requests are held up to ``hold`` seconds.

    CLI Example: ``salt-call --local corpus_node.route ID guestbook.localhost port=8000``
    """
    return asdict(proxy.route(_node(), id, host, port, hold))


@_edge
def unroute(host: str) -> bool:
    """Lead a host name nowhere; False when it led nowhere already.

    CLI Example: ``salt-call --local corpus_node.unroute guestbook.localhost``
    """
    return proxy.unroute(_node(), host)


@_edge
def pair(staging: str, prod: str, project: str) -> dict[str, Any]:
    """Let a prod environment fetch the releases of a project from a staging one.

    Both are of this node and run, and the project is initialised in both.

    CLI Example: ``salt-call --local corpus_node.pair STAGING PROD guestbook``
    """
    return pairing.pair(_node(), staging, prod, project)


@_edge
def unpair(staging: str, prod: str, project: str) -> bool:
    """Take back what ``pair`` did; False when there was nothing.

    CLI Example: ``salt-call --local corpus_node.unpair STAGING PROD guestbook``
    """
    return pairing.unpair(_node(), staging, prod, project)


@_edge
def exec_(
    id: str,
    argv: list[str],
    stdin: str | None = None,
    user: str | None = None,
    timeout: float | None = None,
) -> dict[str, Any]:
    """Run a command (a list of words) inside an environment; its code is the return code.

    CLI Example: ``salt-call --local corpus_node.exec ID '["systemctl", "--failed"]'``
    """
    result = lifecycle.execute(_node(), id, argv, stdin=stdin, user=user, timeout=timeout)
    __context__["retcode"] = result.code
    return {"code": result.code, "out": result.out, "err": result.err}
