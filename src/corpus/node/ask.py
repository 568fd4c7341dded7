"""What an environment asks its node: one line of JSON in, one line of JSON out.

Each environment has a socket of its own in a directory that is shown to it as /dev/corpus, so
that one that asks too much shuts its own door alone. systemd listens and starts a process for
each question (corpus-ask@.socket). Who asks is known by the kernel: the user id at the other
end must be that of the root of the environment that the socket belongs to.
"""

from __future__ import annotations

import json
import socket
import struct
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from corpus.model.errors import Conflict, CorpusError, InvalidInput, NotFound, Unsupported
from corpus.model.names import project_name
from corpus.node.context import Node
from corpus.node.environments import guest, projects
from corpus.node.environments.room import make_room, room, tighter
from corpus.node.records import Record

_LONGEST = 1024  # bytes of a question
_SECONDS = 3.0  # for all of it to arrive
_LARGEST = 1 << 60
_FOR_TENANTS = (InvalidInput, NotFound, Conflict, Unsupported)


def answer(node: Node, line: socket.socket) -> str:
    """Answer the question that arrives on ``line``; return what the journal shall say.

    Whatever is asked, and however, ends in an answer or, past its time, in silence.
    """
    asked_by, why = "nobody known", ""
    try:
        question = _question(line)  # read also where it is refused: else the refusal is lost
        record = _asker(node, line)
        asked_by = record.id
        told = _told(node, record, question)
    except _FOR_TENANTS as error:
        told = {"error": error.what, "mend": error.mend}
    except (CorpusError, OSError) as error:  # not for an environment's eyes
        told = {"error": "the node could not do it", "mend": "the node's journal says why"}
        why = f": {error}"
    with suppress(OSError):
        line.settimeout(_SECONDS)
        line.sendall(json.dumps(told).encode() + b"\n")
        line.shutdown(socket.SHUT_WR)
        line.recv(1 << 16, socket.MSG_DONTWAIT)  # for the same reason
    return f"{asked_by} was told {json.dumps(told)}{why}"


def _asker(node: Node, line: socket.socket) -> Record:
    """Return whose root is at the other end, which must be that of the socket's environment."""
    form = "iII"
    given = line.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize(form))
    user = struct.unpack(form, given)[1]
    record = node.records.find(Path(line.getsockname()).parent.name)
    if record is None:
        raise NotFound("this socket belongs to no environment")
    if user != guest.root(node.settings, record):
        raise InvalidInput("only the environment's root may ask", mend="ask as root")
    return record


def _question(line: socket.socket) -> dict[str, Any]:
    said, deadline = b"", time.monotonic() + _SECONDS
    while b"\n" not in said and len(said) <= _LONGEST:
        line.settimeout(max(0.001, deadline - time.monotonic()))
        try:
            part = line.recv(_LONGEST)
        except TimeoutError:
            raise InvalidInput("the question took too long") from None
        if not part:
            break
        said += part
    text, end, more = said.partition(b"\n")
    if not end or more or len(text) > _LONGEST:
        raise InvalidInput(f"a question is one line of at most {_LONGEST} bytes")
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        raise InvalidInput("a question is an object in JSON") from None
    if not isinstance(found, dict):
        raise InvalidInput("a question is an object in JSON")
    return found


def _told(node: Node, record: Record, question: dict[str, Any]) -> dict[str, Any]:
    ask, keys = question.get("ask"), question.keys() - {"ask", "project"}
    project = project_name(question["project"]) if "project" in question else ""
    if ask == "usage" and not keys:
        has = tighter(node, record, project) if project else room(node, record)
        return {"size": has.size, "used": has.used, "limit": has.limit}
    if ask == "enlarge" and keys == {"bytes"}:
        needed = question["bytes"]
        if type(needed) is not int or not 0 < needed < _LARGEST:
            raise InvalidInput("bytes is a number above 0 and below 2^60")
        return {"size": make_room(node, record.id, needed, project).size}
    if ask == "project" and project and not keys:
        return {"made": projects.make(node, record.id, project)}
    raise InvalidInput(
        'ask {"ask": "usage"}, {"ask": "enlarge", "bytes": NUMBER}, each with or without '
        '"project": NAME, or {"ask": "project", "project": NAME}'
    )
