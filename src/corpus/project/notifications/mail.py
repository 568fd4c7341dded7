"""A mail about an ended deployment, by SMTP to the relay that the node names.

The relay is the node's: reached in the clear on the node's own bridge, without a password.
Sources: RFC 5321, RFC 5322; RFC 3834 for ``Auto-Submitted``.
"""

from __future__ import annotations

import contextlib
import re
import smtplib
import socket
from datetime import UTC, datetime
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime

from corpus.project.notifications import text
from corpus.project.notifications.settings import Notify
from corpus.project.notifications.status import Status, one_line

_RELAY = re.compile(
    r"(?P<host>[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::(?P<port>\d{1,5}))?", re.ASCII
)
_PORT = 25


def compose(notify: Notify, status: Status) -> EmailMessage:
    """Return the mail. The same ending has the same Message-ID, however often it is sent."""
    host = _own_name()
    message = EmailMessage(policy=SMTP)
    message["Subject"] = one_line(text.subject(status))
    message["From"] = notify.sender or f"corpus@{host}"
    message["To"] = ", ".join(notify.mail)
    message["Date"] = format_datetime(datetime.fromtimestamp(status.ended, UTC))
    message["Message-ID"] = f"<{status.id}@{host}>"
    message["Auto-Submitted"] = "auto-generated"
    # Not 8bit: relays need not take that.
    message.set_content(text.body(status), cte="quoted-printable")
    return message


def deliver(message: EmailMessage, relay: str, patience: float) -> str:
    """Hand the mail to the relay, ``host:port``; return whom it did not accept and why.

    ``patience``: seconds for each answer. Raises OSError, SMTPException.
    """
    host, port = address(relay)
    # Named, since smtplib would ask a name server for it.
    line = smtplib.SMTP(host, port, local_hostname=_own_name(), timeout=patience)
    try:
        refused = line.send_message(message)
        with contextlib.suppress(OSError, smtplib.SMTPException):
            line.putcmd("quit")  # whose answer changes nothing
    except smtplib.SMTPRecipientsRefused as error:
        refused = error.recipients
    except smtplib.SMTPResponseException as error:
        return f"{error.smtp_code} {_said(error.smtp_error)}"
    finally:
        line.close()
    return "; ".join(f"{who}: {code} {_said(why)}" for who, (code, why) in refused.items())


def address(relay: str) -> tuple[str, int]:
    """Return host and port of ``host``, ``host:port`` or ``[address]:port``. Raises OSError."""
    found = _RELAY.fullmatch(relay)
    port = int(found["port"] or _PORT) if found else 0
    if not found or not 0 < port < 65536:
        raise OSError(f"the relay of this environment is not host:port: {ascii(relay)[:80]}")
    return found["host"].strip("[]"), port


def _own_name() -> str:
    return re.sub(r"[^A-Za-z0-9.-]", "-", socket.gethostname()).strip("-.") or "localhost"


def _said(answer: bytes | str) -> str:
    return answer.decode(errors="replace") if isinstance(answer, bytes) else answer
