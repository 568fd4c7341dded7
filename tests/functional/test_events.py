"""How deployments end, as a real Salt master and a real minion of its hear it."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from salt.config import master_config, minion_config
from salt.utils.event import get_event

from corpus.project import notifications
from corpus.project.deployment import MakeRunner
from corpus.saltext.events import Events
from patience import wait_until
from projects import Scratch
from recipes import BUILD, macro, run

COMMON = """\
root_dir: {folder}
pki_dir: {folder}/pki
cachedir: {folder}/cache
sock_dir: {folder}/sock
log_file: {folder}/log
pidfile: {folder}/pid
log_level_logfile: warning
user: root
enable_fqdns_grains: False
publish_port: {publish}
"""
MASTER = COMMON + "interface: 127.0.0.1\nret_port: {ret}\nauto_accept: True\nworker_threads: 1\n"
MINION = COMMON + "id: web-1\nmaster: 127.0.0.1\nmaster_port: {ret}\nmine_enabled: False\n"


def free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        found = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [server.getsockname()[1] for server in found]


@contextmanager
def daemon(name: str, folder: Path) -> Iterator[None]:
    """Run one of Salt's daemons with all that it starts, until the block ends."""
    argv = [Path(sys.executable).with_name(f"salt-{name}"), "-c", folder, "-l", "quiet"]
    process = subprocess.Popen(argv, start_new_session=True)
    try:
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


class Bus:
    """What is on the master's bus."""

    def __init__(self, opts: dict[str, Any]) -> None:
        self.bus = get_event("master", opts=opts, sock_dir=opts["sock_dir"], listen=True)

    def until(self, tag: str, patience: float = 60) -> dict[str, Any]:
        deadline = time.monotonic() + patience
        while time.monotonic() < deadline:
            found = self.bus.get_event(wait=1, tag=tag, full=True)
            if found:
                data: dict[str, Any] = found["data"]
                return data
        raise AssertionError(f"no event {tag}")


@pytest.fixture(scope="module")
def salt(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Bus, dict[str, Any]]]:
    """Run a master and a minion; give the master's bus and the minion's options."""
    if os.geteuid() != 0:
        pytest.skip("Salt's daemons: needs root")
    publish, ret = free_ports(2)
    master, minion = tmp_path_factory.mktemp("m"), tmp_path_factory.mktemp("n")
    for folder, name, text in ((master, "master", MASTER), (minion, "minion", MINION)):
        (folder / name).write_text(text.format(folder=folder, publish=publish, ret=ret))
    opts = master_config(str(master / "master"))
    with daemon("master", master):
        wait_until((master / "sock" / "master_event_pub.ipc").exists, 60)
        bus = Bus(opts)
        with daemon("minion", minion):
            bus.until("salt/minion/web-1/start")
            yield bus, minion_config(str(minion / "minion"))
        bus.bus.destroy()


@pytest.mark.parametrize(
    ("top", "outcome"),
    [(BUILD, "live"), (macro("deploy", run("broken", "exit 3")), "rolled_back")],
    ids=["live", "rolled back"],
)
def test_the_master_hears(
    scratch: Scratch,
    make_runner: MakeRunner,
    salt: tuple[Bus, dict[str, Any]],
    top: str,
    outcome: str,
) -> None:
    bus, opts = salt
    events = Events(opts)
    scratch.fire = events.fire  # type: ignore[method-assign]
    done = scratch.deploy(scratch.commit({"app": "1\n", ".salt/top.sls": top}), make_runner)
    assert done.outcome == outcome, done.text
    heard = bus.until(f"corpus/deployment/{scratch.project.name}/{outcome}")
    entry = scratch.ledger[-1]
    assert heard["id"] == "web-1"
    assert heard["data"]["deployment"] == entry.id
    assert heard["data"]["commit"] == entry.commit
    assert heard["data"]["error"] == entry.error
    assert not notifications.waiting(scratch.project)


def test_the_minion_hears_alone_when_it_has_no_master(
    salt: tuple[Bus, dict[str, Any]],
) -> None:
    bus, opts = salt
    with get_event("minion", opts=opts, listen=True) as own:
        Events(opts | {"file_client": "local"}).fire("corpus/deployment/alone/live", {"a": 1})
        assert own.get_event(wait=10, tag="corpus/deployment/alone/live", full=True)
    Events(opts).fire("corpus/deployment/last/live", {})
    bus.until("corpus/deployment/last/live")
    assert not bus.bus.get_event(wait=1, tag="corpus/deployment/alone/live", full=True)


def test_where_no_minion_runs(opts: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Salt is not even asked: it would try for seconds."""
    monkeypatch.delattr("corpus.saltext.events.get_event")
    Events(opts).fire("corpus/deployment/demo/live", {})


def test_a_minion_that_stopped_in_mid_air(salt: tuple[Bus, dict[str, Any]], tmp_path: Path) -> None:
    """A socket that nobody serves: an error, in the time that an event has."""
    _bus, opts = salt
    alone = opts | {"sock_dir": str(tmp_path), "id": "dead"}
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as left:
        events = Events(alone)
        left.bind(str(events.socket))
    began = time.monotonic()
    with pytest.raises(OSError, match="does not take it"):
        events.fire("corpus/deployment/demo/live", {})
    assert time.monotonic() - began < 8
