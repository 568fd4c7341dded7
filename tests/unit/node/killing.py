"""A node that is killed before each step of an operation, called again, and mended instead.

A step is a command, or a change of a file, of a forked child that dies just before it.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import subprocess
import traceback
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import chain, count
from pathlib import Path
from typing import Any

from corpus.hosts.files import temporary
from corpus.model.finding import State
from corpus.node.context import Node
from corpus.node.doctor.examine import examine
from corpus.node.migration import peers
from corpus.node.network import firewall
from corpus.node.saltify.records import Machines
from instants import Fault, Instants, pass_through
from unit.node import nodes
from unit.node.outliving import Machine, machine, recorded, sizes

STAGING, PROD, THIRD = nodes.ID, nodes.OTHER, nodes.THIRD
Act = Callable[[Node], Any]


def no_more(_: Node) -> Any:
    return None


@dataclass(frozen=True)
class Trial:
    """What is killed: ``operation``, after ``before``, on the node that ``wake`` returns.

    ``also`` tells what it ends in besides what ``ended`` does. ``told``: the checks of the doctor
    that may tell of what was killed and leave it.
    """

    before: Act
    operation: Act
    wake: Callable[[Path], Node] = machine
    also: Act = no_more
    told: tuple[str, ...] = ()


def nothing(node: Node) -> None:
    """Begin with two environments, one of which is stopped."""


def die_at_each_step(folder: Path, scratch: Path, name: str, trial: Trial) -> None:
    """Kill the operation before each of its steps: called again, or mended, all is well.

    Of steps that find the same on the disk one is enough. Where there are threads the numbers of
    steps are not the same each time: those past the last one that was noted are tried as well.
    """
    trial.before(trial.wake(folder))
    start, cut = scratch / "start", scratch / "cut"
    put_back(folder, start)
    steps = distinct(folder, trial)
    wanted = ended(folder, trial)
    tried = set()
    for step in chain(steps, count(steps[-1] + 1)):
        put_back(start, folder)
        where = f"killed before step {step} of {name}"
        if not died(folder, trial, Fault("death", "begun", step)):
            break
        if (state := content(folder)) in tried:
            continue
        tried.add(state)
        put_back(folder, cut)
        trial.operation(trial.wake(folder))
        assert differing(ended(folder, trial), wanted) == [], f"{where}, called again"
        put_back(cut, folder)
        check_mended(trial.wake(folder), where, trial.told)
    assert tried


def check_mended(node: Node, where: str, told: tuple[str, ...]) -> None:
    """The doctor mends what is left, all of it but what the checks ``told`` tell of."""
    for mend in (True, False):
        left = [one for one in unwell(node, mend=mend) if one["check"] not in told]
        assert left == [], f"{where}, {'mended' if mend else 'after it was mended'}"
    host = node.host
    assert isinstance(host, Machine)
    assert (host.folder / "nft").read_text() == firewall.ruleset(node), where
    assert sizes(node) == recorded(node), where
    assert peers.authorises(node), where
    assert not [path for path in nodes.left(node) if "/." in path], where
    whole = node.settings.prefix.parent
    assert not list(whole.rglob(".*.partial*")), where
    folders = [path for path in whole.rglob("*") if path.is_dir()]
    assert not [path for folder in folders for path in temporary(folder)], where
    held = {path.name.removeprefix("export-") for path in node.settings.locks.glob("*-*")}
    assert held <= {one.id for one in [*node.records.all(), *Machines(node).all()]}, where


def distinct(folder: Path, trial: Trial) -> list[int]:
    """Do it, and return the numbers of the steps that find something new on the disk."""
    reading, writing = os.pipe()
    number, seen = -1, set()

    def note() -> None:
        nonlocal number
        number += 1  # the first is the mark
        try:
            state = content(folder)
        except OSError:  # another thread has changed it meanwhile
            state = f"at {number}"
        if number and state not in seen:
            seen.add(state)
            os.write(writing, f"{number}\n".encode())

    assert not died(folder, trial, each=note)
    os.close(writing)
    with os.fdopen(reading) as told:
        return [int(line) for line in told]


def died(
    folder: Path, trial: Trial, *faults: Fault, each: Callable[[], None] = lambda: None
) -> bool:
    """Do it in a child, at whose steps these faults come, and tell whether it was killed."""

    def work() -> None:
        node = trial.wake(folder)
        Instants(folder, faults, each=each, large=folder / "none", beneath=True).arm()
        pass_through("begun")
        trial.operation(node)

    return forked(work)


def forked(work: Callable[[], Any]) -> bool:
    """Do work in a child, which has to succeed or be killed; tell whether it was killed."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            work()
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert code in (0, -signal.SIGKILL)
    return code != 0


def content(folder: Path) -> str:
    """A digest of all that lies in a folder, by which equal states are tried once."""
    found = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        found.update(str(path.relative_to(folder)).encode())
        found.update(path.read_bytes() if path.is_file() else b"")
    return found.hexdigest()


def put_back(saved: Path, folder: Path) -> None:
    """Have a folder be as the other."""
    shutil.rmtree(folder, ignore_errors=True)
    subprocess.run(["cp", "-a", "--", saved, folder], check=True)


def ended(folder: Path, trial: Trial) -> dict[str, Any]:
    """All that an operation ends in: records, places, guests, rules, the proxy's files."""
    node = trial.wake(folder)
    host, settings = node.host, node.settings
    assert isinstance(host, Machine)
    states = {path.name: path.read_text().split()[0] for path in host.folder.glob("--name=*")}
    return {
        "records": {one.id: replace(one, made="") for one in node.records.all()},
        # Locks and half-written files are the doctor's.
        "left": [one for one in nodes.left(node) if "/." not in one and "/locks/" not in one],
        "snapshots": sorted(
            str(path) for path in (settings.pool / "env").glob("*/snapshots/[!.]*")
        ),
        "states": {name: state for name, state in states.items() if state != "STOPPED"},
        "rules": (host.folder / "nft").read_text(),
        "files": {name: host.files[name] for name in host.files if name.startswith("/")},
        "also": trial.also(node),
    }


def differing(found: Any, wanted: Any, at: str = "") -> list[str]:
    """Return where two ends differ, and how."""
    if isinstance(found, dict) and isinstance(wanted, dict):
        keys = sorted({*found, *wanted})
        return [
            one for key in keys for one in differing(found.get(key), wanted.get(key), f"{at}/{key}")
        ]
    return [] if found == wanted else [f"{at}: {found!r:.300}, not {wanted!r:.300}"]


def unwell(node: Node, *, mend: bool = False) -> list[dict[str, Any]]:
    """Return what the doctor finds, and cannot mend."""
    return [
        one for one in examine(node, mend=mend) if one["state"] != State.OK and not one["mended"]
    ]
