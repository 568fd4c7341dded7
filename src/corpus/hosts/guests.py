"""The state of an LXC container, asked of its monitor without starting a process.

The monitor listens at an abstract socket; LXC keeps commands 3 and 4 as they are, since new tools
must get on with monitors that run already. Source: LXC's src/lxc/commands.c and commands.h.
"""

from __future__ import annotations

import os
import socket
import struct
from contextlib import suppress
from pathlib import PurePath

from corpus.commands import lxc
from corpus.hosts.base import Host
from corpus.hosts.local import Local

_GET_STATE, _GET_INIT_PID = 3, 4
_STATES = ("STOPPED", "STARTING", "RUNNING", "STOPPING", "ABORTING", "FREEZING", "FROZEN", "THAWED")
_REQUEST = struct.Struct("@iiP")  # command, length of its data, where they lie
_ANSWER = struct.Struct("@iiq")  # error, length of more data, the value
_CREDENTIALS = struct.Struct("@iII")
_SECONDS = 1.0
_LONG = 10.0
_LONGEST = 105  # bytes of a socket's name: for a longer one LXC takes a digest (af_unix.c)


def state(host: Host, lxcpath: PurePath, name: str) -> tuple[str, int | None]:
    """Return a container's state in LXC's words, and the pid of its init.

    On another host than this machine, and where the monitor does not answer as expected,
    lxc-info(1) is asked, which takes a process; CommandFailed is raised when it takes too long.
    """
    if isinstance(host, Local):
        with suppress(OSError, ValueError, struct.error):
            return asked(lxcpath, name)
    return lxc.parse_info(host.run(lxc.info(lxcpath, name), timeout=_LONG, check=False).out)


def asked(lxcpath: PurePath, name: str) -> tuple[str, int | None]:
    """Return what the container's monitor on this machine says; no monitor: ``STOPPED``.

    Raises OSError and ValueError where it does not answer, or otherwise than known.
    """
    place = os.fsencode(f"{lxcpath}/{name}/command")
    if len(place) > _LONGEST:
        raise ValueError(f"too long for a socket's name: {lxcpath}")
    try:
        number = _ask(place, _GET_STATE)
        if number not in range(len(_STATES)):
            raise ValueError(f"not a state that is known: {number}")
        pid = _ask(place, _GET_INIT_PID) if number else 0
    except ConnectionRefusedError:
        return _STATES[0], None
    return _STATES[number], pid if pid > 0 else None


def _ask(place: bytes, command: int) -> int:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as line:
        line.settimeout(_SECONDS)
        line.connect(b"\0" + place)
        who = _CREDENTIALS.pack(os.getpid(), os.getuid(), os.getgid())
        line.sendmsg(
            [_REQUEST.pack(command, 0, 0)],
            [(socket.SOL_SOCKET, socket.SCM_CREDENTIALS, who)],
        )
        error, more, value = _ANSWER.unpack(line.recv(_ANSWER.size, socket.MSG_WAITALL))
    if error or more:
        raise ValueError(f"the monitor answers {error}")
    return int(value)
