"""The words of a mail: what happened, to what, what is live now, what to do."""

from __future__ import annotations

from corpus.model.deployment import Kind, Outcome
from corpus.model.names import project_name
from corpus.project.notifications.status import Status

_HEADLINE = {
    Outcome.LIVE: "live",
    Outcome.REFUSED: "refused",
    Outcome.ROLLED_BACK: "rolled back",
    Outcome.ROLLBACK_FAILED: "ROLLBACK FAILED",
}
_NOUN = {
    Kind.DEPLOY: "deployment",
    Kind.PROMOTE: "promotion",
    Kind.ROLLBACK: "rollback",
}
_HAPPENED = {
    Outcome.LIVE: "is live.",
    Outcome.REFUSED: "was refused. Nothing was touched: what was live went on serving.",
    Outcome.ROLLED_BACK: "failed and was undone: code and data are those of before.",
    Outcome.ROLLBACK_FAILED: "failed, and putting things back failed too.\n"
    "Visitors are held off, everything is kept, and no deployment begins on top of it.",
}


def subject(status: Status) -> str:
    """Return one line: the project, how it ended, the commit."""
    kind = "" if status.kind is Kind.DEPLOY else f" ({_NOUN[status.kind]})"
    commit = f"{status.commit[:10]} {status.subject}".strip()
    return f"[{status.project}] {_HEADLINE[status.outcome]}{kind}: {commit}"


def body(status: Status) -> str:
    """Return the text of the mail; what others wrote into it cannot move a terminal's cursor."""
    parts = [_opening(status), _facts(status), _now(status)]
    if status.error:
        parts.append("What went wrong:\n\n" + _indented(status.error))
    if status.outcome is Outcome.ROLLBACK_FAILED:
        parts.append(_what_to_do(status))
    parts.append(_see_more(status))
    text = "\n\n".join(parts) + "\n"
    return "".join(sign if sign.isprintable() or sign == "\n" else " " for sign in text)


def _opening(status: Status) -> str:
    place = status.environment_name or status.environment or "this environment"
    kind = f" ({status.platform})" if status.platform else ""
    noun = _NOUN[status.kind]
    return f"The {noun} of {status.project} in {place}{kind} {_HAPPENED[status.outcome]}"


def _facts(status: Status) -> str:
    took = f"{status.seconds:.1f} s"
    if status.held:
        took += f", visitors waited for {status.held:.1f} s"
    rows = {
        "commit": f"{status.commit} {status.subject}".strip(),
        "branch": status.branch.removeprefix("refs/heads/"),
        "by": status.by,
        "mode": status.mode,
        "took": took,
        "deployment": status.deployment,
        "environment": status.environment,
    }
    return "\n".join(f"  {name:<12} {value}" for name, value in rows.items() if value)


def _now(status: Status) -> str:
    if status.outcome is Outcome.ROLLBACK_FAILED:
        before = f", before it {status.previous}" if status.previous else ""
        return f"Live now: nothing that is certain{before}."
    if status.outcome is Outcome.LIVE and status.previous:
        return f"Live now: {status.live}, before it {status.previous}."
    return f"Live now: {status.live or 'nothing, as before'}."


def _what_to_do(status: Status) -> str:
    name = project_name(status.project)
    return f"""What to do, as root in the environment:

  1. Read what failed, above and in the log.
  2. Mend its cause there. A wrong macro is corrected in
     /srv/projects/{name}/project/.salt/top.sls; a push cannot help.
  3. Let it be tried again:

       systemctl restart corpus-deploy
       tail -f /srv/projects/{name}/.corpus/logs/recovery.log"""


def _see_more(status: Status) -> str:
    name = project_name(status.project)
    return f"""To see more, as root in the environment:

    salt-call --local mc_project.report {name} limit=1
    less /srv/projects/{name}/.corpus/logs/{status.deployment}.log"""


def _indented(text: str) -> str:
    return "\n".join(f"    {line}".rstrip() for line in text.splitlines())
