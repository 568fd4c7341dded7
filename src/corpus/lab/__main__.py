"""The command ``corpus-lab``."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from corpus.commands import lxc
from corpus.lab.machine import Lab
from corpus.lab.paths import LabPaths
from corpus.lab.record import load
from corpus.lab.settings import Settings, settings_for
from corpus.model.errors import CorpusError, NotFound
from corpus.model.names import lab_name
from corpus.model.size import format_size

DESCRIPTION = """\
A lab is one or several compute nodes in containers of this machine: systemd, LXC and a
pool in each, their HTTP and SSH on ports of the loopback. «up» makes it or completes it,
«down» removes all of it and nothing else.
"""
EXAMPLES = """\
examples:
  corpus-lab up                      the lab «demo»: http://localhost:8080, SSH 22000-22099
  corpus-lab shell                   a root shell on its node
  corpus-lab exec -- lxc-ls --fancy -P /var/lib/corpus/lxc
  corpus-lab up --lab two --subnet 10.86.7.0/24 --http-port 8070 --ssh-port-base 23600
  corpus-lab up --nodes 3            a cluster: two nodes more
  corpus-lab exec --node node2 -- ping -c 1 node3
  corpus-lab link node2 loss 10%     or: down, slow 50ms, rate 1mbit, and up again
  corpus-lab cut node2 node3         they reach the others, but not each other
  corpus-lab down                    nothing of it is left

