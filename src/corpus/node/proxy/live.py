"""Changes to a running proxy without a reload: maps, and certificates that are renewed."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import suppress

from corpus.commands import haproxy
from corpus.model.errors import CorpusError
from corpus.node.proxy.place import SERVICE, Place

_PATIENCE = 30  # seconds for a new worker to be there


def serves(place: Place, description: str) -> bool:
    """Tell whether the worker that answers has the configuration with this description."""
    answers = place.ask(["show info"])
    return bool(answers) and haproxy.parse_description(answers[0]) == description


def wait(place: Place, description: str) -> None:
    """Wait for the worker with this configuration; raises CorpusError past half a minute."""
    deadline = time.monotonic() + _PATIENCE
    while not serves(place, description):
        if time.monotonic() > deadline:
            raise CorpusError(
                "the proxy does not take its new configuration; the old one goes on",
                place.host.name,
                f"look with: journalctl -u {SERVICE}",
            )
        time.sleep(0.02)


def swap(
    place: Place, description: str, maps: Mapping[str, str], certificates: Mapping[str, bytes]
) -> bool:
    """Replace maps and certificates by these texts; False when a reload is needed instead.

    All maps are filled before the first counts.
    """
    prepared = place.ask(["show info", *(_prepare(place, name) for name in maps)])
    if not prepared or haproxy.parse_description(prepared[0]) != description:
        return False
    versions = [haproxy.parse_version(answer) for answer in prepared[1:]]
    filling: list[str] = []
    committing: list[str] = []
    for (name, text), version in zip(maps.items(), versions, strict=False):
        if version is None:
            return False
        filling += haproxy.fill_map(place.folder / name, version, text)
        committing.append(haproxy.commit_map(place.folder / name, version))
    done = place.ask([*filling, *committing])
    if len(done) != len(filling) + len(committing) or any(done):
        return False
    return all(_replace(place, name, pem) for name, pem in certificates.items())


def _prepare(place: Place, name: str) -> str:
    return haproxy.prepare_map(place.folder / name)


def _replace(place: Place, name: str, pem: bytes) -> bool:
    path = place.folder / name
    set_it = haproxy.set_certificate(path, pem.decode())
    answers = place.ask([set_it, haproxy.commit_certificate(path)])
    if len(answers) == 2 and "Success!" in answers[1]:
        return True
    with suppress(CorpusError):
        place.ask([haproxy.abort_certificate(path)])
    return False
