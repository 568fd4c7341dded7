"""A signed web hook, as the Standard Webhooks specification has it.

Straight to the address: no proxy from the environment's variables, no redirect is followed.
"""

from __future__ import annotations

import base64
import hmac
import http.client
import json
import ssl
import time
from datetime import UTC, datetime
from typing import Final

from corpus.project.notifications.settings import Hook
from corpus.project.notifications.status import Status

PAUSES: Final = (0.5, 1.0)
"""Seconds before the second and the third attempt."""


def body(status: Status) -> bytes:
    """Return what is posted: type, time and the status."""
    moment = datetime.fromtimestamp(status.ended, UTC)
    content = {
        "type": f"deployment.{status.outcome}",
        "timestamp": moment.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "data": status.as_dict(),
    }
    return json.dumps(content).encode()


def headers(hook: Hook, identity: str, moment: int, content: bytes) -> dict[str, str]:
    """Return the headers of one attempt at ``moment``, Unix seconds."""
    signed = b"%s.%d.%s" % (identity.encode(), moment, content)
    signature = base64.b64encode(hmac.digest(hook.key, signed, "sha256")).decode()
    return {
        "Content-Type": "application/json",
        "User-Agent": "corpus",
        "webhook-id": identity,
        "webhook-timestamp": str(moment),
        "webhook-signature": f"v1,{signature}",
    }


def post(hook: Hook, identity: str, content: bytes, deadline: float) -> str:
    """Post until it is taken, three times at most; return why it was not, or nothing.

    Another attempt follows a failed connection or a status of 500 and above, as long as
    there is time before ``deadline`` (time.monotonic()).
    """
    for pause in (*PAUSES, None):
        try:
            status = _attempt(hook, identity, content, deadline - time.monotonic())
            trouble = "" if 200 <= status < 300 else f"it answered {status}"
            if 300 <= status < 400:
                trouble += ", and redirects are not followed"
            if status < 500:
                return trouble
        except (OSError, http.client.HTTPException) as error:
            trouble = str(error) or type(error).__name__
        if pause is None or time.monotonic() + pause >= deadline:
            return trouble
        time.sleep(pause)
    return trouble


def _attempt(hook: Hook, identity: str, content: bytes, patience: float) -> int:
    """Post once and return the status; of the answer's body nothing is read."""
    parts = hook.parts
    host, seconds = parts.hostname or "", max(0.1, patience)
    line: http.client.HTTPConnection
    if parts.scheme == "https":
        context = ssl.create_default_context()
        line = http.client.HTTPSConnection(host, parts.port, timeout=seconds, context=context)
    else:
        line = http.client.HTTPConnection(host, parts.port, timeout=seconds)
    try:
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        given = headers(hook, identity, int(time.time()), content)
        line.request("POST", target, content, given)
        return line.getresponse().status
    finally:
        line.close()
