"""The front of a lab's node as a visitor sees it, and an environment that tells what it was asked.

A module takes part with ``from fronts import front`` and ``from labs import lab``.
"""

from __future__ import annotations

import http.client
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from corpus.hosts.local import Local
from corpus.lab import salt, tenant
from corpus.lab.machine import Lab
from guests import Guest
from moving import TELLS_HEADER

PORT, PROXIED = 8000, 8001
# Tells what it was asked with, upgrades to a websocket that echoes; at the other port, whose
# connections begin with a PROXY header, it tells the address in that.
SERVER = """
import base64, hashlib, http.server, json, socket, struct, threading
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        if self.headers.get("Upgrade", "").lower() == "websocket":
            return self.echo()
        self.answer(json.dumps(dict(self.headers.items())).encode())
    def do_POST(self):
        self.answer(self.rfile.read(int(self.headers["Content-Length"])))
    def echo(self):
        key = self.headers["Sec-WebSocket-Key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
        self.send_response(101)
        self.send_header("Upgrade", "websocket")
        self.send_header("Connection", "Upgrade")
        accept = base64.b64encode(hashlib.sha1(key.encode()).digest()).decode()
        self.send_header("Sec-WebSocket-Accept", accept)
        self.end_headers()
        self.close_connection = True
        while data := self.connection.recv(65536):
            self.connection.sendall(data)
    def answer(self, text):
        self.send_response(200)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)
    def log_message(self, *_):
        pass
class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 512
@HEADER@threading.Thread(target=proxied, daemon=True).start()
Server(("0.0.0.0", 8000), Handler).serve_forever()
""".replace("@HEADER@", TELLS_HEADER)


class Front:
    """The node's front as a visitor sees it, and the environment behind it."""

    def __init__(self, lab: Lab) -> None:
        self.lab, self.node = lab, lab.node()
        self.address = str(lab.settings.members[0].address)
        self.client = str(lab.settings.gateway)
        self.id = ""

    def call(self, function: str, *args: Any, **kwargs: Any) -> Any:
        return salt.call(self.node, f"corpus_node.{function}", *args, **kwargs)

    def route(self, host: str, port: int = PORT, **options: Any) -> Any:
        return self.call("route", self.id, host, port, **options)

    def get(
        self, host: str, *, tls: bool = False, trusted: str = "", path: str = "/", **headers: str
    ) -> tuple[http.client.HTTPResponse, str]:
        """Ask; over TLS whoever answers is fine, or who is signed by ``trusted``."""
        line: http.client.HTTPConnection
        if tls:
            line = http.client.HTTPSConnection(host, timeout=20, context=_context(trusted))
            raw = socket.create_connection((self.address, 443), 20)
            line.sock = _context(trusted).wrap_socket(raw, server_hostname=host)
        else:
            line = http.client.HTTPConnection(self.address, timeout=20)
        line.request("GET", path, headers={"Host": host, **headers})
        answer = line.getresponse()
        text = answer.read().decode()
        line.close()
        return answer, text

    def status(self, host: str, **options: Any) -> int:
        return self.get(host, **options)[0].status

    def worker(self) -> str:
        """Return the process that takes new connections."""
        script = "import socket; s = socket.socket(socket.AF_UNIX);"
        script += "s.connect('/run/corpus-proxy/admin.sock'); s.sendall(b'show info\\n');"
        script += "print(s.makefile().read())"
        out = self.node.run(["python3", "-c", script]).out
        return next(line for line in out.splitlines() if line.startswith("Pid:"))

    def served(self, host: str) -> str:
        """Return the serial number of the certificate that a visitor of ``host`` gets."""
        shown = Local().run(
            ["openssl", "s_client", "-connect", f"{self.address}:443", "-servername", host],
            stdin="", check=False,
        ).out  # fmt: skip
        return Local().run(["openssl", "x509", "-noout", "-serial"], stdin=shown).out.strip()

    def bring(self, folder: Path, host: str) -> tuple[str, str]:
        """Make a certificate for ``host``; return the files on the node."""
        names = [f"/run/{host}.{end}" for end in ("crt", "key")]
        files = [folder / Path(name).name for name in names]
        Local().run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
                     "ec_paramgen_curve:P-256", "-nodes", "-out", str(files[0]), "-keyout",
                     str(files[1]), "-subj", f"/CN={host}", "-days", "9",
                     "-addext", f"subjectAltName=DNS:{host}"])  # fmt: skip
        for name, file in zip(names, files, strict=True):
            self.node.run(["dd", "status=none", f"of={name}"], stdin=file.read_text())
        return names[0], names[1]


def _context(trusted: str = "") -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if trusted:
        context.load_verify_locations(cadata=trusted)
    else:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


@pytest.fixture(scope="module")
def front(lab: Lab) -> Iterator[Front]:
    tenant.prepare(lab)
    one = Front(lab)
    guest = Guest(one.node, one.call("create", size="512M"))
    one.id = guest.id
    guest.have_server(SERVER)
    guest.inside.run(["systemctl", "start", "app"])
    one.route("a.front.example")
    yield one
    for certificate in one.call("certificate_list"):
        one.call("certificate_remove", certificate["host"])
    one.call("destroy", one.id)
    assert one.call("certificate_list") == []
    left = one.node.run(["sh", "-c", f"grep -rl {one.id} /etc/corpus"], check=False).out
    assert left == "", left
