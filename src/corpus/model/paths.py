"""The tree of a project (RFC, «Actual layout») under a prefix that a setting moves."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from corpus.model.deployment import DeploymentId
from corpus.model.manifest import MAIN, archive_name, stem
from corpus.model.names import project_name

DEFAULT_PREFIX = Path("/srv")


@dataclass(frozen=True)
class Archive:
    """What one deployment put aside, and what its rollback left for inspection."""

    root: Path

    @property
    def run(self) -> Path:
        """The ``run/`` that was live before."""
        return self.root / "run"

    @property
    def data(self) -> Path:
        """The backup of ``data/``."""
        return self.root / "data"

    @property
    def dumps(self) -> Path:
        """What the ``backup`` macro wrote."""
        return self.root / "dumps"

    @property
    def run_failed(self) -> Path:
        """The ``run/`` of a deployment that was rolled back or refused."""
        return self.root / "run.failed"

    @property
    def data_failed(self) -> Path:
        """The ``data/`` that a failed deployment left."""
        return self.root / "data.failed"


@dataclass(frozen=True)
class ProjectPaths:
    """Every path of one project. Two of them are outside its directory: the Salt links."""

    name: str
    prefix: Path = DEFAULT_PREFIX

    def __post_init__(self) -> None:
        project_name(self.name)

    @property
    def root(self) -> Path:
        """The project's own directory."""
        return self.prefix / "projects" / self.name

    @property
    def git(self) -> Path:
        """The directory of the repositories, home of the project's account."""
        return self.root / "git"

    @property
    def project_git(self) -> Path:
        """The bare repository that code is pushed to."""
        return self.git / "project.git"

    @property
    def pillar_git(self) -> Path:
        """The bare repository that the private configuration is pushed to."""
        return self.git / "pillar.git"

    @property
    def project(self) -> Path:
        """The checkout of the code."""
        return self.root / "project"

    @property
    def salt(self) -> Path:
        """The deployment recipes within the checkout."""
        return self.project / ".salt"

    @property
    def pillar(self) -> Path:
        """The checkout of the pillar."""
        return self.root / "pillar"

    @property
    def data(self) -> Path:
        """Persistent data, never touched by a build."""
        return self.root / "data"

    @property
    def build(self) -> Path:
        """Scratch space of a build; ``build/cache`` survives from one to the next."""
        return self.root / "build"

    @property
    def run(self) -> Path:
        """What the application runs from, in every mode."""
        return self.root / "run"

    @property
    def deploy(self) -> Path:
        """The unpacked deployments."""
        return self.root / "deploy"

    @property
    def current(self) -> Path:
        """The link to the live deployment."""
        return self.deploy / "current"

    @property
    def releases(self) -> Path:
        """Release archives and their manifests."""
        return self.root / "releases"

    @property
    def archives(self) -> Path:
        """What deployments put aside."""
        return self.root / "archives"

    @property
    def state(self) -> Path:
        """The platform's own records: lock, journal, ledger, logs. Root only."""
        return self.root / ".corpus"

    @property
    def lock(self) -> Path:
        """The lock that a deployment holds from its first step to its last."""
        return self.state / "lock"

    @property
    def journal(self) -> Path:
        """The journal of the deployment under way; absent when none is."""
        return self.state / "journal"

    @property
    def ledger(self) -> Path:
        """How every deployment ended, a JSON object a line."""
        return self.state / "ledger.jsonl"

    @property
    def generated(self) -> Path:
        """What the phases of the live deployment made in ``run/`` after it was unpacked."""
        return self.state / "generated.json"

    @property
    def notify(self) -> Path:
        """Whom to tell how deployments end, as the last one that was configured said it."""
        return self.state / "notify.json"

    @property
    def outbox(self) -> Path:
        """What is to be told of ended deployments and was not yet."""
        return self.state / "outbox"

    @property
    def salt_link(self) -> Path:
        """The project in Salt's file roots."""
        return self.prefix / "salt" / "makina-projects" / self.name

    @property
    def pillar_link(self) -> Path:
        """The project's pillar in Salt's pillar roots."""
        return self.prefix / "pillar" / "makina-projects" / self.name

    def log(self, deployment: DeploymentId) -> Path:
        """Return the file of one deployment's log."""
        return self.state / "logs" / f"{deployment}.log"

    def new_run(self, deployment: DeploymentId) -> Path:
        """Return the directory that is mounted over ``run/`` while a deployment builds."""
        return self.build / f"run-{deployment}"

    def deployment(self, deployment: DeploymentId) -> Path:
        """Return the unpacked files of one deployment."""
        return self.deploy / str(deployment)

    def archive(self, deployment: DeploymentId) -> Archive:
        """Return the archive of one deployment."""
        return Archive(self.archives / str(deployment))

    def release(self, deployment: DeploymentId, part: str = MAIN) -> Path:
        """Return one archive of a deployment's release; its manifest lies beside it."""
        return self.releases / archive_name(self.name, deployment, part)

    def manifest(self, deployment: DeploymentId) -> Path:
        """Return the manifest of one deployment's release."""
        return self.releases / f"{stem(self.name, deployment)}.manifest.json"

    def signature(self, deployment: DeploymentId) -> Path:
        """Return the signature of that manifest."""
        return self.releases / f"{stem(self.name, deployment)}.manifest.json.sig"
