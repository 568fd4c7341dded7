"""A small real project: a web server of the standard library under systemd, data in a file.

``GET /version`` tells the version, ``GET /entries`` the entries, ``POST /entries`` adds one.
``VERSION`` is in the code; a test changes it, or puts states of its own into a phase.
"""

from __future__ import annotations

import json
import textwrap
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

SERVER = """\
import json, os, signal, socketserver, sys, threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

VERSION = @VERSION@
DATA = os.environ["DATA"]
LOCK = threading.Lock()


class Handler(BaseHTTPRequestHandler):
    def answer(self, value, status=200):
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        if self.path == "/version":
            return self.answer({"version": VERSION})
        if self.path == "/entries":
            with LOCK:
                return self.answer(open(DATA).read().split() if os.path.exists(DATA) else [])
        self.answer({}, 200 if self.path == "/health" else 404)

    def do_POST(self):
        text = self.rfile.read(int(self.headers["Content-Length"])).decode()
        with LOCK, open(DATA, "a") as file:
            file.write(text + "\\n")
            file.flush()
        self.answer({"version": VERSION}, 201)

    def log_message(self, *_):
        pass


class Server(ThreadingHTTPServer):
    request_queue_size = 512
    daemon_threads = False
    block_on_close = True


server = Server(("0.0.0.0", @PORT@), Handler)
signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
server.serve_forever(0.02)
server.server_close()
"""

UNIT = """\
[Service]
User={name}-app
Environment=DATA=/srv/projects/{name}/data/entries
ExecStart=/usr/bin/python3 /srv/projects/{name}/run/server.py
TimeoutStopSec=10
"""

TOP = """\
{{% macro build(common) %}}
{build}
code:
  cmd.run:
    - name: >-
        {{ [ . -ef "$RUN" ] || cp server.py "$RUN"; }} && mkdir -p "$RUN/systemd" &&
        cp tiny.service "$RUN/systemd/{name}.service"
    - cwd: {{{{ common.paths.project }}}}
    - env:
      - RUN: {{{{ common.paths.run }}}}
{{% endmacro %}}
{macros}
"""


@dataclass
class Tiny:
    """The project's files; ``write`` puts them into a work tree."""

    name: str
    port: int = 8000
    version: str = "1"
    build: str = ""
    phases: dict[str, str] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)

    def write(self, tree: Path) -> None:
        (tree / ".salt").mkdir(exist_ok=True)
        server = SERVER.replace("@VERSION@", repr(self.version)).replace("@PORT@", str(self.port))
        (tree / "server.py").write_text(server)
        (tree / "tiny.service").write_text(UNIT.format(name=self.name))
        macros = "".join(
            f"{{% macro {phase}(common) %}}\n{textwrap.dedent(states)}\n{{% endmacro %}}\n"
            for phase, states in self.phases.items()
        )
        top = TOP.format(build=textwrap.dedent(self.build), macros=macros, name=self.name)
        (tree / ".salt" / "top.sls").write_text(top)
        (tree / ".salt" / "PILLAR.sample").write_text(json.dumps(self.configuration()))

    def configuration(self) -> dict[str, Any]:
        return {
            f"makina-projects.{self.name}": {
                "services": [f"{self.name}.service"],
                "ports": [self.port],
                "health": [{"url": f"http://127.0.0.1:{self.port}/health", "timeout": 10}],
                **self.settings,
            }
        }


def command(identity: str, line: str) -> str:
    """Return one ``cmd.run`` state."""
    return f"{json.dumps(identity)}:\n  cmd.run:\n    - name: {json.dumps(line)}\n"


def waits(name: str) -> str:
    """Return a state that takes until there is the file ``name``, 60 seconds at the most."""
    look = f"for _ in $(seq 600); do [ -e {name} ] && break; sleep 0.1; done"
    return command("waits", look)
