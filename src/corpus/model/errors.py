"""The error tree.

::

    CorpusError                 exit code 1
    ├── InvalidInput            2   something a person or a tenant gave is not acceptable
    │   └── InvalidName         2   a project, host or environment name
    ├── NotFound                3   no such project, environment, image, deployment
    ├── Conflict                4   already taken, already there, moved meanwhile
    │   └── StillUsed           4   more is used than what is asked would hold
    ├── Unsupported             5   the kernel or a package lacks what is asked
    ├── CommandFailed           6   a process ended non-zero, or ran past its time
    ├── Lost                    1   another node is not reached any more, while work is shared
    ├── DeploymentRefused       10  nothing was touched, the live version never stopped
    │   └── ReleaseRefused      10  a release is not what was signed, or not fit to be one
    ├── PhaseFailed             11  a phase's template, state or command failed
    │   └── PhaseTimeout        11  it ran past its time
    ├── RolledBack              12  a deployment failed; code and data are those of before
    └── RollbackFailed          13  it failed and could not be put back: a person is needed

Every error says what happened, where, and how to mend it; the edges (Salt adapters, command
lines, git hook) turn it into an exit code and a message, once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence


class CorpusError(Exception):
    """The base: ``what`` happened, ``where`` (file, line, object), how to ``mend`` it."""

    exit_code = 1

    def __init__(self, what: str, where: str | None = None, mend: str | None = None) -> None:
        self.what = what
        self.where = where
        self.mend = mend
        super().__init__(what, where, mend)

    def __str__(self) -> str:
        lines = [self.what]
        if self.where:
            lines.append(f"  where:   {self.where}")
        if self.mend:
            lines.append(f"  to mend: {self.mend}")
        return "\n".join(lines)

    def mask(self, masked: Callable[[str], str]) -> None:
        """Replace in every text of this error what ``masked`` replaces."""
        for name, value in list(vars(self).items()):
            if isinstance(value, str):
                setattr(self, name, masked(value))
            elif isinstance(value, tuple):
                setattr(self, name, tuple(map(masked, value)))
        self.args = (self.what, self.where, self.mend)

    def as_dict(self) -> dict[str, str | None]:
        """Return the error as plain values, for Salt returns and ``--json``."""
        return {
            "error": type(self).__name__,
            "what": self.what,
            "where": self.where,
            "mend": self.mend,
        }


class InvalidInput(CorpusError):
    """A value from outside is not acceptable."""

    exit_code = 2


class InvalidName(InvalidInput):
    """A name from outside is not acceptable."""


class NotFound(CorpusError):
    """The thing that was named does not exist."""

    exit_code = 3


class Conflict(CorpusError):
    """The thing is taken, exists already, or has changed meanwhile."""

    exit_code = 4


class StillUsed(Conflict):
    """More is used than the smaller size would hold."""


class Unsupported(CorpusError):
    """The kernel or the system lacks a feature; ``mend`` names the fallback."""

    exit_code = 5


class CommandFailed(CorpusError):
    """A process ended with a non-zero code or ran past its time (``code`` is then None)."""

    exit_code = 6

    def __init__(
        self, argv: Sequence[str], code: int | None, output: str, mend: str | None = None
    ) -> None:
        self.argv = tuple(argv)
        self.code = code
        self.output = output
        how = "ran past its time" if code is None else f"ended with {code}"
        tail = "\n".join(output.strip().splitlines()[-20:])
        what = f"the command {how}: {' '.join(self.argv)}"
        super().__init__(f"{what}\n{tail}" if tail else what, None, mend)

    def __reduce__(self) -> tuple[object, ...]:
        """Rebuild from the arguments of this class, not of the base."""
        return (type(self), (self.argv, self.code, self.output, self.mend))


class Lost(CorpusError):
    """The other side is gone: it ended, was killed, or the link is cut."""


class DeploymentRefused(CorpusError):
    """The deployment was refused before anything was touched."""

    exit_code = 10


class ReleaseRefused(DeploymentRefused):
    """A release is damaged, signed by nobody trusted, hostile, or made for another system."""


class PhaseFailed(CorpusError):
    """A phase of the project failed."""

    exit_code = 11


class PhaseTimeout(PhaseFailed):
    """A phase ran past its time."""


class RolledBack(CorpusError):
    """The deployment failed; code and data are back as they were."""

    exit_code = 12


class RollbackFailed(CorpusError):
    """The deployment failed and putting things back failed too: everything is kept."""

    exit_code = 13
