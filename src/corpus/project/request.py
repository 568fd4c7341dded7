"""What somebody asks for, and which commit, pillar and release that means."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from corpus.commands import git
from corpus.model.deployment import DeploymentId, Kind
from corpus.model.errors import InvalidInput
from corpus.project import promotion, repository, targets
from corpus.project.log import Log
from corpus.project.place import Project


@dataclass(frozen=True)
class Request:
    """What somebody asks for; ``new`` is the commit, ``branch`` the ref it is for.

    ``target`` is the release that is promoted, or the former deployment that a rollback goes
    back to; empty for the latest. ``with_data``: a rollback puts back the data too.
    """

    branch: str
    new: str = ""
    by: str = ""
    kind: Kind = Kind.DEPLOY
    target: str = ""
    with_data: bool = False

    def as_dict(self) -> dict[str, str]:
        """Return what the deploy service is asked; it knows by itself who asks."""
        return {
            "ref": self.branch,
            "new": self.new,
            "kind": str(self.kind),
            "target": self.target,
            "with_data": "yes" if self.with_data else "",
        }

    @classmethod
    def parse(cls, asked: Mapping[str, Any], by: str) -> Request:
        """Return the request of ``by``; a push says ref and commit alone.

        Raises InvalidInput; a project's own account may do nothing but deploy.
        """
        kind = _kind(asked.get("kind", "deploy"))
        if git.ref(asked.get("ref")) not in git.DEPLOY_REFS:
            raise InvalidInput(f"{asked['ref']} does not deploy", mend="push to master or main")
        if kind is Kind.DEPLOY:
            return cls(asked["ref"], git.sha(asked.get("new")), by)
        if by != "root":
            raise InvalidInput(f"the account {by} may push, and nothing else")
        target = asked.get("target", "")
        if target:
            DeploymentId.parse(target)
        return cls(asked["ref"], "", by, kind, target, bool(asked.get("with_data")))


def _kind(text: object) -> Kind:
    try:
        return Kind(str(text))
    except ValueError:
        raise InvalidInput(f"not a kind of deployment: {ascii(text)[:40]}") from None


def _pushed(project: Project, request: Request, log: Log) -> tuple[Request, str]:
    _tell(project, request.new, log)
    repository.check_forward(project, request.branch, request.new)
    return request, repository.pillar_tip(project) or ""


def _promoted(project: Project, request: Request, log: Log) -> tuple[Request, str]:
    """Find the release, and bring its commit here when nobody pushed it."""
    manifest = promotion.find(project, "", request.target or None, log.line)
    promotion.fetch_commit(project, manifest.commit)
    _tell(project, manifest.commit, log)
    chosen = replace(request, new=manifest.commit, target=str(manifest.deployment))
    return chosen, repository.pillar_tip(project) or ""


def _tell(project: Project, commit: str, log: Log) -> None:
    log.line(f"commit {commit[:10]} {repository.describe(project, commit).subject}")


def _former(project: Project, request: Request, log: Log) -> tuple[Request, str]:
    """Find the deployment to go back to, and say what was written since."""
    target = targets.choose(project, request.target)
    log.line(f"back to {target.id}")
    _tell(project, target.commit, log)
    if request.with_data:
        kept = project.paths.archive(targets.data_of(project, target.id)).data
        for line in targets.tell(targets.written_since(project.paths.data, kept)):
            log.line(line)
    chosen = replace(request, new=target.commit, target=target.id)
    return chosen, target.pillar_commit


_HOW = {Kind.DEPLOY: _pushed, Kind.PROMOTE: _promoted, Kind.ROLLBACK: _former}


def choose(project: Project, request: Request, log: Log) -> tuple[Request, str]:
    """Return the request with commit and target filled in, and the commit of the pillar.

    Raises DeploymentRefused, NotFound.
    """
    return _HOW[request.kind](project, request, log)
