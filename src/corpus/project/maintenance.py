"""Past ``common.hold`` seconds, visitors of a held project get a page instead of waiting on.

A helper of the deployer sleeps until then, listens on a port of its own and has new
connections to the held ports led there. It ends with the deployer.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from corpus.commands import holding
from corpus.hosts import processes
from corpus.project.place import Place

RETRY_AFTER = 10
_PAGE = b"""<!doctype html><meta charset="utf-8"><title>Back in a moment</title>
<h1>Back in a moment</h1><p>A new version is being installed. Please try again shortly.</p>
"""


class _Page(BaseHTTPRequestHandler):
    """Answer every request with 503 (RFC 9110, 15.6.4)."""

    def _answer(self) -> None:
        self.send_response(503)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(_PAGE)))
        self.send_header("Retry-After", str(RETRY_AFTER))
        self.send_header("Cache-Control", "no-store")
        self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(_PAGE)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = _answer  # noqa: N815

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing: the proxy logs."""


def answer_after(place: Place, ports: Sequence[int], seconds: float) -> int | None:
    """Have ``ports``, held now, answered with the page after ``seconds``; ``end`` ends it."""
    if not place.firewall or not ports:
        return None

    def work() -> None:
        time.sleep(seconds)
        with ThreadingHTTPServer(("", 0), _Page) as server:
            place.host.run(holding.apply(), stdin=holding.answer(ports, server.server_port))
            server.serve_forever()

    return processes.fork_helper(work)


def end(place: Place, ports: Sequence[int], helper: int | None) -> None:
    """End what ``answer_after`` began here, or in a deployer that died."""
    if helper is not None:
        processes.end_helper(helper)
    if place.firewall:
        for port in ports:
            place.host.run(holding.apply(), stdin=holding.forget_page(port), check=False)
