"""HAProxy: its commands and its runtime API. The configuration is corpus.node.proxy's.

Source: HAProxy 2.6, management guide, chapter 9.3 (Unix socket commands).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import PurePath

SOCKET = PurePath("/run/corpus-proxy/admin.sock")
_PAYLOAD = 12_000  # bytes of one command at most: it must fit into a buffer (tune.bufsize, 16 kB)
_ASK = """
import json, socket, sys
def ask(text):
    with socket.socket(socket.AF_UNIX) as line:
        line.settimeout(5)
        line.connect(sys.argv[1])
        line.sendall(text.encode() + b"\\n")
        line.shutdown(socket.SHUT_WR)
        return line.makefile().read().strip()
print(json.dumps([ask(text) for text in json.load(sys.stdin)]))
"""


def check(config: PurePath) -> list[str]:
    """Return the command that checks a configuration file without starting it."""
    return ["haproxy", "-c", "-q", "-f", str(config)]


def ask(socket: PurePath = SOCKET) -> list[str]:
    """Return the command that gives a worker the commands of ``questions`` on its input."""
    return ["/usr/bin/python3", "-I", "-S", "-c", _ASK, str(socket)]


def questions(commands: Sequence[str]) -> str:
    """Return the input of ``ask``."""
    return json.dumps(commands)


def parse_answers(text: str) -> list[str]:
    """Return what the worker answered to each command; empty when ``text`` is no answer."""
    try:
        return [str(answer) for answer in list(json.loads(text))]
    except (ValueError, TypeError, RecursionError):  # whoever answered is not ours alone
        return []


_LEAVE = """
import os, pathlib, shutil, signal, subprocess, sys
folder, unit = sys.argv[1:]
shown = ["systemctl", "show", "--property=MainPID", "--value", "--", unit]
pid = subprocess.run(shown, stdout=subprocess.PIPE, check=True, text=True).stdout.strip()
if pid != "0":
    for worker in pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        os.kill(int(worker), signal.SIGUSR1)
for path in pathlib.Path(folder).glob("*"):
    shutil.rmtree(path) if path.is_dir() else path.unlink()
"""


def leave(folder: PurePath, unit: str) -> list[str]:
    """Return the command that has a proxy end with its connections, and removes its files.

    Its workers are told, and not the master: to systemd that would be a service which stops, and
    is killed when the seconds for that are over. A master without workers ends by itself. The
    files go last: as long as they are there, all this is done again.
    """
    return ["/usr/bin/python3", "-I", "-S", "-c", _LEAVE, str(folder), unit]


def parse_description(text: str) -> str | None:
    """Return the description in what ``show info`` prints."""
    found = re.search(r"^description: (.*)$", text, re.MULTILINE)
    return found[1] if found else None


def configured_description(config: str) -> str:
    """Return the description that a configuration sets."""
    found = re.search(r"^ +description (.*)$", config, re.MULTILINE)
    return found[1] if found else ""


def parse_version(text: str) -> int | None:
    """Return the number that ``prepare map`` printed."""
    found = re.fullmatch(r"New version created: ([0-9]{1,9})", text)
    return int(found[1]) if found else None


def prepare_map(path: PurePath) -> str:
    """Return the command that begins a new version of a map."""
    return f"prepare map {path}"


def fill_map(path: PurePath, version: int, text: str) -> Iterator[str]:
    """Yield the commands that put the lines of ``text`` into a version of a map."""
    part = ""
    for line in text.splitlines(keepends=True):
        if part and len(part) + len(line) > _PAYLOAD:
            yield f"add map @{version} {path} <<\n{part}"
            part = ""
        part += line
    if part:
        yield f"add map @{version} {path} <<\n{part}"


def commit_map(path: PurePath, version: int) -> str:
    """Return the command that puts a version of a map in place of the one before."""
    return f"commit map @{version} {path}"


def set_certificate(path: PurePath, text: str) -> str:
    """Return the command that begins to replace a certificate and its key."""
    lines = "\n".join(line for line in text.splitlines() if line.strip())
    return f"set ssl cert {path} <<\n{lines}\n"


def commit_certificate(path: PurePath) -> str:
    """Return the command that has new connections take the new certificate."""
    return f"commit ssl cert {path}"


def abort_certificate(path: PurePath) -> str:
    """Return the command that forgets a replacement that was begun."""
    return f"abort ssl cert {path}"
