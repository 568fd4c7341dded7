"""From staging to production: which release it is, and that it is here and verified.

A release that lies in ``releases/`` counts first, however it came there: then no staging
environment needs to be in sight.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

from corpus.model.deployment import DeploymentId
from corpus.model.errors import (
    Conflict,
    CorpusError,
    InvalidInput,
    NotFound,
    ReleaseRefused,
)
from corpus.model.manifest import Manifest
from corpus.project import fetching, lock, peers, releases, repository
from corpus.project.fetching import Offer, Tell
from corpus.project.ledger import Ledger
from corpus.project.place import Project
from corpus.project.releases import signing, verifying

_FETCHING = "a fetch of a release"


def latest(project: Project, tell: Tell) -> Manifest:
    """Return the newest release that staging offers or that lies here, and is signed right.

    One that was rolled back from here is none. When the staging environment does not answer,
    which ``tell`` hears of, what lies here counts. Raises ReleaseRefused when nothing does, or
    when somebody else answers in its place; NotFound.
    """
    here = releases.listed(project)
    try:
        offered = _offered(project)
    except ReleaseRefused as error:
        if not here or fetching.IMPOSTOR in str(error):
            raise
        offered = []
        tell(f"{error.what}; the newest release that lies here is taken")
    known = {offer.manifest.deployment: offer.manifest for offer in offered}
    known |= {manifest.deployment: manifest for manifest in here}
    bad = Ledger(project.paths.ledger).bad_releases()
    for deployment in sorted(known, reverse=True):
        if str(deployment) in bad:
            tell(f"release {deployment} was rolled back from: not without being named")
            continue
        offer = next((o for o in offered if o.manifest.deployment == deployment), None)
        try:
            if offer is None:
                return releases.verify(project, deployment, archives=False)
            return _checked(project, offer)
        except (ReleaseRefused, NotFound):
            continue
    raise _none(project, "no release that may be deployed here", list(known.values()))


def find(project: Project, commit: str, wanted: str | None, tell: Tell) -> Manifest:
    """Return what ``obtain`` would bring, and bring nothing; its archives are not looked at.

    Raises as ``obtain`` does.
    """
    identity = _named(project, wanted) if wanted else None
    if not commit and identity is None:
        return latest(project, tell)
    here = releases.listed(project)
    for manifest in here:
        if _fits(manifest, commit, identity):
            with contextlib.suppress(ReleaseRefused, NotFound):
                return releases.verify(project, manifest.deployment, archives=False)
    offered = _offered(project)
    for offer in offered:
        if _fits(offer.manifest, commit, identity):
            return _checked(project, offer)
    raise _none(project, _what(commit, identity), [*here, *(o.manifest for o in offered)])


def obtain(project: Project, commit: str, wanted: str | None, tell: Tell) -> Manifest:
    """Return a verified release, whose files lie in ``releases/``.

    That of ``commit`` (empty: of any), and of the deployment ``wanted`` when it is given, by
    its id or the name of one of its files; the newest of several. One that lies here is taken,
    else it is fetched from the paired staging environment, which ``tell`` hears of. Raises
    ReleaseRefused, NotFound with what is on offer, InvalidInput.

    The caller holds the project's lock: nobody else writes into ``releases/``, or prunes it.
    """
    identity = _named(project, wanted) if wanted else None
    if not commit and identity is None:
        identity = latest(project, tell).deployment
    here = releases.listed(project)
    refused: CorpusError | None = None
    for manifest in here:
        if _fits(manifest, commit, identity):
            try:
                return releases.verify(project, manifest.deployment)
            except (ReleaseRefused, NotFound) as error:
                refused = refused or error
    staging = peers.staging(project)
    offered = _offered(project) if staging else []
    offer = next((o for o in offered if _fits(o.manifest, commit, identity)), None)
    if staging is None or offer is None:
        known = [*here, *(o.manifest for o in offered)]
        raise refused or _none(project, _what(commit, identity), known)
    if refused:
        tell(f"the release that lies here is refused, and fetched anew: {refused.what}")
        releases.remove(project, offer.manifest.deployment)
    _checked(project, offer)
    fetching.bring(project, staging, offer, tell)
    return releases.verify(project, offer.manifest.deployment, archives=False)


def bring(project: Project, wanted: str | None, tell: Tell) -> Manifest:
    """Have a release here with its commit, the newest by default, without deploying it.

    Waits for a deployment under way. Raises as ``obtain`` does, Conflict.
    """
    with lock.held(project.paths.lock, _FETCHING, lambda ahead: tell(f"queued behind {ahead}")):
        if project.paths.journal.exists():  # traffic is held: its recovery must not wait for us
            raise Conflict(
                "a deployment was cut off and is not finished yet",
                where=str(project.paths.journal),
                mend="fetch again when it is; mc_project.report tells",
            )
        manifest = obtain(project, "", wanted, tell)
    fetch_commit(project, manifest.commit)
    return manifest


def fetch_commit(project: Project, commit: str) -> None:
    """Have a commit in the project's repository, from the staging environment where it lacks.

    Raises ReleaseRefused, NotFound.
    """
    if repository.has(project, commit):
        return
    staging = peers.staging(project)
    if staging is None:
        raise NotFound(
            f"commit {commit[:10]} is not here, and {project.name} has no staging environment",
            where=str(project.paths.project_git),
            mend="push it, or pair this environment with the one that made the release",
        )
    fetching.fetch_commit(project, staging, commit)


def _offered(project: Project) -> list[Offer]:
    staging = peers.staging(project)
    return fetching.offers(project, staging) if staging else []


def _checked(project: Project, offer: Offer) -> Manifest:
    """Return the manifest of an offer that may be deployed here. Raises ReleaseRefused."""
    signing.check(project, offer.text, offer.signature, offer.manifest.signer)
    verifying.check_system(offer.manifest, str(offer.manifest.deployment))
    return offer.manifest


def _fits(manifest: Manifest, commit: str, identity: DeploymentId | None) -> bool:
    return commit in ("", manifest.commit) and identity in (None, manifest.deployment)


def _what(commit: str, identity: DeploymentId | None) -> str:
    named, of = f" {identity}" if identity else "", f" of commit {commit[:10]}" if commit else ""
    return f"no release{named}{of}"


def _named(project: Project, wanted: str) -> DeploymentId:
    """Return the deployment of an id, or of the name of a file in ``releases/``."""
    path = Path(wanted)
    if path.parent not in (Path(), project.paths.releases):
        raise InvalidInput(
            f"not in {project.paths.releases}: {ascii(wanted)[:100]}",
            mend="put the release's files there first",
        )
    stem = path.name.removeprefix(f"{project.name}-").split(".")[0]
    return DeploymentId.parse(stem)


def _none(project: Project, what: str, known: list[Manifest]) -> NotFound:
    newest = sorted({(str(m.deployment), m.commit[:10]) for m in known}, reverse=True)[:5]
    offered = ", ".join(f"{id} ({commit})" for id, commit in newest)
    return NotFound(
        f"{what}: {f'there are {offered}' if offered else 'there is none'}",
        where=str(project.paths.releases),
        mend="deploy the commit in staging, or put the release's files there",
    )
