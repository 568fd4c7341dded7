"""What is to be told, on the disk until it was: ``.corpus/outbox/<id>-<outcome>.<attempt>``.

The deployment writes it before it records how it ended; it is sent afterwards, so that
nobody who pushes waits for a mail server. Each is sent once. Only when the sender dies is
it sent again, under the same id.
"""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from corpus.hosts.files import write_atomic
from corpus.model.deployment import DeploymentId
from corpus.model.errors import CorpusError
from corpus.project import lock, repository, reserve
from corpus.project.log import Log
from corpus.project.notifications import settings
from corpus.project.notifications.sending import Fire, send
from corpus.project.notifications.status import Status, one_line
from corpus.project.place import Project

MOST_ATTEMPTS: Final = 3


def put(project: Project, status: Status, log: Log) -> None:
    """Write down what is to be told.

    Raises OSError when the disk is full, as the ledger will; any other failure is a line of
    ``log``.
    """
    paths = project.paths
    data = json.dumps(status.as_dict()).encode()
    try:
        durable = paths.notify.exists()  # else only Salt's bus is told
        write_atomic(paths.outbox / f"{status.id}.0", data, 0o600, durable=durable)
    except OSError as error:
        if reserve.is_full(error):
            raise
        log.alarm(f"nobody will be notified: {error}")


def waiting(project: Project) -> list[Path]:
    """Return what is not sent yet, oldest first."""
    found = project.paths.outbox.glob("[0-9]*.[0-9]")
    return sorted(found, key=lambda path: path.stem)


def deliver(project: Project, fire: Fire) -> None:
    """Send all that waits; how it went is in each deployment's own log. Never raises.

    The calling process should end soon, see ``send``.
    """
    if not waiting(project):
        return
    try:
        with lock.held(project.paths.state / "outbox.lock", "", lambda _ahead: None):
            for path in waiting(project):
                _deliver(project, path, fire)
    except (CorpusError, OSError) as error:
        print(f"notifications of {project.name}: {error}", flush=True)


def _deliver(project: Project, path: Path, fire: Fire) -> None:
    attempt = int(path.suffix[1:])
    path = path.rename(path.with_suffix(f".{attempt + 1}"))
    try:
        status = Status.parse(json.loads(path.read_bytes()))
        log = _log(project, status)
    except (ValueError, TypeError, KeyError, CorpusError) as error:
        path.unlink()
        print(f"{path} was damaged and is removed: {error}", flush=True)
        return
    try:
        if attempt >= MOST_ATTEMPTS:
            log.alarm(f"not notified: whoever tried to died, {attempt} times")
        else:
            _send(project, status, log, fire)
        path.unlink()
    finally:
        log.close()


def _log(project: Project, status: Status) -> Log:
    """Return the deployment's log; the service's own journal when it was pruned already."""
    path = project.paths.log(DeploymentId.parse(status.deployment))
    return Log(path) if path.exists() else Log(Path(os.devnull), print)


def _send(project: Project, status: Status, log: Log, fire: Fire) -> None:
    facts = _facts(project)
    try:
        notify = settings.kept(project)
    except (CorpusError, OSError) as error:
        log.alarm(f"only Salt's bus is notified: {error}")
        notify = settings.Notify()
    log.secrets = notify.secrets
    told = replace(
        status,
        subject=_subject(project, status.commit),
        platform=str(facts.get("platform", "")),
        environment=str(facts.get("id", "")),
        environment_name=str(facts.get("name", "")),
    )
    send(notify, str(facts.get("relay") or ""), told, log, fire)


def _facts(project: Project) -> dict[str, Any]:
    """Return what the node says of this environment; nothing when it says nothing."""
    try:
        return project.place.facts()
    except (OSError, ValueError):
        return {}


def _subject(project: Project, commit: str) -> str:
    try:
        return one_line(repository.describe(project, commit).subject)
    except (CorpusError, OSError):
        return ""
