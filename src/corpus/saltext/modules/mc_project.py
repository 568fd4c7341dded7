"""Salt execution module ``mc_project``: projects of this environment (RFC, «The project
common registry execution module helper»).

It converts arguments and errors; corpus.project does the work.

.. code-block:: console

    # salt-call --local mc_project.init_project guestbook keys='["ssh-ed25519 AAAA… me"]'
    # salt-call --local mc_project.report guestbook
    # salt-call --local mc_project.deploy guestbook
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from functools import wraps
from typing import Any, TypeVar

from salt.exceptions import CommandExecutionError

from corpus.commands.git import sha
from corpus.model.deployment import DeploymentId, Kind, Outcome
from corpus.model.errors import CorpusError, InvalidInput, NotFound
from corpus.model.manifest import Manifest
from corpus.project import (
    byhand,
    configuration,
    layout,
    promotion,
    removal,
    repository,
    targets,
)
from corpus.project import peers as pairing
from corpus.project import releases as shelf
from corpus.project import report as reports
from corpus.project import usage as disk
from corpus.project.doctor.examine import examine, is_well
from corpus.project.place import Project
from corpus.project.request import Request
from corpus.saltext.calls import Call, say

__virtualname__ = "mc_project"
__opts__: dict[str, Any]
__pillar__: Mapping[str, Any]
__context__: dict[str, Any]

F = TypeVar("F", bound=Callable[..., Any])


def __virtual__() -> str:
    return __virtualname__


def _edge(function: F) -> F:
    """Turn our errors into Salt's, keeping the exit code."""

    @wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        try:
            return function(*args, **kwargs)
        except CorpusError as error:
            __context__["retcode"] = error.exit_code
            raise CommandExecutionError(str(error)) from None

    return wrapper  # type: ignore[return-value]


@_edge
def init_project(name: str, keys: list[str] | str | None = None) -> dict[str, Any]:
    """Make the project's account, tree, repositories and Salt links; make what is missing.

    name
        1 to 28 lower-case letters, digits and inner hyphens.
    keys
        Public SSH keys that may push; given again, they replace the former ones.

    .. code-block:: console

        # salt-call --local mc_project.init_project guestbook keys='["ssh-ed25519 AAAA… me"]'
    """
    given = [keys] if isinstance(keys, str) else list(keys or [])
    project = Project.at(_call().place, name)
    made = layout.initialise(project, given)
    return {
        "name": name,
        "made": made,
        "user": project.user,
        "code": "~/project.git",
        "pillar": "~/pillar.git",
    }


@_edge
def get_configuration(name: str) -> dict[str, Any]:
    """Return the project's settings as its layers of configuration add up; secrets masked."""
    project = _project(name)
    return _masked(_call().configured(project))


@_edge
def settings(name: str) -> dict[str, Any]:
    """Return ``common`` as the first phase would find it; secrets masked."""
    project = _project(name)
    common = configuration.make_common(
        project,
        _call().configured(project),
        deployment="",
        commit=repository.checked_out(project),
        pillar_commit=repository.pillar_tip(project) or "",
    )
    return _masked(common)


def _masked(values: dict[str, Any]) -> dict[str, Any]:
    secrets = configuration.secrets_of(values)
    return dict(configuration.mask(values, secrets))


