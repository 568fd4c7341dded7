"""Have the deploy service deploy, as a push does: a deployment then outlives who asked for it."""

from __future__ import annotations

import socket

from corpus.hosts import kernel
from corpus.model.deployment import DeploymentId, Outcome
from corpus.model.errors import CorpusError
from corpus.project import deployment, githook, notifications
from corpus.project.deployment import MakeRunner
from corpus.project.ending import Ending
from corpus.project.log import Sink
from corpus.project.notifications import Fire
from corpus.project.place import Place, Project
from corpus.project.request import Request


def deploy(
    project: Project,
    request: Request,
    make_runner: MakeRunner,
    sink: Sink,
    fire: Fire,
    identity: DeploymentId,
) -> Ending:
    """Deploy by the service, whose log goes to standard error; here when there is none.

    ``identity``, ``sink`` and ``fire`` are for a deployment here; the service has its own.
    Raises CorpusError when the service went away and how the deployment ended is not known.
    """
    if not answers(project.place):
        kernel.become_subreaper()  # so that the way back ends what a phase left running
        ending = deployment.deploy(project, request, make_runner, sink, identity)
        notifications.deliver(project, fire)
        return ending
    asked = request.as_dict() | {"project": project.name}
    verdict = githook.deploy(asked, str(project.place.socket))
    if verdict["outcome"] not in set(Outcome):
        raise CorpusError(
            verdict["error"],
            where=str(project.place.socket),
            mend="systemctl status corpus-deploy; mc_project.report tells how it ended",
        )
    return Ending(asked.get("attach", ""), Outcome(verdict["outcome"]), verdict["error"])


def answers(place: Place) -> bool:
    """Tell whether a deploy service listens at the place's socket."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as line:
        line.settimeout(5)
        try:
            line.connect(str(place.socket))
        except (FileNotFoundError, ConnectionRefusedError):
            return False
        except (BlockingIOError, TimeoutError):  # more ask than it has come to yet
            return True
    return True
