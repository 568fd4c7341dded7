"""The node's front: host names led to environments by an HAProxy instance of our own.

A request for an environment whose service is down is held, not refused: HAProxy tries to
connect again every 50 ms until the route's seconds are over. Its pause between two tries is
the smaller of ``timeout connect`` and one second, so that refused connections and dropped SYNs
wait alike. Only a connection that was never made is tried again: no request runs twice.

What the proxy has taken is written down in ``applied.json`` after it has, and struck out before
anything changes: whoever is killed in between leaves a difference, and the next call does it again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import PurePath

from corpus.commands import haproxy
from corpus.model.errors import CorpusError
from corpus.node.certificates import store
from corpus.node.context import Node
from corpus.node.migration import peers
from corpus.node.network.doors import doors
from corpus.node.proxy import live, maps, pages
from corpus.node.proxy.config import config
from corpus.node.proxy.place import SERVICE, Place, inside, places, wait
from corpus.node.records import Record

__all__ = ["SERVICE", "apply", "differing", "mend", "start", "start_in"]

_APPLIED = "applied.json"
_CONFIG = "haproxy.cfg"
_CERTIFICATES = "certificates/"
# Starts the proxy when the environment boots, from the files that it has.
_WANTS = PurePath(f"/etc/systemd/system/multi-user.target.d/{SERVICE}.conf")


def apply(node: Node) -> None:
    """Have the front do what the records say, wherever it runs. Hold the node's lock.

    Where only maps or the content of certificates differ, the running worker takes them. Else a
    new one is started: the old one goes on with the connections that it has, for an hour at
    most; listening sockets are handed over, so that none is refused meanwhile.
    Raises CorpusError, with nothing changed when the configuration is refused.
    """
    for place in places(node):
        _apply(node, place)


def start(node: Node) -> None:
    """Write everything from the records and have the front run on the node. Hold its lock."""
    _start_at(node, places(node)[0])


def start_in(node: Node, record: Record) -> None:
    """Have the front run in an environment, now and whenever that boots. Hold the node's lock.

    Raises CorpusError.
    """
    place = inside(node, record)
    wait(place)
    place.host.put(_WANTS, f"[Unit]\nWants={SERVICE}\n".encode())
    _start_at(node, place)


def _start_at(node: Node, place: Place) -> None:
    wanted = _wanted(node, place)
    gone = _applied(place).keys() - wanted.keys()
    _note(place, dict.fromkeys(gone, ""))
    _take(place, wanted)
    _settle(place, wanted, gone)


def differing(node: Node) -> list[str]:
    """Return the files that are not what the records say, or that the proxy has not taken."""
    return [
        f"{place.host.name}:{place.folder / name}"
        for place in places(node)
        for name in _differing(node, place)
    ]


def mend(node: Node) -> None:
    """Write everything anew where something differs. Hold the node's lock."""
    for place in places(node):
        if _differing(node, place):
            _start_at(node, place)


def _differing(node: Node, place: Place) -> list[str]:
    wanted, applied = _wanted(node, place), _applied(place)
    return [
        *(
            n
            for n, text in wanted.items()
            if _read(place, n) != text or applied.get(n) != _digest(text)
        ),
        *sorted(applied.keys() - wanted.keys()),
    ]


def _apply(node: Node, place: Place) -> None:
    wanted, applied = _wanted(node, place), _applied(place)
    changed = {name for name, text in wanted.items() if applied.get(name) != _digest(text)}
    gone = applied.keys() - wanted.keys()
    if not changed and not gone:
        return
    _note(place, {name: digest for name, digest in applied.items() if name not in changed})
    texts = {name: wanted[name].decode() for name in sorted(changed & set(maps.NAMES))}
    renewed = {name for name in changed & applied.keys() if name.startswith(_CERTIFICATES)}
    pems = {name: wanted[name] for name in sorted(renewed)}
    small = not gone and changed == texts.keys() | pems.keys()
    if small and live.swap(place, _description(wanted), texts, pems):
        _write(place, wanted, changed)
    else:
        _take(place, wanted)
    _settle(place, wanted, gone)


def _take(place: Place, wanted: dict[str, bytes]) -> None:
    _check(place, wanted)
    _write(place, wanted, wanted.keys())
    place.reload()
    live.wait(place, _description(wanted))


def _settle(place: Place, wanted: dict[str, bytes], gone: set[str]) -> None:
    if gone:
        place.host.run(["rm", "-f", "--", *(str(place.folder / name) for name in sorted(gone))])
    _note(place, {name: _digest(text) for name, text in wanted.items()})


def _note(place: Place, digests: dict[str, str]) -> None:
    text = json.dumps(digests, indent=1, sort_keys=True) + "\n"
    place.host.put(place.folder / _APPLIED, text.encode())


def _wanted(node: Node, place: Place) -> dict[str, bytes]:
    """Return every file of the front by its name in its folder, as it should be."""
    records, settings = node.records.lasting(), node.settings
    routes = [(record, route) for record in records for route in record.routes]
    found = store.everything(settings)
    pems = {f"{_CERTIFICATES}{name}.pem": pem for name, pem in store.pems(settings, found).items()}
    listed = "".join(f"{place.folder / name}\n" for name in pems)
    texts = {
        "404.html": pages.UNKNOWN_HOST.encode(),
        "503.http": pages.maintenance().encode(),
        "certificates.list": listed.encode(),
    }
    led = doors(records) if place.doors else ()
    parts = (settings, place.folder, routes, led, peers.addresses(node))
    fixed = _digest(config(*parts).encode() + b"".join(texts.values()))
    texts[_CONFIG] = config(*parts, description=fixed).encode()
    challenged = [one.host for one in found if one.challenge == "http"]
    for name, text in maps.texts(records, routes, challenged).items():
        texts[name] = text.encode()
    return {**texts, **pems}


def _description(wanted: dict[str, bytes]) -> str:
    return haproxy.configured_description(wanted[_CONFIG].decode())


def _check(place: Place, wanted: dict[str, bytes]) -> None:
    """Have HAProxy check the files in a folder beside those that it runs with."""
    beside, real = place.folder / "new", str(place.folder)
    place.host.run(["rm", "-rf", "--", str(beside)])
    for name, text in wanted.items():
        named = name in (_CONFIG, "certificates.list")
        shown = text.replace(f"{real}/".encode(), f"{beside}/".encode()) if named else text
        place.host.put(beside / name, shown, _mode(name))
    try:
        place.host.run(haproxy.check(beside / _CONFIG))
    finally:
        place.host.run(["rm", "-rf", "--", str(beside)])


def _write(place: Place, wanted: dict[str, bytes], names: Iterable[str]) -> None:
    for name in sorted(names):
        text = wanted[name]
        if _read(place, name) != text:
            place.host.put(place.folder / name, text, _mode(name))


def _mode(name: str) -> int:
    return 0o600 if name.startswith(_CERTIFICATES) else 0o644


def _read(place: Place, name: str) -> bytes | None:
    try:
        return place.host.get(place.folder / name)
    except CorpusError:
        return None


def _applied(place: Place) -> dict[str, str]:
    try:
        return dict(json.loads(_read(place, _APPLIED) or b"{}"))
    except ValueError:
        return {}


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
