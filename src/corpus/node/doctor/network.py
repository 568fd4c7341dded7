"""Checks of the network: the bridge, what the kernel filters, cables that lead nowhere."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from corpus.commands import ip, nft
from corpus.commands import network as commands
from corpus.commands.network import show_table as show
from corpus.model.errors import CorpusError
from corpus.model.finding import Finding, State
from corpus.node.context import Node
from corpus.node.network import bridge as bridges
from corpus.node.network import firewall as walls
from corpus.node.records import INTERFACES


def bridge(node: Node) -> Iterator[Finding]:
    """The bridge is there, with its address, its own hardware address, and forwarding."""
    settings, host = node.settings, node.host
    name = settings.bridge
    shown = host.run(commands.link(name), check=False)
    if shown.code:
        yield _unlike(node, "it is not there: no environment has a network")
        return
    mac = ip.hardware_address(str(settings.gateway))
    if (found := commands.parse_hardware_address(shown.out)) != mac:
        yield _unlike(node, f"its hardware address is {found}, not {mac}")
    links = commands.parse_links(host.run(ip.addresses()).out)
    wanted = f"{settings.gateway}/{settings.network.prefixlen}"
    if wanted not in [str(one) for link in links if link.name == name for one in link.addresses]:
        yield _unlike(node, f"it has not the address {wanted}")
    for key in bridges.switches(node):
        if _read(node, Path("/proc/sys", key)) != "1":
            yield _unlike(node, f"{key} is off")


def _unlike(node: Node, what: str) -> Finding:
    def repair() -> None:
        with node.lock():
            bridges.prepare(node)

    return Finding("bridge", State.BAD, what, node.settings.bridge, "it is put right", repair)


def _read(node: Node, path: Path) -> str:
    try:
        return node.host.get(path).decode().strip()
    except CorpusError:
        return ""


def firewall(node: Node) -> Iterator[Finding]:
    """The kernel filters what the records say: the same rules are loaded aside and compared."""
    with node.lock():
        wanted = _wanted(node)
        found = {one: _shown(node, show(*one), check=False) for one in wanted}
    for table, mine in wanted.items():
        if mine != (live := found[table]):
            what = "it differs from the records" if live else "it is not loaded: all is open"
            repair = partial(walls.load, node)
            yield Finding("firewall", State.BAD, what, " ".join(table), "it is loaded anew", repair)


def _wanted(node: Node) -> dict[tuple[str, str], str]:
    """Return the tables as the kernel shows them, loaded in a network that nobody uses."""
    host, aside = node.host, f"{node.settings.bridge}-doctor"
    host.run(commands.delete_namespace(aside), check=False)  # of one that was killed
    host.run(commands.add_namespace(aside))
    try:
        host.run(commands.within(aside, nft.load()), stdin=walls.ruleset(node))
        there = host.run(commands.within(aside, commands.list_tables())).out
        return {
            table: _shown(node, commands.within(aside, show(*table)))
            for table in commands.parse_tables(there)
        }
    finally:
        host.run(commands.delete_namespace(aside), check=False)


def _shown(node: Node, command: list[str], *, check: bool = True) -> str:
    return commands.steady(node.host.run(command, check=check).out)


def interfaces(node: Node) -> Iterator[Finding]:
    """No cable on the bridge is of an environment that is gone."""
    shown = node.host.run(commands.ports(node.settings.bridge), check=False).out
    found = [name for name in commands.parse_ports(shown) if name.startswith(INTERFACES)]
    if node.records.damaged():  # whose they are is not known
        return
    known = {record.interface for record in node.records.all()}
    for name in found:
        if name not in known:
            yield Finding(
                "interfaces", State.WARN, "it belongs to no environment", name, "it is removed",
                partial(_cut, node, name),
            )  # fmt: skip


def _cut(node: Node, name: str) -> None:
    with node.lock():
        if name not in {record.interface for record in node.records.all()}:
            node.host.run(ip.delete_link(name))
