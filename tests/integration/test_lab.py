"""The lab on a real kernel: made, refreshed, killed half-way, removed."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from corpus.hosts import kernel
from corpus.lab import marker, requirements
from corpus.lab.machine import Lab, assert_clean
from corpus.lab.settings import Settings
from corpus.model.errors import Conflict, CorpusError, Unsupported
from labs import lab as lab
from labs import node_image, settings_of_tests
from patience import quickest, wait_until

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="a lab is made by root alone")

SECOND = "second"
SUBNET, HTTP, SSH = "10.86.8.0/24", 8380, 22300


@dataclass
class Changed:
    """An image as if it had been built anew: with one file more in its topmost layer."""

    original: marker.Image
    layers: Sequence[str]
    text: str
    digest: str

    def unpack(self, store: Path, target: Path) -> None:
        self.original.unpack(store, target)
        (target / "opt/changed").write_text(self.text)

    def top_files(self) -> list[str]:
        return [*self.original.top_files(), "opt/changed"]


@pytest.fixture(scope="module")
def original(lab: Lab) -> marker.Image:
    return node_image()


@pytest.fixture
def second(tmp_path: Path, original: marker.Image) -> Iterator[Settings]:
    """Settings of a lab beside the shared one; it is removed and its remains are looked for."""
    ports = {"subnet": SUBNET, "http_port": HTTP, "ssh_port_base": SSH}
    settings = settings_of_tests(SECOND, root=tmp_path, **ports)
    yield settings
    Lab(SECOND, settings).down()
    assert_clean(SECOND, settings)


def command(settings: Settings, *words: str) -> list[str]:
    return [sys.executable, "-m", "corpus.lab", *words, f"--lab={SECOND}",
            f"--root={settings.root}"]  # fmt: skip


def up_command(settings: Settings) -> list[str]:
    return [*command(settings, "up"), f"--subnet={SUBNET}", f"--http-port={HTTP}",
            f"--ssh-port-base={SSH}", f"--images={settings.images}"]  # fmt: skip


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}


def test_systemd_runs_and_nothing_has_failed(lab: Lab) -> None:
    facts = lab.facts()
    assert facts["state"] == "running"
    for node in facts["nodes"]:
        assert node["system"] in ("running", "degraded")
        assert [unit for unit in node["failed_units"] if unit.startswith("corpus")] == []
        assert node["pool"]["on_disk"] < node["pool"]["size"]


def test_up_again_takes_less_than_a_second(lab: Lab) -> None:
    pid = lab.facts()["nodes"][0]["pid"]
    assert quickest(lab.up) < 1.0
    assert lab.facts()["nodes"][0]["pid"] == pid


def test_the_pool_has_simple_quotas_and_the_images_are_there(lab: Lab) -> None:
    node = lab.node()
    assert "0/5" in node.run(["btrfs", "qgroup", "show", "/var/lib/corpus/pool"]).out
    assert node.run(["test", "-f", "/var/lib/corpus/images-in/environment/manifest.json"])
    denied = node.run(["touch", "/var/lib/corpus/images-in/x"], check=False)
    assert denied.code != 0


def test_loopback_ports_of_the_host_lead_to_the_node(lab: Lab) -> None:
    port = lab.ssh_port_base + 99
    server = (
        "import socket; s = socket.create_server(('', %d)); c, _ = s.accept(); c.sendall(b'node')"
    )
    listening = threading.Thread(
        target=lab.node().run, args=(["python3", "-c", server % port],), kwargs={"timeout": 20}
    )
    listening.start()
    assert _read("127.0.0.1", port) == b"node"
    listening.join()


def _read(address: str, port: int) -> bytes:
    def said() -> bytes:
        with socket.create_connection((address, port), timeout=10) as connection:
            return connection.recv(100)

    return wait_until(said, despite=ConnectionRefusedError)


def test_the_node_s_http_answers_on_the_host(lab: Lab) -> None:
    with socket.create_connection(("127.0.0.1", lab.http_port), timeout=5) as connection:
        connection.sendall(b"GET / HTTP/1.0\r\nHost: nobody.localhost\r\n\r\n")
        assert connection.recv(100).startswith(b"HTTP/1.")


def test_the_host_s_own_services_stay_out_of_the_node_s_reach(lab: Lab) -> None:
    node = lab.node()
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        via = ["ip", "route", "add", "127.0.0.2/32", "via", str(lab.settings.gateway)]
        node.run(["ip", "route", "del", "local", "127.0.0.0/8", "table", "local"], check=False)
        node.run(via, check=False)
        probe = f"import socket; socket.create_connection(('127.0.0.2', {port}), timeout=1)"
        try:
            assert node.run(["python3", "-c", probe], check=False).code != 0
        finally:
            node.run(["ip", "route", "del", *via[3:]], check=False)
            local = ["ip", "route", "add", "local", "127.0.0.0/8", "dev", "lo", "table", "local"]
            node.run([*local, "proto", "kernel", "scope", "host", "src", "127.0.0.1"])


def test_names_resolve_and_packages_come_through_the_host(lab: Lab) -> None:
    lists = ["apt-get", "update", "-qq", "-o", "APT::Update::Error-Mode=any"]
    lab.node().run(lists, timeout=120)


def test_the_node_cannot_set_the_clock_or_the_kernel_of_the_host(lab: Lab) -> None:
    node = lab.node()
    assert node.run(["date", "--set=@0"], check=False).code != 0
    state = node.run(["systemctl", "is-enabled", "systemd-sysctl.service"], check=False)
    assert state.out.strip() == "masked"


def test_commands_report_and_pass_exit_codes_on(lab: Lab) -> None:
    def run(*words: str) -> subprocess.CompletedProcess[str]:
        argv = [sys.executable, "-m", "corpus.lab", f"--lab={lab.name}", *words]
        return subprocess.run(argv, capture_output=True, text=True, env=environment(), check=False)

    assert run("exec", "--", "sh", "-c", "exit 7").returncode == 7
    assert run("exec", "--", "echo", "a  b", "--json").stdout == "a  b --json\n"
    facts = json.loads(run("status", "--json").stdout)
    assert facts["nodes"][0]["http_port"] == lab.http_port
    assert run("up", "--http-port=8181").returncode == Conflict.exit_code


def test_new_code_reaches_the_running_node_and_nothing_restarts(
    lab: Lab, original: marker.Image
) -> None:
    pid = lab.facts()["nodes"][0]["pid"]
    started = lab.node().run(["systemctl", "show", "--property=ActiveEnterTimestamp", "dbus"]).out
    texts = iter(("one", "two", "three"))

    def renew() -> None:
        text = next(texts)
        changed = Changed(original, [*original.layers[:-1], text], text, text)
        Lab(lab.name, lab.settings, image=lambda: changed).up()
        assert lab.node().get(Path("/opt/changed")) == text.encode()

    assert quickest(renew, 3) < 5.0
    lab.up()
    assert lab.node().run(["test", "-e", "/opt/changed"], check=False).code != 0
    assert lab.facts()["nodes"][0]["pid"] == pid
    after = lab.node().run(["systemctl", "show", "--property=ActiveEnterTimestamp", "dbus"]).out
    assert after == started


def test_a_new_base_replaces_the_root_and_keeps_state_and_identity(
    lab: Lab, original: marker.Image
) -> None:
    node = lab.node()
    keys = ["sh", "-c", "cat /etc/machine-id /etc/ssh/ssh_host_*"]
    identity = node.run(keys).out
    node.put(Path("/var/lib/corpus/kept"), b"kept")
    node.put(Path("/etc/corpus/kept"), b"kept")
    node.put(Path("/var/tmp/not-kept"), b"")
    changed = Changed(original, ["other", *original.layers[1:]], "base", "base")
    for image in (changed, original):
        Lab(lab.name, lab.settings, image=lambda image=image: image).up()
        assert node.run(keys).out == identity
        assert node.get(Path("/var/lib/corpus/kept")) == b"kept"
        assert node.get(Path("/etc/corpus/kept")) == b"kept"
    assert node.run(["test", "-e", "/var/tmp/not-kept"], check=False).code != 0
    node.run(["rm", "/var/lib/corpus/kept", "/etc/corpus/kept"])


@pytest.mark.parametrize("seconds", [0.5, 1.6, 2.6])
def test_a_killed_up_is_completed_by_the_next_and_removed_by_down(
    second: Settings, seconds: float
) -> None:
    killed = subprocess.Popen(up_command(second), env=environment(), start_new_session=True)
    time.sleep(seconds)
    os.killpg(killed.pid, signal.SIGKILL)
    killed.wait()
    Lab(SECOND, second, image=node_image).up()
    assert Lab(SECOND, second, image=node_image).facts()["state"] == "running"


def test_down_removes_what_a_killed_up_left(second: Settings) -> None:
    killed = subprocess.Popen(up_command(second), env=environment())
    time.sleep(1.2)
    killed.kill()
    killed.wait()
    Lab(SECOND, second, image=node_image).down()
    assert_clean(SECOND, second)


def test_a_node_whose_monitor_was_killed_is_found_and_replaced(second: Settings) -> None:
    made = Lab(SECOND, second, image=node_image)
    made.up()
    with pytest.raises(AssertionError) as caught:
        assert_clean(SECOND, second)
    for kind in ("process", "mount", "loop device", "nft table", "interface", "file"):
        assert kind in str(caught.value)
    title = f"[lxc monitor] {made.paths.lxc} {made.paths.node(1).container}"
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (entry / "cmdline").exists():
            words = (entry / "cmdline").read_bytes().rstrip(b"\0").replace(b"\0", b" ")
            if words.strip() == title.encode():
                os.kill(int(entry.name), signal.SIGKILL)
    wait_until(lambda: made.facts()["state"] == "stopped")
    made.up()
    assert made.facts()["state"] == "running"


def test_down_touches_nothing_else_not_even_behind_a_mount(
    lab: Lab, second: Settings, tmp_path: Path
) -> None:
    before = lab.facts()
    settings = Path("/proc/sys/net/ipv4/conf").glob("*/forwarding")
    forwarding = {path: path.read_text() for path in settings}
    made = Lab(SECOND, second, image=node_image)
    made.up()
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "file").write_text("precious")
    inside = made.paths.root / "bound"
    inside.mkdir()
    kernel.bind_mount(precious, inside)
    made.down()
    assert (precious / "file").read_text() == "precious"
    shutil.rmtree(precious)
    after = lab.facts()
    for facts in (before, after):
        for node in facts["nodes"]:
            del node["memory"], node["pool"]
    assert after == before
    assert forwarding == {path: path.read_text() for path in forwarding}
    lab.node().run(["true"])


def test_two_at_once_wait_for_each_other(second: Settings) -> None:
    both = [subprocess.Popen(up_command(second), env=environment()) for _ in range(2)]
    assert [process.wait(timeout=60) for process in both] == [0, 0]


def test_a_taken_port_is_refused_before_anything_is_made(second: Settings) -> None:
    with socket.create_server(("127.0.0.1", HTTP)), pytest.raises(Conflict, match=str(HTTP)):
        Lab(SECOND, second, image=node_image).up()
    assert not (second.root / SECOND).exists()


def test_a_machine_without_btrfs_is_told_so(
    second: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def without(host: object) -> None:
        raise Unsupported("this kernel has no btrfs")

    monkeypatch.setattr(requirements, "check", without)
    with pytest.raises(CorpusError):
        Lab(SECOND, second, image=node_image).up()
    assert not (second.root / SECOND).exists()
