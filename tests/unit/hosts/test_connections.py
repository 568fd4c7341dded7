"""Connections that the kernel forgets, in a network of their own."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

RULES = """
table inet t {
    chain lead {
        type nat hook output priority -100;
        udp dport 53 dnat ip to 127.0.0.1:5353
    }
}
"""
SCRIPT = """
import socket, subprocess, sys
from corpus.hosts import connections
subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
subprocess.run(["nft", "-f", "-"], input=sys.argv[1], text=True, check=True)
there = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
there.bind(("127.0.0.1", 5353))
for port in (53, 53, 5353):
    line = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    line.sendto(b"", ("127.0.0.1", port))
    there.recv(1)
forget = connections.forget
me = "127.0.0.1"
print(forget("192.0.2.1"), forget(me, {(17, 54), (6, 53)}), forget(me, {(17, 53)}))
print(forget(me), forget(me))
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="a network of its own is made by root alone")
def test_those_that_an_address_answers_are_forgotten() -> None:
    argv = ["unshare", "--net", sys.executable, "-c", SCRIPT, RULES]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=30, check=False)
    assert done.stderr == ""
    assert done.stdout.split() == ["0", "0", "2", "1", "0"]
