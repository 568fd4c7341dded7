"""What a container's monitor says, and what is asked when there is none that answers."""

from __future__ import annotations

import os
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from corpus.hosts import guests
from corpus.hosts.fake import Fake
from corpus.hosts.local import Local

Monitor = Callable[[dict[int, bytes]], Path]


def answer(value: int, *, error: int = 0, more: int = 0) -> bytes:
    return struct.pack("@iiq", error, more, value)


@pytest.fixture
def monitor(tmp_path: Path) -> Iterator[Monitor]:
    """Answer, as LXC's monitor of the container ``one`` does, what is given for each command."""
    line = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    threads = []

    def serve(answers: dict[int, bytes]) -> None:
        while True:
            try:
                asking, _ = line.accept()
            except OSError:
                return
            with asking:
                asking.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
                said, ancillary, _flags, _from = asking.recvmsg(16, 64)
                command, length, _data = struct.unpack("@iiP", said)
                who = struct.unpack("@iII", ancillary[0][2])
                assert (length, who) == (0, (os.getpid(), os.getuid(), os.getgid()))
                asking.sendall(answers[command])

    def start(answers: dict[int, bytes]) -> Path:
        line.bind(f"\0{tmp_path}/one/command")
        line.listen()
        threads.append(threading.Thread(target=serve, args=(answers,)))
        threads[0].start()
        return tmp_path

    yield start
    line.shutdown(socket.SHUT_RDWR)
    line.close()
    for thread in threads:
        thread.join(30)
        assert not thread.is_alive()


@pytest.mark.parametrize(
    ("state", "pid", "found"),
    [
        (2, 4711, ("RUNNING", 4711)),
        (6, 4711, ("FROZEN", 4711)),
        (1, -1, ("STARTING", None)),
        (0, 4711, ("STOPPED", None)),
    ],
)
def test_a_monitor_tells_state_and_init(
    monitor: Monitor, state: int, pid: int, found: tuple[str, int | None]
) -> None:
    assert guests.asked(monitor({3: answer(state), 4: answer(pid)}), "one") == found


def test_without_a_monitor_it_is_stopped(tmp_path: Path) -> None:
    assert guests.state(Local(), tmp_path, "one") == ("STOPPED", None)


@pytest.mark.parametrize(
    "said", [answer(99), answer(-1), answer(2, error=-13), answer(2, more=8), b"", b"\0\0\0\0"]
)
def test_what_is_not_understood_is_asked_of_lxc_info(
    monitor: Monitor, said: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    host, asked = Local(), []
    monkeypatch.setattr(
        host, "run", lambda argv, **how: asked.append(argv) or Fake().run(argv, **how)
    )
    assert guests.state(host, monitor({3: said}), "one") == ("STOPPED", None)
    assert [argv[0] for argv in asked] == ["lxc-info"]


def test_a_path_that_lxc_hashes_is_not_guessed() -> None:
    with pytest.raises(ValueError, match="too long"):
        guests.asked(Path("/" + "long/" * 30), "one")


def test_another_host_is_asked_by_a_command(tmp_path: Path) -> None:
    host = Fake()
    host.answer("lxc-info", "State: RUNNING\nPID: 42\n")
    assert guests.state(host, tmp_path, "one") == ("RUNNING", 42)
