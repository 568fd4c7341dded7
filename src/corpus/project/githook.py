"""git's proc-receive hook: hand a push of the deploy branch to the deploy service.

It runs as the project's account, alone: nothing of corpus is imported, so that it starts
in milliseconds. git has stored the objects already. The service checks out, deploys and
moves the branch; this hook shows the log as it is written and tells git how it ended, so
that a deployment that failed makes ``git push`` fail.

Protocols: pkt-lines with git (gitprotocol-common(5), githooks(5)), JSON lines with the
service. Should the service die, the hook asks it again after its restart: what became of
the deployment is decided there.
"""

import json
import os
import socket
import sys
import time

SOCKET = "/run/corpus/deploy.sock"
PATIENCE = 60.0


def read_packet() -> bytes | None:
    """Return the payload of one pkt-line, or None for a flush."""
    size = int(sys.stdin.buffer.read(4), 16)
    return sys.stdin.buffer.read(size - 4) if size > 4 else None


def write_packet(text: str | None) -> None:
    """Write one pkt-line; None is a flush."""
    data = b"0000" if text is None else b"%04x%s" % (len(text.encode()) + 4, text.encode())
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()


def show(line: str) -> None:
    """Show one line to the person who pushes; somebody who went away is no reason to stop."""
    try:
        sys.stderr.write(line + "\n")
        sys.stderr.flush()
    except OSError:
        pass


def converse(request: dict[str, str], address: str) -> dict[str, str] | None:
    """Send one request and show its log; return the verdict, or None when the line broke."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as line:
        line.connect(address)
        line.sendall(json.dumps(request).encode() + b"\n")
        for text in line.makefile("r", encoding="utf-8", errors="replace"):
            message: dict[str, str] = json.loads(text)
            if "id" in message:
                request["attach"] = message["id"]
            if "log" in message:
                show(message["log"])
            if "outcome" in message:
                return message
    return None


def deploy(request: dict[str, str], address: str = SOCKET) -> dict[str, str]:
    """Return the verdict of one deployment, attaching again when the service restarts.

    ``request`` has the deployment's id as ``attach`` afterwards, once the service told it.
    """
    lost = 0.0
    while True:
        asked = time.monotonic()
        try:
            verdict = converse(request, address)
        except (OSError, ValueError):
            verdict = None
        if verdict is not None:
            return verdict
        now = time.monotonic()
        if not lost or now - asked > 1:
            lost = now
            show(" !     the deploy service went away; waiting for it to come back")
        if now - lost > PATIENCE:
            return {"outcome": "unknown", "error": "the deploy service does not answer"}
        time.sleep(0.1)


def main() -> None:
    """Answer git: one report for each ref that was pushed."""
    while read_packet() is not None:
        pass
    write_packet("version=1\0")
    write_packet(None)
    commands = []
    while (packet := read_packet()) is not None:
        commands.append(packet.decode().strip().split(" ", 2))
    project = os.getcwd().split("/")[-3]  # noqa: PTH109  pathlib takes milliseconds to import
    for old, new, ref in commands:
        if set(new) == {"0"}:
            write_packet(f"ng {ref} the deploy branch is not deleted by a push")
            continue
        verdict = deploy({"project": project, "ref": ref, "old": old, "new": new})
        if verdict["outcome"] == "live":
            write_packet(f"ok {ref}")
        else:
            write_packet(f"ng {ref} {verdict['outcome'].replace('_', ' ')}")
    write_packet(None)


if __name__ == "__main__":
    main()
