"""Environments move between the nodes of a cluster while they are used."""

from __future__ import annotations

import json
import os
import re
import signal
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from corpus.hosts.base import Host, Result
from corpus.lab import salt
from corpus.lab.machine import Lab
from corpus.lab.tenant import Environment
from labs import cluster as cluster
from labs import lab as lab
from load import Load
from sites import prepared as prepared
from sites import prepared_cluster as prepared_cluster

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="a lab is made by root alone")

HOST = "moving.localhost"
PORT = 8000
# Appends what is posted, and counts by itself: a live writer.
SERVICE = f"""
import http.server, os, threading, time
log = os.open("/srv/entries", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.answer(200)
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        os.write(log, body + b"\\n")
        self.answer(201)
    def answer(self, code):
        self.send_response(code)
        self.send_header("Content-Length", "0")
        self.end_headers()
    def log_message(self, *args):
        pass
def count():
    number = 0
    with open("/srv/numbers", "a") as numbers:
        while True:
            number += 1
            numbers.write(f"{{number}}\\n")
            numbers.flush()
            time.sleep(0.005)
threading.Thread(target=count, daemon=True).start()
http.server.ThreadingHTTPServer(("", {PORT}), Handler).serve_forever()
"""
UNIT = """[Service]
ExecStart=/usr/bin/python3 /srv/service.py
[Install]
WantedBy=multi-user.target
"""


def call(node: Host, function: str, *args: Any, **kwargs: Any) -> Any:
    """Return what a function of the node returns."""
    return salt.call(node, f"corpus_node.{function}", *args, **kwargs)


@pytest.fixture(scope="module")
def linked(prepared_cluster: Lab) -> Iterator[Lab]:
    """Return the cluster, whose nodes know each other."""
    link(prepared_cluster, 1, 2)
    yield prepared_cluster
    for number in (1, 2):
        for peer in call(prepared_cluster.node(number), "peers"):
            call(prepared_cluster.node(number), "peer_remove", peer["name"])
        keys = prepared_cluster.node(number).run(["cat", "/root/.ssh/authorized_keys"], check=False)
        assert "corpus-peer" not in keys.out


def link(lab: Lab, one: int, other: int) -> None:
    for here, there in ((one, other), (other, one)):
        identity = call(lab.node(there), "peer_identity")
        call(lab.node(here), "peer_add", f"node{there}", peer=json.dumps(identity))


@pytest.fixture(scope="module")
def moving(linked: Lab) -> Iterator[Environment]:
    """Return an environment on the first node that serves and writes."""
    made = Environment.create(linked, size="3G", hosts=[])
    made.host.put(path("/srv/service.py"), SERVICE.encode())
    made.host.put(path("/etc/systemd/system/service.service"), UNIT.encode())
    made.host.run(["systemctl", "enable", "--quiet", "--now", "service"])
    call(made.node, "route", made.id, HOST, port=PORT)
    yield made
    for number in (1, 2):
        call(linked.node(number), "destroy", made.id)
    for number in (1, 2):
        assert made.id not in linked.node(number).run(["find", "/var/lib/corpus", "-xdev", "-name", f"*{made.id}*"]).out


def path(text: str) -> Any:
    from pathlib import PurePosixPath

    return PurePosixPath(text)


def test_a_service_moves_and_no_request_is_lost(moving: Environment) -> None:
    lab = moving.lab
    load = Load(lab.http_port, HOST, rate=50, limit=60).start()
    try:
        time.sleep(1)
        done = call(moving.node, "migrate", moving.id, "node2")
        time.sleep(1)
    finally:
        load.finish()
    print(json.dumps(done))
    print(load.sent, max(load.waits))
    assert load.failures == []
