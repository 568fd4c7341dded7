"""Salt execution module ``mc_project``: releases, and the environments that they come from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from corpus.model.deployment import DeploymentId
from corpus.model.errors import NotFound
from corpus.model.manifest import Manifest
from corpus.project import peers as pairing
from corpus.project import promotion
from corpus.project import releases as shelf
from corpus.saltext.calls import Call, say
from corpus.saltext.edge import Port, edge

__virtualname__ = "mc_project"
__opts__: dict[str, Any]
__pillar__: Mapping[str, Any]
__context__: dict[str, Any]


def __virtual__() -> str:
    """Load under the name ``mc_project``, beside the module of that name."""
    return __virtualname__


def _call() -> Call:
    return Call(dict(__opts__), dict(__pillar__))


@edge
def releases(name: str) -> list[dict[str, Any]]:
    """Return what the manifests of the project's releases say, the newest first; unverified."""
    return [_told(manifest) for manifest in shelf.listed(_call().project(name))]


@edge
def verify(name: str, release: str | None = None) -> dict[str, Any]:
    """Verify a release, by the id of its deployment (the newest by default), and return it.

    .. code-block:: console

        # salt-call --local --retcode-passthrough mc_project.verify guestbook
    """
    project = _call().project(name)
    found = [DeploymentId.parse(release)] if release else shelf.deployments(project)
    if not found:
        raise NotFound(f"no release of {name} is here", where=str(project.paths.releases))
    return _told(shelf.verify(project, max(found)))


@edge
def fetch_release(name: str, release: str | None = None) -> dict[str, Any]:
    """Bring a release here and verify it, without deploying it; return its manifest.

    A promotion then needs no staging environment.

    release
        A deployment's id; the newest that staging offers by default.

    .. code-block:: console

        # salt-call --local mc_project.fetch_release guestbook
    """
    return promotion.bring(_call().project(name), release, say).as_dict()


@edge
def identity(name: str, address: str | None = None, port: Port | None = None) -> dict[str, Any]:
    """Return what this environment is to a peer of the project: what ``pair`` takes there.

    address, port
        Where the peer reaches this environment's SSH server, when it is on another node.

    .. code-block:: console

        # salt-call --local --out=json mc_project.identity guestbook
    """
    return pairing.identity(_call().project(name), address, port).as_dict()


@edge
def pair(name: str, peer: dict[str, Any]) -> dict[str, Any]:
    """Pair this environment with another one for a project: staging with production.

    peer
        What ``identity`` returned there. Between environments of one node
        ``corpus_node.pair`` does both sides.
    """
    # As it is printed with --out=json.
    given = peer["local"] if isinstance(peer, dict) and list(peer) == ["local"] else peer
    return pairing.pair(_call().project(name), given).as_dict()


@edge
def unpair(name: str, environment: str | None = None) -> list[str]:
    """Forget one peer of a project, or all; return the ids of those forgotten."""
    return pairing.unpair(_call().project(name), environment)


@edge
def peers(name: str) -> list[dict[str, Any]]:
    """Return the environments that a project is paired with."""
    return [peer.as_dict() for peer in pairing.listed(_call().project(name))]


def _told(manifest: Manifest) -> dict[str, Any]:
    """Return a manifest with the sums over its parts."""
    sums = {key: getattr(manifest, key) for key in ("size", "files", "archive_size")}
    return manifest.as_dict() | sums
