"""The bridge between the host and the lab's nodes, and the ports that lead to them."""

from __future__ import annotations

from pathlib import Path

from corpus.commands import ip, network, nft
from corpus.hosts.base import Host
from corpus.lab import leftovers, record
from corpus.lab.paths import TABLES, LabPaths
from corpus.lab.ruleset import ruleset
from corpus.lab.settings import Settings
from corpus.model.errors import CommandFailed, Conflict, Unsupported

SETTINGS = Path("/proc/sys/net/ipv4/conf")


def mtu(links: dict[str, network.Link], uplinks: list[str]) -> int:
    """Return the largest packet that passes every uplink unbroken, in bytes."""
    return min([1500, *(links[name].mtu for name in uplinks if name in links)])


class Network:
    """The network of one lab on the host."""

    def __init__(self, host: Host, paths: LabPaths, settings: Settings) -> None:
        self._host = host
        self._paths = paths
        self._settings = settings

    def bridge_is_up(self) -> bool:
        """Tell whether the lab's bridge is there."""
        return (Path("/sys/class/net") / self._paths.bridge).exists()

    def is_up(self) -> bool:
        """Tell whether bridge and rules are there."""
        return self.bridge_is_up() and ("ip", self._paths.table) in self._tables()

    def check_free(self) -> None:
        """Raise Conflict when the subnet or a port is taken on this host."""
        own = self._settings.network
        for name, other in record.others(self._paths).items():
            self._check_other(name, other.settings)
        for link in network.parse_links(self._host.run(ip.addresses()).out):
            for address in link.addresses:
                if link.name != self._paths.bridge and address.network.overlaps(own):
                    raise Conflict(
                        f"the subnet {own} overlaps {address} of {link.name}",
                        mend="choose another one for the lab (--subnet)",
                    )
        wanted = {*self._settings.http_ports, *self._settings.all_ssh_ports}
        for port, process in ip.parse_listeners(self._host.run(ip.listeners()).out).items():
            if port in wanted:
                raise Conflict(
                    f"port {port} of this host is taken by {process}",
                    mend="end that process, or choose other ports (--http-port, --ssh-port-base)",
                )

    def _check_other(self, name: str, other: Settings) -> None:
        own = self._settings
        mend = "choose others (--subnet, --http-port, --ssh-port-base), or remove that lab"
        if own.network.overlaps(other.network):
            raise Conflict(f"the subnet {own.network} is that of lab {name}", mend=mend)
        ports = ({*lab.http_ports, *lab.all_ssh_ports} for lab in (own, other))
        if set.intersection(*ports):
            raise Conflict(f"the lab {name} has these ports already", mend=mend)

    def uplinks(self) -> list[str]:
        """Return the interfaces of the host's default routes."""
        found = ip.parse_default_devices(self._host.run(ip.default_routes()).out)
        return [name for name in dict.fromkeys(found) if (SETTINGS / name).exists()]

    def forwarding(self) -> dict[str, str]:
        """Return each uplink's forwarding setting, as it was before any lab changed it."""
        before = {name: (SETTINGS / name / "forwarding").read_text().strip()
                  for name in self.uplinks()}  # fmt: skip
        for other in record.others(self._paths).values():
            before |= {name: old for name, old in other.forwarding.items() if name in before}
        return before

    def up(self) -> None:
        """Make bridge and rules, and let the uplinks pass packets on to the bridge."""
        links = {x.name: x for x in network.parse_links(self._host.run(ip.addresses()).out)}
        uplinks = self.uplinks()
        bridge = self._paths.bridge
        if not self.bridge_is_up():
            self._make_bridge(bridge)
        own = ip.hardware_address(str(self._settings.gateway))
        self._host.run(ip.set_hardware_address(bridge, own))
        address = f"{self._settings.gateway}/{self._settings.network.prefixlen}"
        self._host.run(ip.set_address(bridge, address))
        self._host.run(network.set_mtu(bridge, mtu(links, uplinks)))
        self._host.run(ip.up(bridge))
        self._load_rules()
        # Per interface, so that the host does not become a router between its other networks.
        self._set(bridge, "route_localnet", "1")
        for name in (bridge, *uplinks):
            self._set(name, "forwarding", "1")

    def down(self, forwarding: dict[str, str]) -> None:
        """Remove rules and bridge; put the uplinks' forwarding back unless a lab needs it."""
        tables = self._tables()
        for family, table in tables:
            if table == self._paths.table:
                self._host.run(network.delete_table(family, table))
        for name in leftovers.interfaces(self._paths):
            self._host.run(ip.delete_link(name))
        # Told by the kernel, not by records: another lab may lie in another directory.
        own = self._paths.table
        if any(table.startswith(TABLES) and table != own for _family, table in tables):
            return
        for name, value in forwarding.items():
            if (SETTINGS / name).exists():
                self._set(name, "forwarding", value)

    def warnings(self) -> list[str]:
        """Return what of the host's own packet filter may keep the nodes from the Internet."""
        out = self._host.run(network.list_chains(), check=False).out
        return [
            f"the host's filter «{chain}» drops what it forwards: let {self._paths.bridge} pass"
            for chain in network.parse_dropping(out, "forward")
        ]

    def node_mtu(self) -> int:
        """Return the largest packet that the bridge takes, in bytes."""
        return int((Path("/sys/class/net") / self._paths.bridge / "mtu").read_text())

    def _make_bridge(self, name: str) -> None:
        try:
            self._host.run(ip.add_bridge(name))
        except CommandFailed as error:
            raise Unsupported(
                f"no bridge can be made: {error.output.strip()}", where=name,
                mend="use a kernel with CONFIG_BRIDGE and CONFIG_VETH (modprobe bridge veth)",
            ) from None  # fmt: skip

    def _load_rules(self) -> None:
        text = ruleset(self._paths, self._settings)
        try:
            self._host.run(nft.load(), stdin=text)
        except CommandFailed as error:
            raise Unsupported(
                f"the packet filter refuses the lab's rules: {error.output.strip()[:400]}",
                where=f"nft table ip {self._paths.table}",
                mend="use a kernel with nftables and NAT (modprobe nf_tables nft_nat nft_masq)",
            ) from None

    def _tables(self) -> list[tuple[str, str]]:
        return network.parse_tables(self._host.run(network.list_tables()).out)

    def _set(self, name: str, key: str, value: str) -> None:
        file = SETTINGS / name / key
        if file.read_text().strip() != value:
            file.write_text(value)
