"""Tell everybody at once, within a time for all, and tell the log how it went."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from corpus.project.log import Log
from corpus.project.notifications import hooks, mail
from corpus.project.notifications.settings import Hook, Notify
from corpus.project.notifications.status import Status, one_line

LIMIT: Final = 10.0
"""Seconds that everything may take together."""
EVENT_LIMIT: Final = 2.0
"""Seconds that Salt's bus may take."""

Fire = Callable[[str, dict[str, Any]], None]
"""Put an event, its tag and its data, on Salt's bus, when there is one."""


@dataclass
class _Errand:
    """One way of telling: ``work`` returns what went wrong, or raises it."""

    work: Callable[[], str]
    done: str
    failed: str
    limit: float
    trouble: str = ""
    thread: threading.Thread = field(init=False)

    def start(self) -> None:
        self.trouble = f"no answer within {self.limit:g} s"
        # A daemon: one that hangs, in a name server's silence say, keeps no process from ending.
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self) -> None:
        try:
            self.trouble = self.work()
        except Exception as error:
            self.trouble = str(error) or type(error).__name__


def send(notify: Notify, relay: str, status: Status, log: Log, fire: Fire) -> None:
    """Tell of ``status`` by every way that is set, 10 s at the most. Never raises.

    ``relay``: where mail goes, ``host:port``; empty for none. What went well and what did not
    is a line of ``log`` each. The calling process should end soon: a way that hangs is left
    to itself.
    """
    began = time.monotonic()
    errands = _errands(notify, relay, status, fire, began + LIMIT)
    for errand in errands:
        errand.start()
    for errand in errands:
        errand.thread.join(max(0.0, began + errand.limit - time.monotonic()))
        trouble = errand.trouble
        if trouble:
            log.alarm(one_line(f"{errand.failed}: {trouble}", 500))
        elif errand.done:
            log.line(errand.done)


def _errands(
    notify: Notify, relay: str, status: Status, fire: Fire, deadline: float
) -> list[_Errand]:
    def event() -> str:
        fire(status.tag, status.as_dict())
        return ""

    def letter() -> str:
        if not relay:
            return "this environment has no mail relay"
        return mail.deliver(mail.compose(notify, status), relay, LIMIT)

    found = [_Errand(event, "", "no event on Salt's bus", EVENT_LIMIT)]
    if notify.mail:
        names = ", ".join(notify.mail)
        found.append(_Errand(letter, f"told {names}", f"mail to {names} was not accepted", LIMIT))
    content = hooks.body(status)
    for hook in notify.hooks:

        def post(hook: Hook = hook) -> str:
            return hooks.post(hook, status.id, content, deadline)

        failed = f"the web hook {hook.shown} did not take it"
        found.append(_Errand(post, f"told {hook.shown}", failed, LIMIT))
    return found
