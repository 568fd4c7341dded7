"""The node's front: host names led to environments by an HAProxy instance of our own.

A request for an environment whose service is down is held, not refused: HAProxy tries to
connect again every 50 ms until the route's seconds are over. Its pause between two tries is
the smaller of ``timeout connect`` and one second, so that refused connections and dropped SYNs
wait alike. Only a connection that was never made is tried again: no request runs twice.

What the proxy has taken is written down in ``applied.json`` after it has, and struck out before
anything changes: whoever is killed in between leaves a difference, and the next call does it again.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from itertools import islice

from corpus.commands import haproxy
from corpus.node.certificates import store
from corpus.node.context import Node
from corpus.node.migration import peers
from corpus.node.network.doors import doors
from corpus.node.proxy import live, maps, pages
from corpus.node.proxy.config import config
from corpus.node.proxy.place import CERTIFICATES, NEW, SERVICE, Place, digest, own

__all__ = ["SERVICE", "apply", "differences", "differing", "files", "mend", "renew", "start",
           "update"]  # fmt: skip

APPLIED = "applied.json"
_CONFIG = "haproxy.cfg"
_NAME = re.compile(rf"(?:{CERTIFICATES})?[a-z0-9_][a-z0-9._-]{{0,256}}", re.ASCII)
_DIGEST = re.compile(r"(?:[0-9a-f]{64})?", re.ASCII)
_GONE = 2000  # files at most that are to be removed: their names must fit into a command


def apply(node: Node) -> None:
    """Have the front on the node do what the records say. Hold the node's lock.

    Where only maps or the content of certificates differ, the running worker takes them. Else a
    new one is started: the old one goes on with the connections that it has, for an hour at
    most; listening sockets are handed over, so that none is refused meanwhile.
    Raises CorpusError, with nothing changed when the configuration is refused.
    """
    store.prepare(node)
    update(own(node), files(node, own(node)))


def start(node: Node) -> None:
    """Write everything from the records and have the front run on the node. Hold its lock."""
    store.prepare(node)
    renew(own(node), files(node, own(node)))


def differing(node: Node) -> list[str]:
    """Return the node's files that are not what the records say, or that its proxy has not taken.

    Hold the node's lock.
    """
    return differences(own(node), files(node, own(node)))


def mend(node: Node) -> None:
    """Write everything anew where something differs. Hold the node's lock."""
    if differing(node):
        start(node)


def files(node: Node, place: Place) -> dict[str, bytes]:
    """Return every file of the front by its name in its folder, as it should be.

    Hold the node's lock.
    """
    records, settings = node.records.lasting(), node.settings
    routes = [(record, route) for record in records for route in record.routes]
    found = store.everything(settings)
    pems = {f"{CERTIFICATES}{name}.pem": pem for name, pem in store.pems(settings).items()}
    listed = "".join(f"{place.folder / name}\n" for name in pems)
    texts = {
        "404.html": pages.UNKNOWN_HOST.encode(),
        "503.http": pages.maintenance().encode(),
        "certificates.list": listed.encode(),
    }
    led = doors(records) if place.doors else ()
    parts = (settings, place.folder, routes, led, [*peers.addresses(node).values()])
    fixed = digest(config(*parts).encode() + b"".join(texts.values()))
    texts[_CONFIG] = config(*parts, description=fixed).encode()
    challenged = [one.host for one in found if one.challenge == "http"]
    for name, text in maps.texts(records, routes, challenged).items():
        texts[name] = text.encode()
    return {**texts, **pems}


def differences(place: Place, wanted: Mapping[str, bytes]) -> list[str]:
    """Return the files of a place that are not as ``wanted``, or that its proxy has not taken."""
    there, applied = place.digests(wanted), _applied(place, wanted)
    names = [n for n, text in wanted.items() if not there.get(n) == applied.get(n) == digest(text)]
    names += sorted(applied.keys() - wanted.keys())
    return [f"{place.host.name}:{place.folder / name}" for name in names]


def update(place: Place, wanted: Mapping[str, bytes]) -> None:
    """Have the proxy of a place take what it has not; raises CorpusError as ``apply`` does."""
    applied = _applied(place, wanted)
    changed = {name for name, text in wanted.items() if applied.get(name) != digest(text)}
    gone = applied.keys() - wanted.keys()
    if not changed and not gone:
        return
    _note(place, {name: told for name, told in applied.items() if name not in changed})
    texts = {name: wanted[name].decode() for name in sorted(changed & set(maps.NAMES))}
    renewed = {name for name in changed & applied.keys() if name.startswith(CERTIFICATES)}
    pems = {name: wanted[name] for name in sorted(renewed)}
    small = not gone and changed == texts.keys() | pems.keys()
    if small and live.swap(place, _description(wanted), texts, pems):
        _write(place, wanted, changed)
    else:
        _take(place, wanted)
    _settle(place, wanted, gone)


def renew(place: Place, wanted: Mapping[str, bytes]) -> None:
    """Write all files of a place anew and have its proxy run with them; raises CorpusError."""
    gone = _applied(place, wanted).keys() - wanted.keys()
    _note(place, dict.fromkeys(gone, ""))
    _take(place, wanted)
    _settle(place, wanted, gone)


def _take(place: Place, wanted: Mapping[str, bytes]) -> None:
    _check(place, wanted)
    _write(place, wanted, wanted.keys())
    place.reload()
    live.wait(place, _description(wanted))


def _settle(place: Place, wanted: Mapping[str, bytes], gone: Iterable[str]) -> None:
    if gone:
        place.remove(gone)
    _note(place, {name: digest(text) for name, text in wanted.items()})


def _note(place: Place, digests: Mapping[str, str]) -> None:
    text = json.dumps(digests, indent=1, sort_keys=True) + "\n"
    place.put({APPLIED: text.encode()})


def _description(wanted: Mapping[str, bytes]) -> str:
    return haproxy.configured_description(wanted[_CONFIG].decode())


def _check(place: Place, wanted: Mapping[str, bytes]) -> None:
    """Have HAProxy check the files in a folder beside those that it runs with."""
    real, beside = f"{place.folder}/".encode(), f"{place.folder / NEW}/".encode()
    led = {name: wanted[name].replace(real, beside) for name in (_CONFIG, "certificates.list")}
    place.remove([NEW])
    place.put({f"{NEW}{name}": text for name, text in {**wanted, **led}.items()})
    try:
        place.host.run(haproxy.check(place.folder / NEW / _CONFIG))
    finally:
        place.remove([NEW])


def _write(place: Place, wanted: Mapping[str, bytes], names: Iterable[str]) -> None:
    there = place.digests(names)
    differing = {name: wanted[name] for name in names if there.get(name) != digest(wanted[name])}
    if differing:
        place.put(differing)


def _applied(place: Place, wanted: Mapping[str, bytes]) -> dict[str, str]:
    """Return the digests of what was taken; an environment may have written there what it likes.

    Kept is what may be a file of the front, and no more that is not ``wanted`` than can be removed.
    """
    try:
        said = dict(json.loads(place.get(APPLIED) or b"{}"))
    except (ValueError, TypeError, RecursionError):
        return {}
    sound = {name: told for name, told in said.items() if _sound(name, told)}
    gone = islice((name for name in sound if name not in wanted), _GONE)
    return {name: sound[name] for name in [*(sound.keys() & wanted.keys()), *gone]}


def _sound(name: object, told: object) -> bool:
    if not isinstance(name, str) or not isinstance(told, str):
        return False
    return bool(_NAME.fullmatch(name) and _DIGEST.fullmatch(told))
