"""``python -m corpus.node COMMAND``: what the node's systemd units call, and a console.

``console ID`` gives a login shell in an environment, at the terminal that it is called from.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import sys
from pathlib import Path

from corpus.model.errors import CorpusError
from corpus.node import ask
from corpus.node.context import Node, this_node
from corpus.node.settings import DEFAULT_FILE


def main(arguments: list[str] | None = None) -> int:
    """Run one command; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m corpus.node", description=__doc__)
    parser.add_argument("--settings", type=Path, default=DEFAULT_FILE)
    commands = ["boot", "halt", "facts", "prepare", "answer", "restart", "renew", "console"]
    commands += ["receive", "watch", "weigh", "firewall"]
    parser.add_argument("command", choices=commands)
    parser.add_argument("id", nargs="?", default="", help="of the environment, or a peer")
    parser.add_argument("--user", default="root", help="whose shell a console is")
    given = parser.parse_args(arguments)
    try:
        return _run(this_node(given.settings), given.command, given.id, given.user)
    except CorpusError as error:
        print(error, file=sys.stderr)
        return error.exit_code


def _run(node: Node, command: str, id: str, user: str) -> int:
    if command == "answer":
        with socket.socket(fileno=sys.stdin.fileno()) as line:
            print(ask.answer(node, line))
        return 0
    # Here, so that an environment that asks does not wait for it.
    if command == "receive":
        return _receive(node, id)
    from corpus.node import boot, watching
    from corpus.node.certificates import acme
    from corpus.node.environments import console, lifecycle
    from corpus.node.network import firewall
    from corpus.node.storage import weights

    if command in ("boot", "renew"):
        outcome = boot.boot(node) if command == "boot" else acme.renew(node)
        for name, what in outcome.items():
            print(f"{name}: {what}")
        return 1 if any(what.startswith("failed") for what in outcome.values()) else 0
    if command == "console":
        return console.attach(node, id, user)
    if command == "restart":
        lifecycle.come_back(node, id)
    elif command == "halt":
        boot.halt(node)
    elif command == "watch":
        watching.watch(node)
    elif command == "weigh":
        weights.weigh(node, id or None)
    elif command == "firewall":
        firewall.load(node)
    else:
        found = boot.prepare(node) if command == "prepare" else boot.facts(node)
        print(json.dumps(found, indent=2))
    return 0


def _receive(node: Node, name: str) -> int:
    """Serve the peer ``name``, as it asks at SSH."""
    from corpus.node.migration import arriving, fetching, guarding, peers

    peer = peers.find(node, name)
    what, *words = os.environ.get("SSH_ORIGINAL_COMMAND", "").split()
    if what == "pull" and len(words) in (2, 3):
        return fetching.pull(node, peer, *words)
    ends = (sys.stdin.fileno(), sys.stdout.fileno())

    def receive() -> None:  # all of it in the child
        arriving.Arrival(node, peer, *ends).serve()

    return guarding.guarded(node, peer, receive, ends)


if __name__ == "__main__":
    sys.exit(main())
