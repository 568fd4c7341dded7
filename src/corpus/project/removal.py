"""Remove a project with everything of it.

Each step may be done again after a kill in its middle. What tells that the project is there,
its own records, goes last.
"""

from __future__ import annotations

import pwd
from collections.abc import Callable, Iterator

from corpus.commands import accounts, systemctl
from corpus.hosts import mounts, processes
from corpus.model.errors import Conflict, InvalidInput, NotFound
from corpus.project import (
    binding,
    deployment,
    journal,
    layout,
    lock,
    maintenance,
    peers,
    services,
    traffic,
    trees,
)
from corpus.project.ledger import Ledger
from corpus.project.place import Project

PATIENCE = 600.0  # seconds that a deployment under way may take to end


def remove(project: Project, confirm: str) -> list[str]:
    """Stop, unlink and delete all that a project is; return what was removed.

    Waits for a deployment under way. Raises InvalidInput unless ``confirm`` is the project's
    name, NotFound when nothing of it is there, Conflict while something is mounted in it.
    """
    if confirm != project.name:
        raise InvalidInput(
            f"nothing was removed: this deletes {project.name} with its data",
            mend=f"to do it, say confirm={project.name}",
        )
    if not project.paths.root.exists() and not list(_accounts(project)):
        raise NotFound(f"no project {project.name!r} in this environment")
    project.paths.state.mkdir(mode=0o700, parents=True, exist_ok=True)
    with lock.held(project.paths.lock, "its removal", lambda _: None, PATIENCE):
        return [said for step in STEPS.values() for said in step(project)]


def _refuse(project: Project) -> Iterator[str]:
    """Refuse while others have something mounted in the project: it is not ours to delete."""
    root, shown = project.paths.root, project.paths.project
    bound = binding.is_bound(project) and not binding.is_shared(project)
    for point in mounts.below(root):
        if not (bound and point == shown):
            raise Conflict(
                "something is mounted in the project, and would be deleted",
                where=str(point),
                mend="umount it, or stop sharing it on the node; then remove the project again",
            )
    yield from ()


def _keys(project: Project) -> Iterator[str]:
    path = project.place.keys / project.name
    if path.exists():
        path.unlink()
        yield str(path)


def _stopped(project: Project) -> Iterator[str]:
    """Stop what runs: services, what a dead deployer left, what the accounts run besides."""
    history = journal.read(project.paths.journal)
    live = Ledger(project.paths.ledger).live()
    runtimes = [history.facts.get("runtime", {})] if history else []
    runtimes += [live.runtime] if live else []
    units = [unit for runtime in runtimes for unit in runtime.get("services", [])]
    units += services.names(project)
    if history:
        processes.kill_marked(deployment.MARK, history.header["id"])
    services.stop(project, list(dict.fromkeys(units)))
    for name in _accounts(project):
        processes.kill_account(pwd.getpwnam(name).pw_uid)
    ports = sorted({int(port) for runtime in runtimes for port in runtime.get("ports", [])})
    traffic.admit(project.place, ports)
    maintenance.end(project.place, ports, None)
    project.paths.journal.unlink(missing_ok=True)  # from here on nothing puts it back
    yield from dict.fromkeys(units)


def _links(project: Project) -> Iterator[str]:
    yield from layout.unlink(project)
    if project.place.systemd:
        project.host.run(systemctl.reload())


def _files(project: Project) -> Iterator[str]:
    if binding.is_bound(project) or binding.is_recorded(project):
        binding.unbind(project)
    yield from _refuse(project)
    for entry in sorted(project.paths.root.iterdir()):
        if entry != project.paths.state:
            trees.remove(entry)
            yield str(entry)


def _pairings(project: Project) -> Iterator[str]:
    """Forget the peers, whom nobody shall serve or trust for this project, and its key."""
    if project.place.peers.is_dir():
        for environment in peers.unpair(project):
            yield f"pairing with {environment}"
    keys, name = project.place.fetch_keys, project.name
    for path in (keys / name, keys / f"{name}.pub", *keys.glob(f".{name}.partial*")):
        if path.exists():
            path.unlink()
            yield str(path)


def _users(project: Project) -> Iterator[str]:
    """Remove the accounts after the files: their numbers may be given to others."""
    for name in list(_accounts(project)):
        project.host.run(accounts.remove(name))
        yield f"account {name}"


def _accounts(project: Project) -> Iterator[str]:
    """Yield those of the project's accounts that are there, and are its own."""
    homes = {project.user: project.paths.git, project.application: project.paths.data}
    for name, home in homes.items():
        try:
            if name and pwd.getpwnam(name).pw_dir == str(home):
                yield name
        except KeyError:
            continue


def _records(project: Project) -> Iterator[str]:
    trees.remove(project.paths.root)
    yield str(project.paths.root)


STEPS: dict[str, Callable[[Project], Iterator[str]]] = {
    "mounts": _refuse,
    "keys": _keys,
    "services": _stopped,
    "links": _links,
    "pairings": _pairings,
    "files": _files,
    "accounts": _users,
    "records": _records,
}
"""The steps in their order: first what may refuse, then who may come in, then what runs."""
