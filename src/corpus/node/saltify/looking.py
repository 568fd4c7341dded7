"""What a machine is, whether it may become an environment, and what it lacks."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from corpus.commands import debian, network, systemctl
from corpus.hosts.base import Host
from corpus.hosts.ssh import SSH, connected
from corpus.images.recipes import BASE_PACKAGES
from corpus.model.errors import CommandFailed, Conflict, NotFound, Unsupported
from corpus.model.size import format_size
from corpus.node.context import Node
from corpus.node.saltify import inside
from corpus.node.saltify.contents import SSHD, UNITS, Contents, in_tree
from corpus.node.saltify.records import Machine

SERVICE = "corpus-deploy.service"
TABLE = ("inet", "corpus")
_PROGRAM = Path(inside.__file__).read_text()
_SECONDS = 300
_MACHINES = {"amd64": "x86_64", "arm64": "aarch64"}
_SPARE = 128 << 20  # bytes that stay free beside the tree, twice, and its archives


def ask(host: Host, function: str, **given: Any) -> dict[str, Any]:
    """Return what a function of ``inside`` returns on the machine. Raises CommandFailed."""
    program = ["python3", "-IS", "-c", _PROGRAM, function]
    try:
        told = host.run(program, stdin=json.dumps(given), timeout=_SECONDS).out
        found: dict[str, Any] = json.loads(told)
    except CommandFailed as error:  # the whole program is no news
        raise CommandFailed(["python3", function], error.code, error.output, error.mend) from None
    except ValueError:
        raise Unsupported(
            f"the machine says more than it is asked: {ascii(told)[:80]}",
            mend="have root's shell there print nothing when no person logs in",
        ) from None
    return found


@contextmanager
def reached(node: Node, machine: Machine) -> Iterator[tuple[SSH, Machine]]:
    """Give the machine with its record, in which the host key is now pinned.

    Raises NotFound for a key file that is absent, CommandFailed when it is not reached.
    """
    key = Path(machine.key)
    if not key.is_file():
        raise NotFound(
            "no private key to reach the machine with", str(key),
            "corpus_node.saltify_key makes one; root there must accept it",
        )  # fmt: skip
    how = (key, machine.host_key or None, machine.user, machine.host, machine.port, node.host)
    with connected(*how) as (host, known):
        _greet(host)
        pinned = machine.host_key or " ".join(known.read_text().split()[1:3])
        yield host, machine.changed(host_key=pinned)


def _greet(host: Host) -> None:
    """Raise Unsupported where there is no Python to talk to."""
    if host.run(["python3", "--version"], check=False, timeout=60).code:
        raise Unsupported(
            "the machine has no Python", host.name, "apt-get install python3, if it is a Debian 12"
        )


@dataclass(frozen=True)
class Look:
    """What was found: ``survey`` of ``inside``, differences by path, packages that it lacks.

    ``active``: the deploy service runs. ``notes``: what is to be known, and is no hindrance.
    """

    survey: dict[str, Any]
    differs: dict[str, str]
    packages: tuple[str, ...]
    keys: tuple[str, ...]
    active: bool
    notes: tuple[str, ...] = field(default=())

    @property
    def tree(self) -> bool:
        """Whether the tree is to be put there anew."""
        return any(in_tree(path) and how != "foreign" for path, how in self.differs.items())

    @property
    def files(self) -> list[str]:
        """The files outside of the tree that are to be put there."""
        return sorted(path for path in self.differs if not in_tree(path))

    @property
    def unfinished(self) -> bool:
        """Whether a former call died: who read what it put there is not known."""
        return bool((self.survey["state"] or {}).get("unfinished"))

    @property
    def units(self) -> bool:
        """Whether systemd is to read its units anew."""
        return self.unfinished or any(path.startswith(UNITS) for path in self.files)

    @property
    def sshd(self) -> bool:
        """Whether the SSH server is to read its settings anew."""
        return self.unfinished or SSHD in self.files

    @property
    def restart(self) -> bool:
        """Whether the deploy service has to begin anew."""
        idle = (SSHD, "/etc/corpus/image.json")
        return self.unfinished or self.tree or any(path not in idle for path in self.files)

    @property
    def changes(self) -> list[str]:
        """What there is to do, in sentences."""
        found = [f"install {' '.join(self.packages)}"] if self.packages else []
        found += [f"put {inside.TREE} there"] if self.tree else []
        found += [f"put {path} there" for path in self.files]
        found += [f"let in root's key {key.split()[-1][:40]}" for key in self.keys]
        if not self.active or self.restart:
            found.append(f"start {SERVICE}")
        return found


def look(host: Host, machine: Machine, name: str, contents: Contents) -> Look:
    """Return what the machine is and lacks. Raises Unsupported, Conflict where it is unfit.

    ``name`` is the machine's host name.
    """
    outside = [path for path in contents.files if not in_tree(path)]
    survey = ask(host, "survey", places=[*outside, inside.TREE])
    _check_system(survey, contents)
    _check_free(survey, contents)
    _check_owner(survey, machine, outside)
    lacking = _missing(host)
    if "nftables" not in lacking:
        _check_firewall(host, survey)
    differs = ask(host, "compare", files=contents.files)["differs"]
    keys = tuple(key for key in machine.keys if key not in survey["keys"])
    active = host.run(systemctl.command("is-active", [SERVICE]), check=False).code == 0
    found = Look(survey, differs, lacking, keys, active, tuple(_notes(survey, name)))
    if found.restart and active and survey["journals"]:
        raise Conflict(
            f"a deployment of {survey['journals'][0]} is under way", mend="try again when it ended"
        )
    return found


def _check_system(survey: dict[str, Any], contents: Contents) -> None:
    """Raise Unsupported where the machine is no Debian 12 with systemd of the right kind."""
    wanted = _MACHINES.get(contents.image.arch, contents.image.arch)
    facts = [
        (survey["user"] == 0, "the account is not root's", "give user=root"),
        (survey["system"] == ["debian", "12"], f"it is no Debian 12: {survey['system']}", None),
        (survey["init"] == "systemd", f"its init is {survey['init']}, not systemd", None),
        (
            survey["machine"] == wanted,
            f"it is a {survey['machine']}, the image is for {wanted}",
            "build the image on a machine of that kind",
        ),
        (survey["python"] == [3, 11], f"its python3 is {survey['python']}, not 3.11", None),
    ]
    for good, what, mend in facts:
        if not good:
            raise Unsupported(
                f"the machine cannot be an environment: {what}",
                mend=mend or "use a machine with Debian 12, its systemd and its Python",
            )


def _check_free(survey: dict[str, Any], contents: Contents) -> None:
    packed = sum(layer.size for layer in contents.layers)
    for place, needed in {"/opt": 2 * contents.size + _SPARE, "/var/lib": packed + _SPARE}.items():
        if survey["free"][place] < needed:
            raise Conflict(
                f"{format_size(survey['free'][place])} are free and {format_size(needed)} needed",
                where=place,
                mend="make room there",
            )


def _check_owner(survey: dict[str, Any], machine: Machine, outside: Sequence[str]) -> None:
    """Raise Conflict where something of others is in the way."""
    state = survey["state"] or {}
    other = state.get("id", "")
    if other not in ("", machine.id):
        raise Conflict(
            f"the machine is the environment {other} of {state.get('node')} already",
            mend=f"go on with id={other}, or remove it first",
        )
    known = {*survey["files"], *([inside.TREE] if other else [])}
    foreign = [path for path in [*outside, inside.TREE] if path in survey["there"]]
    if foreign := [path for path in foreign if path not in known]:
        raise Conflict(
            f"there is already {', '.join(foreign)}",
            where=machine.host,
            mend="it is not ours: move it away, if nobody needs it",
        )
    if survey["strangers"] and not state:
        raise Conflict(
            f"/srv/projects holds what is no project: {', '.join(survey['strangers'][:5])}",
            where=machine.host,
            mend="move it elsewhere",
        )


def _check_firewall(host: Host, survey: dict[str, Any]) -> None:
    listed = host.run(network.list_tables(), check=False)
    if listed.code:
        raise Unsupported(
            f"nftables does not work: {listed.err.strip()[:200]}", host.name,
            "boot a kernel with nf_tables: visitors are held by it",
        )  # fmt: skip
    if TABLE in network.parse_tables(listed.out) and not survey["state"]:
        raise Conflict("there is an nftables table inet corpus", host.name, "rename it")


def _missing(host: Host) -> tuple[str, ...]:
    """Return the Debian packages that an environment needs and the machine lacks."""
    there = debian.parse_installed(host.run(debian.states(BASE_PACKAGES), check=False).out)
    return tuple(package for package in BASE_PACKAGES if package not in there)


def _notes(survey: dict[str, Any], name: str) -> Iterator[str]:
    yield "no size is enforced here: what the disk has free is what projects may use"
    if survey["srv"] != "btrfs":
        yield f"/srv is on {survey['srv']}, not btrfs: data is backed up by copies, not snapshots"
    if len(survey["listening"]) > 1:
        yield f"{name} listens on the ports {', '.join(map(str, survey['listening']))}"
    yield from (
        f"{path} was there before: salt-call reads it too"
        for path in ("/srv/salt", "/srv/pillar")
        if path in survey["there"] and path not in (survey["state"] or {}).get("absent", [path])
    )