@_edge
def deploy(
    name: str,
    commit: str | None = None,
    plan: bool = False,
    preview: bool = False,
    only: list[str] | str | None = None,
    only_steps: list[str] | str | None = None,
) -> dict[str, Any]:
    """Deploy ``commit`` (the deploy branch's tip by default); its log goes to standard error.

    The deploy service does it where it runs, so that the deployment outlives this command.
    The return says how it ended; anything but ``live`` sets a non-zero exit code.

    plan
        Tell what would be done, with sizes, and touch nothing.
    preview
        The same, and what each state would change (Salt's ``test=True``).
    only
        Run these phases alone, on what is checked out; there is no way back.
    only_steps
        Run these steps alone: preflight, bind, start, health.

    .. code-block:: console

        # salt-call --local --retcode-passthrough mc_project.deploy guestbook
        # salt-call --local mc_project.deploy guestbook plan=True
        # salt-call --local mc_project.deploy guestbook only=build,post_build
    """
    project = _project(name)
    if only or only_steps:
        if commit or plan or preview or (only and only_steps):
            raise InvalidInput("only and only_steps stand alone", mend="give one of them")
        return _call().by_hand(
            project,
            lambda *engine: (
                byhand.run_phases(project, _words(only), *engine)
                if only
                else byhand.run_steps(project, _words(only_steps), *engine)
            ),
        )
    branch, tip = repository.deploy_branch(project)
    request = Request(branch, sha(commit) if commit else tip, by="mc_project")
    if plan or preview:
        return _call().planned(project, request, preview=preview)
    return _ended(_call().asked(project, request))


@_edge
def promote(name: str, release: str = "", plan: bool = False) -> dict[str, Any]:
    """Deploy a release: the newest that the paired staging environment offers, or ``release``.

    release
        The id of the deployment that made it; see ``mc_project.releases``.
    plan
        Tell what would be done, with sizes, and touch nothing.

    .. code-block:: console

        # salt-call --local mc_project.promote guestbook
    """
    project = _project(name)
    request = Request(repository.deploy_ref(project), "", "mc_project", Kind.PROMOTE, release)
    if plan:
        return _call().planned(project, request)
    return _ended(_call().asked(project, request))


@_edge
def run_task(name: str, task: str, **arguments: Any) -> dict[str, Any]:
    """Run ``.salt/task_<task>.sls`` of the project; it finds ``arguments`` as ``common.arguments``.

    .. code-block:: console

        # salt-call --local mc_project.run_task guestbook create_admin email=ada@example.org
    """
    project = _project(name)
    given = {key: value for key, value in arguments.items() if not key.startswith("__pub_")}
    return _call().by_hand(
        project, lambda *engine: asdict(byhand.run_task(project, task, given, *engine))
    )


@_edge
def diff(name: str) -> dict[str, str]:
    """Return what was changed by hand in ``run/`` since it went live: path to how.

    In editable mode, the files of the checkout that differ from the commit.
    """
    return reports.changed_by_hand(_project(name))


@_edge
def rollback(
    name: str, deployment: str = "", code_only: bool = False, with_data: bool = False
) -> dict[str, Any]:
    """Go back to a former good deployment: a deployment too, which backs the present up first.

    deployment
        The id to go back to; by default the last good one before the live one.
    code_only
        Keep the data as they are.
    with_data
        Put the data back as that deployment left them; what was written since is put aside.

    With neither of the two nothing is done: what was written since is told.

    .. code-block:: console

        # salt-call --local mc_project.rollback guestbook
        # salt-call --local mc_project.rollback guestbook with_data=True
    """
    project = _project(name)
    if code_only and with_data:
        raise InvalidInput("code_only and with_data exclude one another", mend="choose one")
    if not code_only and not with_data:
        return targets.preview(project, deployment)
    branch = repository.deploy_ref(project)
    asked = Request(branch, "", "mc_project", Kind.ROLLBACK, deployment, bool(with_data))
    return _ended(_call().asked(project, asked))


def _call() -> Call:
    return Call(dict(__opts__), dict(__pillar__))


def _project(name: str) -> Project:
    return Project.existing(_call().place, name)


def _ended(done: dict[str, Any]) -> dict[str, Any]:
    """Set the exit code of what ended."""
    __context__["retcode"] = Outcome(done["outcome"]).exit_code
    return done


def _words(given: list[str] | str | None) -> list[str]:
    """Return names given as a list or separated by commas."""
    return given.split(",") if isinstance(given, str) else list(given or [])


@_edge
def report(name: str, limit: int = 10) -> dict[str, Any]:
    """Return what runs, the last ``limit`` deployments, what is unfinished, what is kept."""
    return reports.report(_project(name), int(limit))


