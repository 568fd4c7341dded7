"""The settings of a compute node; all have a default, a TOML file changes them."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, fields
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

from corpus.model.errors import InvalidInput
from corpus.model.names import host_name, lab_name
from corpus.model.networks import parse_network
from corpus.model.size import parse_share, parse_size

DEFAULT_FILE = Path("/etc/corpus/node.toml")
ACME_PORT = 8402  # of the gateway, where HTTP challenges are answered
PEERS_PORT = 8403  # where peers lead requests that begin with the client's address
STORAGES = ("auto", "quota", "image", "plain")


@dataclass(frozen=True)
class Settings:
    """One node's settings.

    ``prefix``        the node's state: pool, records, guest configuration, logs
    ``storage``       ``auto``, or a kind of its own: ``quota``, ``image``, ``plain``
    ``pool_device``   partition or disk that the pool lies on (default: a file, or what is mounted)
    ``pool_size``     of the btrfs file that is made when the pool is no btrfs yet
    ``bridge``        the bridge of the environments, and the name of the firewall's tables
    ``subnet``        their addresses; the first one is the node's own
    ``ssh_base``      SSH ports on the node are ``ssh_base + 1`` … ``ssh_base + ssh_ports - 1``
    ``http_port``     where the proxy listens
    ``https_port``    where it listens for TLS
    ``open_base``     first port of the node that ``open`` gives where none is asked
    ``open_ports``    how many there are
    ``closed_networks``  what environments do not reach, besides the node and its router
    ``open_networks``    what of the closed they reach all the same
    ``connections``   how many of its own an environment may have through the node at a time
    ``proxy``         directory of the proxy's configuration
    ``certificates``  directory of the certificates with their keys, and of the ACME account
    ``domain``        the node's own name: ``*.domain`` gets a certificate by DNS
    ``acme_email``    whom the certificate authority may write to; empty: nothing is obtained
    ``acme_directory`` URL of the certificate authority (RFC 8555)
    ``acme_ca``       file with the authority's own CA, where the system does not trust it
    ``acme_resolvers`` ``host:port`` of name servers for DNS challenges (default: the node's)
    ``pdns_url``      URL of the PowerDNS server's API that the DNS challenges are set with
    ``pdns_key``      file (mode 0600) with that API's key
    ``idmap_base``    first user id of the first environment; each has 65,536 of its own
    ``idmap_slots``   how many environments the node can hold
    ``external``      interface that leads out (default: that of the default route)
    ``nameservers``   written into new environments (default: the node's own)
    ``size_limit``    what an environment may grow to by itself, where it has no limit of its own
    ``default_memory``  of environments that are made without: a size, or a share such as ``50%``
    ``default_pids``  processes of environments that are made without; 0: no limit
    ``minimum_free``  what the pool keeps free when an environment is enlarged
    ``relay``         ``host:port`` of the mail relay, which environments reach as gateway:25
    ``asks``          directory of the sockets at which environments ask
    """

    prefix: Path = Path("/var/lib/corpus")
    storage: str = "auto"
    pool_device: str = ""
    pool_size: str = "24G"
    bridge: str = "corpus0"
    subnet: str = "10.88.0.0/16"
    ssh_base: int = 22000
    ssh_ports: int = 100
    http_port: int = 80
    https_port: int = 443
    open_base: int = 23000
    open_ports: int = 1000
    closed_networks: tuple[str, ...] = ()
    open_networks: tuple[str, ...] = ()
    connections: int = 8192
    proxy: Path = Path("/etc/corpus/proxy")
    certificates: Path = Path("/etc/corpus/certificates")
    domain: str = ""
    acme_email: str = ""
    acme_directory: str = "https://acme-v02.api.letsencrypt.org/directory"
    acme_ca: str = ""
    acme_resolvers: tuple[str, ...] = ()
    pdns_url: str = ""
    pdns_key: Path = Path("/etc/corpus/pdns.key")
    idmap_base: int = 1_000_000
    idmap_slots: int = 1000
    external: str = ""
    nameservers: tuple[str, ...] = ()
    size_limit: str = "20G"
    default_memory: str = "50%"
    default_pids: int = 2048
    minimum_free: str = "2G"
    relay: str = ""
    asks: Path = Path("/run/corpus-ask")

    def __post_init__(self) -> None:
        lab_name(self.bridge)
        for size in (self.pool_size, self.size_limit, self.minimum_free):
            parse_size(size)
        if self.storage not in STORAGES:
            known = ", ".join(STORAGES)
            raise InvalidInput(f"not a storage: {self.storage!r:.60}", mend=f"use one of {known}")
        if self.pool_device and not self.pool_device.startswith("/dev/"):
            raise InvalidInput(
                f"not a block device: {self.pool_device!r:.80}", mend="write /dev/disk/by-id/NAME"
            )
        if self.default_memory:
            parse_share(self.default_memory, 0)
        if self.default_pids < 0:
            raise InvalidInput(f"not a number of processes: {self.default_pids}")
        try:
            IPv4Network(self.subnet)
        except ValueError as error:
            raise InvalidInput(f"not a subnet: {error}") from None
        for port in (self.http_port, self.https_port):
            if not 0 < port < 65536:
                raise InvalidInput(f"not a port: {port}")
        if self.http_port == self.https_port:
            raise InvalidInput(f"http_port and https_port are both {self.http_port}")
        if self.domain:
            host_name(self.domain)
        for url in filter(None, (self.acme_directory, self.pdns_url)):
            if not url.startswith(("https://", "http://")):
                raise InvalidInput(f"not a URL: {url!r:.80}", mend="begin with https://")
        if not 1024 <= self.ssh_base <= 65535 - self.ssh_ports or self.ssh_ports < 2:
            raise InvalidInput("the SSH ports must lie between 1024 and 65535")
        _check_openings(self)
        _check_relay(self.relay)

    @property
    def pool(self) -> Path:
        """The storage pool."""
        return self.prefix / "pool"

    @property
    def images(self) -> Path:
        """The images in the pool."""
        return self.pool / "images"

    @property
    def records(self) -> Path:
        """The records of the environments."""
        return self.prefix / "environments"

    @property
    def lxcpath(self) -> Path:
        """The guests' configuration, derived from the records."""
        return self.prefix / "lxc"

    @property
    def locks(self) -> Path:
        """The node's locks."""
        return self.prefix / "locks"

    @property
    def network(self) -> IPv4Network:
        """The environments' network."""
        return IPv4Network(self.subnet)

    @property
    def gateway(self) -> IPv4Address:
        """The node's own address in it."""
        return self.network[1]

    @property
    def relay_address(self) -> tuple[str, int] | None:
        """Host and port of the mail relay, where there is one."""
        host, _, port = self.relay.rpartition(":")
        return (host, int(port)) if host else None


def _check_openings(settings: Settings) -> None:
    first, after = settings.open_base, settings.open_base + settings.open_ports
    if not 1024 <= first < after <= 65536:
        raise InvalidInput("the ports to open must lie between 1024 and 65535")
    if settings.connections < 1:
        raise InvalidInput(f"not a number of connections: {settings.connections}")
    for network in (*settings.closed_networks, *settings.open_networks):
        parse_network(network)


def _check_relay(text: str) -> None:
    host, colon, port = text.rpartition(":")
    if text and not (colon and port.isascii() and port.isdigit() and 0 < int(port) < 65536):
        raise InvalidInput(f"not a mail relay: {text!r:.80}", mend="write mail.example.org:25")
    if text:
        host_name(host)


def load(path: Path = DEFAULT_FILE) -> Settings:
    """Return the settings of the file ``path``, or the defaults when it is absent."""
    if not path.exists():
        return Settings()
    try:
        given = tomllib.loads(path.read_text())
    except tomllib.TOMLDecodeError as error:
        raise InvalidInput(f"the node's settings do not parse: {error}", str(path)) from None
    known = {field.name: field.type for field in fields(Settings)}
    for name in given:
        if name not in known:
            raise InvalidInput(
                f"no such setting: {name}", str(path), f"use one of {', '.join(known)}"
            )
    for name in ("nameservers", "acme_resolvers", "closed_networks", "open_networks"):
        if isinstance(given.get(name), list):
            given[name] = tuple(given[name])
    for name in ("prefix", "proxy", "asks", "certificates", "pdns_key"):
        if name in given:
            given[name] = Path(given[name])
    try:
        return Settings(**given)
    except TypeError as error:
        raise InvalidInput(f"a setting is of the wrong type: {error}", str(path)) from None
