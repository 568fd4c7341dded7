"""A machine is an environment no more: what was put there is taken away, and nothing else."""

from __future__ import annotations

from typing import Any

from corpus.commands import accounts, debian, network, systemctl
from corpus.hosts.base import Host
from corpus.model.errors import CommandFailed, Conflict
from corpus.node.context import Node
from corpus.node.records import Stage
from corpus.node.saltify import inside, looking
from corpus.node.saltify.looking import SERVICE, TABLE
from corpus.node.saltify.making import alone
from corpus.node.saltify.placing import reload_sshd
from corpus.node.saltify.records import Machines

_UNITS = (SERVICE, "corpus-recover.service")
_READER, _GROUP = "corpus-releases", "corpus-projects"
_REMOVING = 900  # seconds that a project may take


def remove(
    node: Node, id: str, *, data: bool = False, forget: bool = False, test: bool = False
) -> dict[str, Any]:
    """Take away what was put on a machine; return what was done, and what is kept where.

    Its projects stay, with their data, accounts and running services, unless ``data``; files
    that were changed are kept aside there. ``forget``: the machine is gone, only its record is
    removed. May be called again after a failure. Raises NotFound, Conflict while a deployment is
    under way, CommandFailed.
    """
    machines = Machines(node)
    named = machines.get(id).id
    with alone(node, named):
        machine = machines.get(named)
        if forget:
            if not test:
                machines.remove(named)
            return _told(test, ["forget the machine; nothing of it is touched"], {})
        with looking.reached(node, machine) as (host, _pinned):
            survey = looking.ask(host, "survey", places=[])
            _check(host, survey, named)
            done = _changes(survey, data)
            if test:
                return _told(True, done, {})
            machines.save(machine.changed(stage=Stage.DESTROYING))
            kept = _take_away(host, survey, data)
        machines.remove(named)
    return _told(False, done, kept)


def _told(test: bool, changes: list[str], kept: dict[str, str]) -> dict[str, Any]:
    return {"test": True, "changes": changes} if test else {"changes": changes, "kept": kept}


def _check(host: Host, survey: dict[str, Any], id: str) -> None:
    """Raise Conflict where the machine is another environment now, or a deployment goes on."""
    other = (survey["state"] or {}).get("id", "")
    if other not in ("", id):
        raise Conflict(
            f"the machine is the environment {other} now", host.name, "say forget=True here"
        )
    active = host.run(systemctl.command("is-active", [SERVICE]), check=False).code == 0
    if survey["journals"] and active:
        raise Conflict(
            f"a deployment of {survey['journals'][0]} is under way", host.name,
            "try again when it ended",
        )  # fmt: skip


def _changes(survey: dict[str, Any], data: bool) -> list[str]:
    state = survey["state"] or {}
    if not state.get("id"):
        return ["forget the machine; nothing is left on it"]
    verb = "remove" if data else "leave"
    found = [f"{verb} the project {name} with its data" for name in survey["projects"]]
    found.append(f"stop {SERVICE}, remove {inside.TREE} and {len(survey['files'])} files")
    if state["keys"]:
        found.append(f"take back {len(state['keys'])} keys of root")
    if state["packages"]:
        found.append(f"leave to apt-get autoremove: {' '.join(state['packages'])}")
    return found


def _take_away(host: Host, survey: dict[str, Any], data: bool) -> dict[str, str]:
    """Remove projects first, while what removes them is there; return what is kept where."""
    state = survey["state"] or {}
    for name in survey["projects"] if data and state.get("id") else ():
        _remove_project(host, name)
    whole = data or not survey["projects"]
    host.run(systemctl.command("stop", _UNITS), check=False, timeout=60)
    if state:
        host.run(network.delete_table(*TABLE), check=False)
        for command in (accounts.remove(_READER), accounts.remove_group(_GROUP)) if whole else ():
            host.run(command, check=False)
    packages = state.get("packages", [])
    kept: dict[str, str] = looking.ask(host, "clear", data=whole)["kept"]
    host.run(systemctl.reload(), timeout=60)
    reload_sshd(host)
    if packages:
        host.run(debian.dispensable(packages), check=False)
    return kept


def _remove_project(host: Host, name: str) -> None:
    call = [f"{inside.TREE}/bin/salt-call", "--local", "--retcode-passthrough",
            "mc_project.remove", name, f"confirm={name}"]  # fmt: skip
    done = host.run(call, check=False, timeout=_REMOVING)
    if done.code:
        raise CommandFailed(call, done.code, done.out + done.err, "mend it there, then try again")