@_edge
def doctor(name: str | None = None, mend: bool = False) -> list[dict[str, Any]]:
    """Return what is wrong with a project, or with all, and with the environment.

    mend
        Mend what can be mended safely; never ``data/``, ``run/`` or what is kept of them.

    Something bad that is left sets a non-zero exit code.

    .. code-block:: console

        # salt-call --local mc_project.doctor guestbook
        # salt-call --local mc_project.doctor mend=True
    """
    found = examine(_call().place, name, mend=bool(mend))
    __context__["retcode"] = 0 if is_well(found) else 1
    return found


@_edge
def usage(name: str) -> dict[str, Any]:
    """Return what of a project uses the disk, in bytes, and what would be free without it."""
    return disk.report(_project(name))


@_edge
def list_projects() -> list[dict[str, Any]]:
    """Return the projects of this environment with their live version."""
    return reports.summary(_call().place)


@_edge
def releases(name: str) -> list[dict[str, Any]]:
    """Return what the manifests of the project's releases say, the newest first; unverified."""
    return [_told(manifest) for manifest in shelf.listed(_project(name))]


@_edge
def verify(name: str, release: str | None = None) -> dict[str, Any]:
    """Verify a release, by the id of its deployment (the newest by default), and return it.

    .. code-block:: console

        # salt-call --local --retcode-passthrough mc_project.verify guestbook
    """
    project = _project(name)
    found = [DeploymentId.parse(release)] if release else shelf.deployments(project)
    if not found:
        raise NotFound(f"no release of {name} is here", where=str(project.paths.releases))
    return _told(shelf.verify(project, max(found)))


def _told(manifest: Manifest) -> dict[str, Any]:
    """Return a manifest with the sums over its parts."""
    sums = {key: getattr(manifest, key) for key in ("size", "files", "archive_size")}
    return manifest.as_dict() | sums


@_edge
def link(name: str) -> list[str]:
    """Link the project into Salt's file and pillar roots; return the links made."""
    return layout.link(_project(name))


@_edge
def unlink(name: str) -> list[str]:
    """Remove the project's links from Salt's roots and from systemd; return those of Salt."""
    return layout.unlink(_project(name))


@_edge
def identity(name: str, address: str | None = None, port: int | None = None) -> dict[str, Any]:
    """Return what this environment is to a peer of the project: what ``pair`` takes there.

    address, port
        Where the peer reaches this environment's SSH server, when it is on another node.

    .. code-block:: console

        # salt-call --local --out=json mc_project.identity guestbook
    """
    return pairing.identity(_project(name), address, port).as_dict()


@_edge
def pair(name: str, peer: dict[str, Any]) -> dict[str, Any]:
    """Pair this environment with another one for a project: staging with production.

    peer
        What ``identity`` returned there. Between environments of one node
        ``corpus_node.pair`` does both sides.
    """
    # As it is printed with --out=json.
    given = peer["local"] if isinstance(peer, dict) and list(peer) == ["local"] else peer
    return pairing.pair(_project(name), given).as_dict()


@_edge
def unpair(name: str, environment: str | None = None) -> list[str]:
    """Forget one peer of a project, or all; return the ids of those forgotten."""
    return pairing.unpair(_project(name), environment)


@_edge
def peers(name: str) -> list[dict[str, Any]]:
    """Return the environments that a project is paired with."""
    return [peer.as_dict() for peer in pairing.listed(_project(name))]


@_edge
def fetch_release(name: str, release: str | None = None) -> dict[str, Any]:
    """Bring a release here and verify it, without deploying it; return its manifest.

    A promotion then needs no staging environment.

    release
        A deployment's id; the newest that staging offers by default.

    .. code-block:: console

        # salt-call --local mc_project.fetch_release guestbook
    """
    return promotion.bring(_project(name), release, say).as_dict()


@_edge
def remove(name: str, confirm: str = "") -> list[str]:
    """Remove a project with everything of it, its data too; return what was removed.

    confirm
        The project's name, once more.

    .. code-block:: console

        # salt-call --local mc_project.remove guestbook confirm=guestbook
    """
    return removal.remove(Project.at(_call().place, name), confirm)
