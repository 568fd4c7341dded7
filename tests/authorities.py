"""A certificate authority and name servers for a lab: pebble and PowerDNS, as Debian has them.

Their packages are unpacked into a scratch directory and not installed: installed, they would
start at once, on ports of this machine.
"""

from __future__ import annotations

import json
import os
import sqlite3
import ssl
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from corpus.hosts.local import Local
from patience import wait_until

PACKAGES = ("pebble", "pdns-server", "pdns-backend-sqlite3")
KEY = "key-of-the-api"
ZONE = "lab.test"
_LIBRARIES = "usr/lib/x86_64-linux-gnu"


@dataclass(frozen=True)
class Authority:
    """What a node is told of them: the URLs, and the PEM file that the directory is trusted by."""

    address: str
    ca: str

    directory = property(lambda self: f"https://{self.address}:14000/dir")
    api = property(lambda self: f"http://{self.address}:8081")

    def root(self) -> str:
        """Return the certificate that signs what the authority issues."""
        context = ssl.create_default_context(cadata=self.ca)
        url = f"https://{self.address}:15000/roots/0"
        with urllib.request.urlopen(url, context=context, timeout=10) as answer:
            found: str = answer.read().decode()
        return found


def unpack(folder: Path) -> Path:
    """Return a directory with the packages unpacked, and the libraries that this machine lacks."""
    (folder / "debs/partial").mkdir(parents=True)
    apt = ["apt-get", "--quiet", "--yes", "-o", f"Dir::Cache::archives={folder / 'debs'}"]
    install = [*apt, "install", "--download-only", "--no-install-recommends", "--reinstall"]
    host = Local()
    if host.run([*install, *PACKAGES], check=False).code != 0:
        host.run([*apt, "update"])
        host.run([*install, *PACKAGES])
    for package in (folder / "debs").glob("*.deb"):
        host.run(["dpkg", "--extract", str(package), str(folder / "root")])
    return folder / "root"


@contextmanager
def running(folder: Path, address: str, node: str) -> Iterator[Authority]:
    """Have both run at ``address``; every name of ``ZONE`` but ``ns`` leads to ``node``."""
    root = unpack(folder)
    ca = _certificate(folder, address)
    environment = {**os.environ, "LD_LIBRARY_PATH": str(root / _LIBRARIES),
                   "PEBBLE_VA_NOSLEEP": "1", "PEBBLE_WFE_NONCEREJECT": "0"}  # fmt: skip
    with ExitStack() as stack:
        for argv in (_pdns(folder, root, address), _pebble(folder, root, address)):
            log = stack.enter_context((folder / f"{Path(argv[0]).name}.log").open("wb"))
            process = subprocess.Popen(argv, stdout=log, stderr=log, env=environment)
            stack.callback(process.wait, 10)
            stack.callback(process.terminate)
        _make_zone(address, node)
        yield Authority(address, ca)


def _certificate(folder: Path, address: str) -> str:
    Local().run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
         "-nodes", "-keyout", str(folder / "key.pem"), "-out", str(folder / "ca.pem"),
         "-subj", "/CN=pebble", "-addext", f"subjectAltName=IP:{address}", "-days", "2"]
    )  # fmt: skip
    return (folder / "ca.pem").read_text()


def _pebble(folder: Path, root: Path, address: str) -> list[str]:
    settings = {
        "listenAddress": f"{address}:14000", "managementListenAddress": f"{address}:15000",
        "certificate": str(folder / "ca.pem"), "privateKey": str(folder / "key.pem"),
        "httpPort": 80, "tlsPort": 443, "ocspResponderURL": "",
    }  # fmt: skip
    (folder / "pebble.json").write_text(json.dumps({"pebble": settings}))
    return [str(root / "usr/bin/pebble"), "-config", str(folder / "pebble.json"),
            "-dnsserver", f"{address}:53"]  # fmt: skip


def _pdns(folder: Path, root: Path, address: str) -> list[str]:
    schema = root / "usr/share/pdns-backend-sqlite3/schema/schema.sqlite3.sql"
    with sqlite3.connect(folder / "pdns.sqlite3") as database:
        database.executescript(schema.read_text())
    database.close()
    options = {
        "config-dir": folder, "socket-dir": folder, "daemon": "no", "guardian": "no",
        "module-dir": root / _LIBRARIES / "pdns", "launch": "gsqlite3",
        "gsqlite3-database": folder / "pdns.sqlite3", "local-address": address, "local-port": 53,
        "api": "yes", "api-key": KEY, "webserver": "yes", "webserver-address": address,
        "webserver-port": 8081, "webserver-allow-from": "0.0.0.0/0",
        "security-poll-suffix": "", "negquery-cache-ttl": 0, "query-cache-ttl": 0, "cache-ttl": 0,
    }  # fmt: skip
    given = [f"--{name}={value}" for name, value in options.items()]
    return [str(root / "usr/sbin/pdns_server"), *given]


def _make_zone(address: str, node: str) -> None:
    def record(name: str, kind: str, content: str) -> dict[str, object]:
        records = [{"content": content, "disabled": False}]
        return {"name": f"{name}.", "type": kind, "ttl": 1, "records": records}

    zone = {
        "name": f"{ZONE}.", "kind": "Native", "nameservers": [f"ns.{ZONE}."],
        "rrsets": [record(f"ns.{ZONE}", "A", address), record(f"*.{ZONE}", "A", node)],
    }  # fmt: skip
    request = urllib.request.Request(
        f"http://{address}:8081/api/v1/servers/localhost/zones",
        data=json.dumps(zone).encode(), headers={"X-API-Key": KEY},
    )  # fmt: skip

    def taken() -> bool:
        urllib.request.urlopen(request, timeout=5).close()
        return True

    wait_until(taken, despite=OSError)
