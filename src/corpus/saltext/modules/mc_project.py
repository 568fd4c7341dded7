"""Salt execution module ``mc_project``: projects of this environment (RFC, «The project
common registry execution module helper»).

It converts arguments and errors; corpus.project does the work.

.. code-block:: console

    # salt-call --local mc_project.init_project guestbook keys='["ssh-ed25519 AAAA… me"]'
    # salt-call --local mc_project.report guestbook
    # salt-call --local mc_project.deploy guestbook
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from corpus.commands.git import sha
from corpus.model.deployment import Kind, Outcome
from corpus.model.errors import InvalidInput
from corpus.model.finding import is_well
from corpus.project import (
    byhand,
    configuration,
    layout,
    removal,
    repository,
    targets,
)
from corpus.project import report as reports
from corpus.project import usage as disk
from corpus.project.doctor.examine import examine
from corpus.project.place import Project
from corpus.project.request import Request
from corpus.saltext.calls import Call
from corpus.saltext.edge import Count, edge, words

__virtualname__ = "mc_project"
__opts__: dict[str, Any]
__pillar__: Mapping[str, Any]
__context__: dict[str, Any]


def __virtual__() -> str:
    return __virtualname__


def _call() -> Call:
    return Call(dict(__opts__), dict(__pillar__))


@edge
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


@edge
def get_configuration(name: str) -> dict[str, Any]:
    """Return the project's settings as its layers of configuration add up; secrets masked."""
    project = _call().project(name)
    return _masked(_call().configured(project))


@edge
def settings(name: str) -> dict[str, Any]:
    """Return ``common`` as the first phase would find it; secrets masked."""
    project = _call().project(name)
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


@edge
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
    project = _call().project(name)
    if only or only_steps:
        if commit or plan or preview or (only and only_steps):
            raise InvalidInput("only and only_steps stand alone", mend="give one of them")
        return _call().by_hand(
            project,
            lambda *engine: (
                byhand.run_phases(project, words(only), *engine)
                if only
                else byhand.run_steps(project, words(only_steps), *engine)
            ),
        )
    branch, tip = repository.deploy_branch(project)
    request = Request(branch, sha(commit) if commit else tip, by="mc_project")
    if plan or preview:
        return _call().planned(project, request, preview=preview)
    return _ended(_call().asked(project, request))


@edge
def promote(name: str, release: str = "", plan: bool = False) -> dict[str, Any]:
    """Deploy a release: the newest that the paired staging environment offers, or ``release``.

    release
        The id of the deployment that made it; see ``mc_project.releases``.
    plan
        Tell what would be done, with sizes, and touch nothing.

    .. code-block:: console

        # salt-call --local mc_project.promote guestbook
    """
    project = _call().project(name)
    request = Request(repository.deploy_ref(project), "", "mc_project", Kind.PROMOTE, release)
    if plan:
        return _call().planned(project, request)
    return _ended(_call().asked(project, request))


@edge
def run_task(name: str, task: str, **arguments: Any) -> dict[str, Any]:
    """Run ``.salt/task_<task>.sls`` of the project; it finds ``arguments`` as ``common.arguments``.

    .. code-block:: console

        # salt-call --local mc_project.run_task guestbook create_admin email=ada@example.org
    """
    project = _call().project(name)
    given = {key: value for key, value in arguments.items() if not key.startswith("__pub_")}
    return _call().by_hand(
        project, lambda *engine: asdict(byhand.run_task(project, task, given, *engine))
    )


@edge
def diff(name: str) -> dict[str, str]:
    """Return what was changed by hand in ``run/`` since it went live: path to how.

    In editable mode, the files of the checkout that differ from the commit.
    """
    return reports.changed_by_hand(_call().project(name))


@edge
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
    project = _call().project(name)
    if code_only and with_data:
        raise InvalidInput("code_only and with_data exclude one another", mend="choose one")
    if not code_only and not with_data:
        return targets.preview(project, deployment)
    branch = repository.deploy_ref(project)
    asked = Request(branch, "", "mc_project", Kind.ROLLBACK, deployment, with_data)
    return _ended(_call().asked(project, asked))


def _ended(done: dict[str, Any]) -> dict[str, Any]:
    """Set the exit code of what ended."""
    __context__["retcode"] = Outcome(done["outcome"]).exit_code
    return done


@edge
def report(name: str, limit: Count = 10) -> dict[str, Any]:
    """Return what runs, the last ``limit`` deployments, what is unfinished, what is kept."""
    return reports.report(_call().project(name), limit)


@edge
def doctor(name: str | None = None, mend: bool = False) -> list[dict[str, Any]]:
    """Return what is wrong with a project, or with all, and with the environment.

    mend
        Mend what can be mended safely; never ``data/``, ``run/`` or what is kept of them.

    Something bad that is left sets a non-zero exit code.

    .. code-block:: console

        # salt-call --local mc_project.doctor guestbook
        # salt-call --local mc_project.doctor mend=True
    """
    found = examine(_call().place, name, mend=mend)
    __context__["retcode"] = 0 if is_well(found) else 1
    return found


@edge
def usage(name: str) -> dict[str, Any]:
    """Return what of a project uses the disk, in bytes, and what would be free without it."""
    return disk.report(_call().project(name))


@edge
def list_projects() -> list[dict[str, Any]]:
    """Return the projects of this environment with their live version."""
    return reports.summary(_call().place)


@edge
def link(name: str) -> list[str]:
    """Link the project into Salt's file and pillar roots; return the links made."""
    return layout.link(_call().project(name))


@edge
def unlink(name: str) -> list[str]:
    """Remove the project's links from Salt's roots and from systemd; return those of Salt."""
    return layout.unlink(_call().project(name))


@edge
def remove(name: str, confirm: str = "") -> list[str]:
    """Remove a project with everything of it, its data too; return what was removed.

    confirm
        The project's name, once more.

    .. code-block:: console

        # salt-call --local mc_project.remove guestbook confirm=guestbook
    """
    return removal.remove(Project.at(_call().place, name), confirm)
