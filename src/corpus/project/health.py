"""The health gate: all declared units active, every HTTP check passed."""

from __future__ import annotations

import contextlib
import http.client
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from typing import Any

from corpus.model.errors import PhaseFailed
from corpus.project import services
from corpus.project.place import Project

_PAUSE = 0.02
# The checks are for this machine: no proxy of the environment stands between.
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def gate(project: Project, units: Sequence[str], checks: Sequence[Mapping[str, Any]]) -> None:
    """Return when the project is healthy. Raises PhaseFailed with the last answers."""
    for check in checks:
        _wait_for(project, units, check)
    broken = services.inactive(project, units)
    if broken:
        raise PhaseFailed(
            f"not active: {', '.join(broken)}", mend="see what the unit logged: journalctl -u UNIT"
        )


def _wait_for(project: Project, units: Sequence[str], check: Mapping[str, Any]) -> None:
    timeout = float(check.get("timeout", 30))
    deadline = time.monotonic() + timeout
    pause = _PAUSE
    while True:
        answer = probe(check, max(0.1, min(5.0, deadline - time.monotonic())))
        if answer is None:
            return
        if time.monotonic() + pause >= deadline:
            broken = services.inactive(project, units)
            state = f"; not active: {', '.join(broken)}" if broken else ""
            raise PhaseFailed(
                f"the health check failed for {timeout:g} s: {answer}{state}",
                where=str(check["url"]),
                mend="see what the service logged, or give the check a longer timeout",
            )
        time.sleep(pause)
        pause = min(0.5, pause * 1.2)


def probe(check: Mapping[str, Any], timeout: float) -> str | None:
    """Make one check; return None when it passed, else what was wrong."""
    wanted = int(check.get("status", 200))
    try:
        with _OPENER.open(str(check["url"]), timeout=timeout) as answer:
            status, body = answer.status, _read(answer, timeout)
    except urllib.error.HTTPError as error:
        status, body = error.code, _read(error, timeout)
    except (OSError, ValueError, http.client.HTTPException) as error:
        return str(getattr(error, "reason", error)) or type(error).__name__
    if status != wanted:
        return f"status {status} instead of {wanted}"
    text = str(check.get("contains", ""))
    return None if text in body else f"the answer does not contain {text!r}"


def _read(answer: Any, timeout: float) -> str:
    """Return the body's first MiB, as much of it as comes in time: a stream never ends."""
    deadline, body = time.monotonic() + timeout, b""
    with contextlib.suppress(TimeoutError):
        while len(body) < 1 << 20 and time.monotonic() < deadline:
            piece = answer.read1(1 << 16)
            if not piece:
                break
            body += piece
    return body.decode(errors="replace")