A lab keeps the settings it was made with; its files lie in /var/lib/corpus-lab/<lab>.
Exit code: 0, or that of the error (2 bad input, 3 not found, 4 taken, 5 the machine lacks
something, 6 a command failed); exec gives that of its command.
"""
SETTINGS = ("subnet", "nodes", "storage", "http_port", "ssh_port_base", "pool_size", "images")


def _which(*, top: bool) -> argparse.ArgumentParser:
    """Return the options that say which lab; they are taken before and after the command."""
    options = argparse.ArgumentParser(add_help=False)
    options.add_argument(
        "--lab",
        default="demo" if top else argparse.SUPPRESS,
        metavar="NAME",
        help="which lab (default: demo)",
    )
    options.add_argument(
        "--root",
        type=Path,
        default=None if top else argparse.SUPPRESS,
        metavar="DIR",
        help="where labs lie (default: /var/lib/corpus-lab)",
    )
    return options


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    top = argparse.ArgumentParser(
        prog="corpus-lab",
        description=DESCRIPTION,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        parents=[_which(top=True)],
    )
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def add(name: str, text: str) -> argparse.ArgumentParser:
        which = [_which(top=False)]
        return commands.add_parser(name, help=text, description=text, parents=which)

    up = add("up", "make or complete the lab, wait until its nodes are ready")
    up.add_argument("--nodes", type=int, help="how many nodes; a lab may grow (default: 1)")
    up.add_argument("--storage", help="kind of each node's pool: quota,plain (default: auto)")
    up.add_argument("--subnet", help="network between host and nodes (default: 10.86.1.0/24)")
    up.add_argument("--http-port", type=int, help="loopback port of HTTP (default: 8080)")
    up.add_argument("--ssh-port-base", type=int, help="first loopback port of SSH (22000)")
    up.add_argument("--pool-size", help="size of each node's sparse pool (default: 24G)")
    up.add_argument("--images", type=Path, help="cache of images (/var/cache/corpus/images)")
    up.add_argument("--quiet", action="store_true", help="print nothing but errors")
    stop = add("stop", "stop the nodes, environments first; keep everything")
    _add_node(stop, "this one alone (default: all)", None)
    add("down", "remove everything of the lab and nothing else")
    status = add("status", "say what the lab is and how it fares; exit code 3 unless it runs")
    status.add_argument("--json", action="store_true", help="as JSON, sizes in bytes")
    _add_node(add("shell", "a root shell on a node"), "which (default: node1)", 1)
    run = add("exec", "run a command on a node; its exit code is returned")
    _add_node(run, "which (default: node1)", 1)
    run.add_argument("argv", nargs=argparse.REMAINDER, metavar="-- COMMAND ARGUMENT …")
    link = add("link", "show the links, or have one be down, slow, lossy, or as it should")
    link.add_argument("which", nargs="?", type=_number, metavar="NODE")
    words = "down, slow 50ms, loss 10%%, rate 1mbit, which add up, or up; none: show the links"
    link.add_argument("words", nargs="*", metavar="WHAT", help=words)
    cut = add("cut", "cut two nodes off from each other, until the link of one is «up» again")
    for name in ("one", "other"):
        cut.add_argument(name, type=_number, metavar="NODE")
    return top


def _number(text: str) -> int:
    """Return the number of the node that is called ``text``."""
    if text.startswith("node") and text[4:].isascii() and text[4:].isdigit():
        return int(text[4:])
    raise argparse.ArgumentTypeError(f"not a node: {text!a:.40}; write node1, node2, …")


def _add_node(command: argparse.ArgumentParser, text: str, default: int | None) -> None:
    command.add_argument("--node", type=_number, default=default, metavar="NODE", help=text)


def _settings(given: argparse.Namespace) -> Settings | None:
    """Return the settings asked for, on top of those the lab has; None when none were."""
    values: dict[str, Any] = {
        name: value for name in SETTINGS if (value := getattr(given, name, None)) is not None
    }
    base = given.root or settings_for(given.lab).root
    made_with = load(LabPaths(given.lab, base))
    if not values:
        return None
    before = made_with.settings.as_dict() if made_with else {"root": base}
    return settings_for(given.lab, {**before, **values})


def _up(lab: Lab, quiet: bool) -> int:
    lab.up()
    if not quiet:
        facts = lab.facts()
        print(f"lab {lab.name} is up")
        for node in facts["nodes"]:
            http, ssh = node["http_port"], "-".join(map(str, node["ssh_ports"]))
            print(f"  {node['name']}  http://localhost:{http}, SSH at 127.0.0.1 {ssh}")
            if node["link"] != "up" or node["cut_from"]:
                print(f"         its link: {_link(node)}")
        print(f"  shell  corpus-lab --lab {lab.name} shell")
        print(f"  remove corpus-lab --lab {lab.name} down")
        for warning in facts["warnings"]:
            print(f"  note: {warning}", file=sys.stderr)
    return 0


def _status(lab: Lab, as_json: bool) -> int:
    facts = lab.facts()
    if as_json:
        print(json.dumps(facts, indent=2))
    else:
        nodes = facts.pop("nodes")
        for part in (facts, *nodes):
            for key, value in part.items():
                print(f"{key:13} {_shown(key, value)}")
            print()
        facts["nodes"] = nodes
    return 0 if facts["state"] == "running" else 3


def _links(lab: Lab) -> int:
    for node in lab.facts()["nodes"]:
        print(f"{node['name']}  {_link(node)}")
    return 0


def _link(node: dict[str, Any]) -> str:
    cut = [f"cut off from {name}" for name in node["cut_from"]]
    return ", ".join([node["link"], *cut])


def _shown(key: str, value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {format_size(size)}" for name, size in value.items())
    if isinstance(value, list):
        return (" - " if key == "ssh_ports" else ", ").join(map(str, value)) or "none"
    if key == "memory" and isinstance(value, int):
        return format_size(value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "-" if value is None else str(value)


def _enter(lab: Lab, number: int, argv: Sequence[str]) -> int:
    """Become the command on a node, with this terminal; its exit code is ours."""
    node = lab.member(number)
    if not node.guest.running():
        raise NotFound(
            f"{node.name} of the lab {lab.name} is not running", mend="start it: corpus-lab up"
        )
    terminal = {"TERM": os.environ["TERM"]} if "TERM" in os.environ else {}
    command = lxc.attach(node.paths.lxc, node.paths.container, lxc.inside(argv, env=terminal))
    sys.stdout.flush()
    os.execvp(command[0], command)  # noqa: S606 - the terminal goes to the command


def _run(given: argparse.Namespace) -> int:
    lab_name(given.lab)
    quiet = getattr(given, "quiet", False)
    say = (lambda text: None) if quiet else (lambda text: print(f"  {text}", flush=True))
    lab = Lab(given.lab, _settings(given), root=given.root, say=say)
    return COMMANDS[given.command](lab, given)


def _exec(lab: Lab, given: argparse.Namespace) -> int:
    argv = given.argv[1:] if given.argv[:1] == ["--"] else given.argv
    return _enter(lab, given.node, argv or ["true"])


def _stop(lab: Lab, given: argparse.Namespace) -> int:
    lab.stop([given.node] if given.node else [])
    what = f"node{given.node} of lab {lab.name}" if given.node else f"lab {lab.name}"
    print(f"{what} is stopped; start it again: corpus-lab --lab {lab.name} up")
    return 0


def _down(lab: Lab, given: argparse.Namespace) -> int:
    lab.down()
    print(f"nothing of lab {lab.name} is left")
    return 0


def _link_command(lab: Lab, given: argparse.Namespace) -> int:
    if given.which is not None and given.words:
        lab.link(given.which, *given.words)
    return _links(lab)


def _cut(lab: Lab, given: argparse.Namespace) -> int:
    lab.cut(given.one, given.other)
    return _links(lab)


COMMANDS: dict[str, Callable[[Lab, argparse.Namespace], int]] = {
    "up": lambda lab, given: _up(lab, given.quiet),
    "stop": _stop,
    "down": _down,
    "status": lambda lab, given: _status(lab, given.json),
    "shell": lambda lab, given: _enter(lab, given.node, ["bash", "--login"]),
    "exec": _exec,
    "link": _link_command,
    "cut": _cut,
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line ``argv``; returns the exit code."""
    try:
        return _run(parser().parse_args(argv))
    except CorpusError as error:
        print(f"corpus-lab: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("corpus-lab: interrupted; the same command goes on from here", file=sys.stderr)
        return 130
    except PermissionError as error:
        print(f"corpus-lab: {error}\n  to mend: run it as root (sudo)", file=sys.stderr)
        return 5


if __name__ == "__main__":
    sys.exit(main())
