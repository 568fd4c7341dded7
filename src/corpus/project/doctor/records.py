"""Checks of the platform's records: journal, ledger, what is kept, what was left half made."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from corpus.model.deployment import DeploymentId, Outcome
from corpus.model.errors import InvalidInput
from corpus.model.finding import Finding, State
from corpus.project import asking, retention, scratches, trees
from corpus.project import journal as journals
from corpus.project.doctor.patient import Patient
from corpus.project.journal import History
from corpus.project.ledger import Entry

_HALF = (".partial", ".restoring")


def journal(patient: Patient) -> Iterator[Finding]:
    """No deployment is unfinished; else: where it was cut off, and how it will be finished."""
    path = patient.project.paths.journal
    history = journals.read(path)
    if history is None:
        if path.exists():
            what = "it was cut off before its first record: nothing had begun"
            yield Finding("journal", State.WARN, what, str(path), "it is removed", path.unlink)
        return
    step = (history.begun or ["start"])[-1]
    identity = history.header["id"]
    if patient.under_way:
        yield Finding("journal", State.OK, f"{identity} is under way, in {step}", str(path))
        return
    ended = next((entry for entry in patient.entries if entry.id == identity), None)
    if ended and ended.outcome is Outcome.ROLLBACK_FAILED:
        yield Finding(
            "journal", State.BAD, f"the rollback of {identity} failed: {ended.error}", str(path),
            "mend the cause, then: systemctl restart corpus-deploy (it tries again)",
        )  # fmt: skip
        return
    served = asking.answers(patient.project.place)
    yield Finding(
        "journal",
        State.WARN if served else State.BAD,
        f"{identity} was cut off in {step}; {_future(history)}",
        str(path),
        "the next push finishes it first" if served else "systemctl start corpus-deploy",
    )


def _future(history: History) -> str:
    if history.live:
        return "the new version is live, and will be recorded so"
    if journals.RESUME in history.begun:
        return "the former version serves again, which will be recorded"
    if "hold" in history.begun:
        return "code and data of before will be put back; traffic is held until then"
    return "nothing was touched, and it will be recorded as refused"


def ledger(patient: Patient) -> Iterator[Finding]:
    """Every line of the ledger can be read."""
    path = patient.project.paths.ledger
    if not path.exists():
        return
    for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1):
        try:
            Entry(**json.loads(line)).deployment  # noqa: B018  it parses
        except ValueError:
            what = f"line {number} was cut short: that deployment is forgotten"
            yield Finding("ledger", State.WARN, what, str(path), f"sed -i {number}d {path}")
        except (TypeError, InvalidInput, AttributeError):
            what = f"line {number} is no entry: nothing can be deployed"
            yield Finding("ledger", State.BAD, what, str(path), f"correct it, or sed -i {number}d")


# -- what is on the disk


def kept(patient: Patient) -> Iterator[Finding]:
    """All that is kept belongs to a deployment that the ledger knows."""
    project = patient.project
    paths = project.paths
    for folder in (paths.deploy, paths.archives):
        for entry in sorted(folder.iterdir()):
            if not _is_known(entry) and entry != paths.current:
                yield Finding(
                    "kept", State.WARN, "not the platform's: it is never removed", str(entry),
                    "move it away when it takes room",
                )  # fmt: skip
    # Where the ledger cannot be relied on, everything would look like nobody's.
    if patient.under_way or patient.unfinished or not patient.sound or not patient.live:
        return
    for identity in retention.forgotten(project):
        yield Finding(
            "kept", State.WARN, "no deployment of that id is known", str(identity),
            "it is removed", partial(retention.forget, project, identity),
        )  # fmt: skip


def _is_known(entry: Path) -> bool:
    """Tell what bears an id; what is half made is another check's."""
    if entry.name.startswith(".") or entry.name.endswith(_HALF):
        return True
    try:
        return bool(DeploymentId.parse(entry.name))
    except InvalidInput:
        return False


def leftovers(patient: Patient) -> Iterator[Finding]:
    """Nothing half made is left by somebody who died."""
    if patient.under_way or patient.unfinished:
        return
    for path in half_made(patient):
        repair = partial(trees.remove, path)
        yield Finding("leftovers", State.WARN, "half made", str(path), "it is removed", repair)


def _is_half(path: Path) -> bool:
    """Tell what is half copied, or half removed."""
    return path.name.endswith(_HALF) or trees.is_discarded(path)


def half_made(patient: Patient) -> list[Path]:
    """Return what only a deployment under way may have."""
    paths = patient.project.paths
    found = [*paths.build.glob("run-*"), *paths.state.glob("salt-*"), *paths.releases.glob(".*")]
    found += [paths.deploy / ".current", *scratches.abandoned(patient.project)]
    found += paths.state.glob(".*.????????")  # corpus.hosts.files writes by these
    for folder in (paths.root, paths.deploy, paths.archives, *paths.archives.glob("*")):
        if folder.is_dir():
            found += [path for path in folder.iterdir() if _is_half(path)]
    return sorted(path for path in found if path.exists() or path.is_symlink())
