"""What a loud neighbour does, and how a visitor next door feels it."""

from __future__ import annotations

import http.client
import time

NAME = "quiet.example"
REQUESTS = 200
SECONDS = 6  # that a bomb is at work
SERVER = """
import socket
server = socket.create_server(("", 8000), backlog=128)
while True:
    line, _ = server.accept()
    with line:
        line.recv(4096)
        line.sendall(b"HTTP/1.1 200 OK\\r\\nContent-Length: 2\\r\\nConnection: close\\r\\n\\r\\nok")
"""
# Each ends by itself: in a full environment nobody gets in to end it.
BOMBS = {
    "processes": """
end = time.monotonic() + seconds
while time.monotonic() < end:
    try:
        os.fork()
    except OSError:
        pass
""",
    "memory": """
end = time.monotonic() + seconds
while time.monotonic() < end:
    if os.fork() == 0:
        hog = []
        while time.monotonic() < end:
            hog.append(bytearray(os.urandom(1 << 20) * 16))
    else:
        os.wait()
""",
    "disk": """
end = time.monotonic() + seconds
for number in range(4):
    if os.fork() == 0:
        block = os.urandom(1 << 20)
        while time.monotonic() < end:
            try:
                with open(f"/srv/filler-{number}", "wb", 0) as file:
                    for _ in range(40):
                        file.write(block)
                    os.fsync(file.fileno())
            except OSError:
                os.truncate(f"/srv/filler-{number}", 0)
        os._exit(0)
for _ in range(4):
    os.wait()
""",
}


def script(kind: str) -> str:
    """Return the program of a bomb."""
    return f"import os, time\nseconds = {SECONDS}\n{BOMBS[kind]}"


def p99(port: int) -> float:
    """Return the seconds that 99 of 100 requests through a node's proxy are answered within."""
    times = []
    for _ in range(REQUESTS):
        begun = time.monotonic()
        line = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        line.request("GET", "/", headers={"Host": NAME})
        assert line.getresponse().read() == b"ok"
        line.close()
        times.append(time.monotonic() - begun)
    return sorted(times)[REQUESTS * 99 // 100 - 1]
