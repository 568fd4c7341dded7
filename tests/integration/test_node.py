"""The compute node on a real kernel: environments, their walls, their limits, held requests."""

from __future__ import annotations

import http.client
import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from corpus.hosts.base import Host
from corpus.hosts.local import Local
from corpus.lab import salt
from corpus.lab.machine import Lab
from corpus.model.errors import CommandFailed, CorpusError
from guests import PYTHON, Guest, lent
from guests import node as node
from labs import lab as lab
from load import Load
from patience import wait_until
from swapping import SWAP

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="a lab is made by root alone")

PORT = 8000
# Answers every request; writes down each POST that it executes; its start in /srv/listened.
SERVER = """
import http.server, time
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.answer(self.headers.get("X-Forwarded-For", "").encode())
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        with open("/srv/executed", "ab") as file:
            file.write(body + b"\\n")
        self.answer(body)
    def answer(self, text):
        self.send_response(200)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)
    def log_message(self, *_):
        pass
class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 512
    daemon_threads = False
import signal, threading
server = Server(("0.0.0.0", 8000), Handler)
signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
server.serve_forever()
server.server_close()
"""


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("key") / "id"
    Local().run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)])
    return path


@pytest.fixture(scope="module")
def site(node: Host, key: Path) -> Iterator[Guest]:
    public = key.with_suffix(".pub").read_text().strip()
    with lent(node, size="1G", memory="512M", cpu=1.5, pids=400, keys=[public]) as made:
        one = Guest(node, made)
        one.have_server(SERVER)
        yield one


@pytest.fixture(scope="module")
def other(node: Host) -> Iterator[Guest]:
    with lent(node, size="512M") as made:
        yield Guest(node, made)


def get(lab: Lab, host: str, **headers: str) -> tuple[http.client.HTTPResponse, str]:
    line = http.client.HTTPConnection("127.0.0.1", lab.http_port, timeout=30)
    line.request("GET", "/", headers={"Host": host, **headers})
    answer = line.getresponse()
    return answer, answer.read().decode()


def ssh(site: Guest, key: Path, *words: str) -> str:
    options = ["BatchMode=yes", "StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null"]
    place = [
        "-i",
        str(key),
        "-p",
        str(site.made["ssh_port"]),
        *(f"-o{option}" for option in options),
    ]
    return Local().run(["ssh", "-q", *place, "root@127.0.0.1", *words]).out.strip()


def left_of(node: Host, id: str) -> str:
    """Return every trace of an environment on the node."""
    script = f"ls -d /var/lib/corpus/*/{id}* /var/lib/corpus/pool/env/{id} 2>/dev/null;"
    script += f"nft list ruleset | grep -F {id.replace('-', '')[:11]}; grep -rl {id} /etc/corpus;"
    script += "find /sys/fs/cgroup -maxdepth 3 -name " + f"'*{id}*'"
    return node.run(["sh", "-c", script], check=False).out


def test_create_answers_ssh_on_the_node_and_from_outside(site: Guest, key: Path) -> None:
    assert site.made["state"] == "running"
    assert ssh(site, key, "cat", "/etc/hostname") == site.made["name"]


def test_a_reboot_from_inside_leaves_files_to_their_owners(node: Host, other: Guest) -> None:
    other.inside.run(["touch", "/var/tmp/before", "/run/before"])
    other.inside.run(["systemctl", "reboot"], check=False)

    def is_anew() -> bool:
        found = other.inside.run(["ls", "/run"], check=False)
        return found.code == 0 and "before" not in found.out.split()

    wait_until(is_anew, 60)
    assert other.inside.run(["stat", "-c", "%u %g", "/", "/var/tmp/before"]).out == "0 0\n0 0\n"
    other.inside.run(["touch", "/etc/after"])
    assert other.facts()["state"] == "running"


def test_a_new_environment_is_up_within_seconds(node: Host) -> None:
    begun = time.monotonic()
    made = salt.call(node, "corpus_node.create", size="512M")
    seconds = time.monotonic() - begun
    try:
        assert seconds < 30  # about 1.4, of which 0.6 are salt-call's own start
    finally:
        salt.call(node, "corpus_node.destroy", made["id"])
    assert left_of(node, made["id"]) == ""


def test_it_is_unprivileged_and_its_files_are_its_own(site: Guest) -> None:
    uids = site.inside.run(["cat", "/proc/self/uid_map"]).out.split()
    assert uids[0] == "0"
    assert int(uids[1]) >= 1_000_000
    names = ["/etc/hostname", "/etc/corpus/environment.json", "/root/.ssh/authorized_keys", "/srv"]
    owners = site.inside.run(["stat", "--format=%u:%g", *names]).out.split()
    assert owners == ["0:0"] * 4
    on_disk = site.node.run(["stat", "--format=%u", site.made["srv"], site.made["rootfs"]]).out
    assert on_disk.split() == ["0", "0"]


def test_its_root_makes_snapshots_in_srv_and_swaps_them(site: Guest) -> None:
    done = site.script(SWAP)
    assert done.code == 0, done.err


def test_a_subvolume_of_its_own_does_not_escape_the_size(site: Guest) -> None:
    script = """
import errno, os
from pathlib import Path
from corpus.hosts import subvolumes
subvolumes.create(Path("/srv/big"))
try:
    with open("/srv/big/file", "wb", 0) as file:
        for _ in range(2000):
            file.write(os.urandom(1 << 20))
except OSError as error:
    assert error.errno in (errno.EDQUOT, errno.ENOSPC), error
else:
    raise SystemExit("2 GB went into 1 GB")
finally:
    os.unlink("/srv/big/file")  # in a full group the kernel refuses to remove a subvolume
    os.sync()
    subvolumes.delete(Path("/srv/big"))
"""
    done = site.script(script)
    assert done.code == 0, done.err
    assert salt.call(site.node, "corpus_node.facts")["quota"] == "enforced"

    def freed() -> bool:
        site.inside.run(["sync"])
        return bool(site.facts()["used"] < 200 << 20)

    wait_until(freed, 60)  # the kernel frees deleted subvolumes in the background


def test_a_full_environment_can_be_destroyed(node: Host) -> None:
    one = Guest(node, salt.call(node, "corpus_node.create", size="256M"))
    full = one.inside.run(["dd", "if=/dev/zero", "of=/srv/file", "bs=1M"], check=False)
    assert full.code != 0
    assert salt.call(node, "corpus_node.destroy", one.id) is True
    assert left_of(node, one.id) == ""


def test_limits_change_while_it_runs(site: Guest) -> None:
    salt.call(site.node, "corpus_node.limit", site.id, memory="300M", pids=300)
    script = "cat /sys/fs/cgroup/memory/memory.limit_in_bytes || cat /sys/fs/cgroup/memory.max"
    inside = site.inside.run(["sh", "-c", f"({script}) 2>/dev/null"]).out
    assert int(inside) == 300 << 20
    with pytest.raises(CorpusError, match="not a size"):
        salt.call(site.node, "corpus_node.limit", site.id, memory="much")


def test_environments_do_not_reach_each_other_nor_the_node(site: Guest, other: Guest) -> None:
    assert site.reaches(("10.88.0.1", 80))
    assert not site.reaches((other.made["address"], 22))
    assert not site.reaches(("10.88.0.1", 22))
    assert not site.reaches(("10.88.0.1", other.made["ssh_port"]))


def test_the_gateway_stays_the_same_while_others_come_and_go(node: Host, site: Guest) -> None:
    shown = ["cat", "/sys/class/net/corpus0/address"]
    before = node.run(shown).out
    made = salt.call(node, "corpus_node.create", size="512M")
    try:
        assert node.run(shown).out == before
    finally:
        salt.call(node, "corpus_node.destroy", made["id"])
    assert node.run(shown).out == before
    assert site.reaches(("10.88.0.1", 80))


def test_nobody_speaks_from_an_address_of_another(site: Guest, other: Guest) -> None:
    stolen = "10.88.9.9"
    site.inside.run(["ip", "address", "add", f"{stolen}/16", "dev", "eth0"])
    try:
        script = (
            "import socket\n"
            f"socket.create_connection(('10.88.0.1', 80), 1.5, ({stolen!r}, 0))\n"
        )  # fmt: skip
        assert site.script(script).code != 0
        assert site.script(script.replace(f", ({stolen!r}, 0)", "")).code == 0
    finally:
        site.inside.run(["ip", "address", "del", f"{stolen}/16", "dev", "eth0"])


def test_what_is_taken_is_refused_and_leaves_nothing(node: Host, site: Guest) -> None:
    before = salt.call(node, "corpus_node.list")
    for asked in (
        {"ssh_port": site.made["ssh_port"]},
        {"address": site.made["address"]},
        {"ssh_port": 80},
        {"address": "10.88.0.1"},
    ):
        with pytest.raises(CorpusError, match="is taken by"):
            salt.call(node, "corpus_node.create", **asked)
    assert [one["id"] for one in salt.call(node, "corpus_node.list")] == [o["id"] for o in before]


def test_an_unknown_name_gets_a_page(lab: Lab, node: Host) -> None:
    answer, text = get(lab, "nobody.example")
    assert (answer.status, answer.getheader("Content-Type")) == (404, "text/html; charset=utf-8")
    assert "No site has this name" in text


def test_requests_are_held_while_the_service_is_away(lab: Lab, site: Guest) -> None:
    """Refused connections, dropped SYNs and reloads of the proxy: nothing fails or runs twice."""
    salt.call(site.node, "corpus_node.route", site.id, "held.example", PORT)
    site.inside.run(["systemctl", "start", "app"])
    _, forwarded = get(lab, "Held.Example.:8080", **{"X-Forwarded-For": "6.6.6.6"})
    assert forwarded
    assert "6.6.6.6" not in forwarded
    load = Load(lab.http_port, "held.example", rate=60).start()
    try:
        time.sleep(0.5)
        hold = "add table inet hold; add chain inet hold in { type filter hook input priority 0; }"
        drop = f"add rule inet hold in iifname eth0 tcp dport {PORT} tcp flags syn drop"
        site.inside.run(["nft", f"{hold}; {drop}"])
        time.sleep(2)
        site.inside.run(["systemctl", "stop", "app"])
        site.inside.run(["nft", "delete table inet hold"])
        salt.call(site.node, "corpus_node.route", site.id, "more.example", PORT)
        site.inside.run(["systemctl", "start", "app"])
        time.sleep(0.5)
    finally:
        load.finish()
    assert load.failures == []
    assert max(load.waits) > 1.5
    executed = site.inside.run(["cat", "/srv/executed"]).out.split()
    assert len(executed) == len(set(executed))
    assert sorted(executed) == sorted(load.posted)


def test_past_the_hold_there_is_a_maintenance_page(lab: Lab, site: Guest) -> None:
    salt.call(site.node, "corpus_node.route", site.id, "short.example", 8001, 1)
    begun = time.monotonic()
    answer, text = get(lab, "short.example")
    assert 0.8 < time.monotonic() - begun < 20  # of the 60 that are usual
    assert (answer.status, answer.getheader("Retry-After")) == (503, "30")
    assert "Back in a moment" in text
    salt.call(site.node, "corpus_node.unroute", "short.example")
    assert get(lab, "short.example")[0].status == 404


def test_everything_comes_back_from_the_records(lab: Lab, node: Host, site: Guest) -> None:
    salt.call(node, "corpus_node.route", site.id, "back.example", PORT)
    node.run(["systemctl", "stop", "corpus-node", "corpus-proxy"])
    assert site.facts()["state"] == "stopped"
    node.run(["sh", "-c", "nft flush ruleset; ip link delete corpus0; rm -r /etc/corpus/proxy"])
    node.run(["systemctl", "start", "corpus-node"])
    found = site.facts()
    assert (found["state"], found["address"]) == ("running", site.made["address"])
    site.inside.run(["systemctl", "start", "app"])
    assert get(lab, "back.example")[0].status == 200


@pytest.mark.parametrize("after", [0.0, 0.05, 0.15, 0.3])
def test_a_killed_create_is_cleared_away(node: Host, lab: Lab, after: float) -> None:
    id = f"00000000-0000-4000-8000-{int(after * 100):012d}"
    script = (
        "from corpus.node.environments import making\n"
        "from corpus.node.context import this_node\n"
        f"print(making.create(this_node(), id='{id}', size='512M'))\n"
    )
    unit = f"killed-{id}"
    node.run(["systemd-run", "--quiet", "--collect", f"--unit={unit}", PYTHON, "-c", script])
    begun = ["test", "-e", f"/var/lib/corpus/environments/{id}.json"]
    wait_until(lambda: node.run(begun, check=False).code == 0)
    time.sleep(after)
    node.run(["systemctl", "kill", f"--signal={signal.SIGKILL}", unit], check=False)
    made = salt.call(node, "corpus_node.create", id=id, size="512M")
    assert made["state"] == "running"
    assert salt.call(node, "corpus_node.destroy", id) is True
    assert left_of(node, id) == ""
    assert salt.call(node, "corpus_node.destroy", id) is False


def test_errors_end_non_zero_with_their_message(node: Host) -> None:
    with pytest.raises(CommandFailed) as caught:
        node.run(
            ["salt-call", "--local", "--retcode-passthrough", "corpus_node.inspect",
             "00000000-0000-4000-8000-000000000000"]
        )  # fmt: skip
    assert caught.value.code != 0
    assert "no environment" in caught.value.output


def test_exec_hands_on_code_and_output(site: Guest) -> None:
    line = json.dumps(["sh", "-c", "echo out; exit 7"])
    argv = ["salt-call", "--local", "--out=json", "--retcode-passthrough", "corpus_node.exec"]
    done = site.node.run([*argv, site.id, line], check=False)
    assert done.code == 7
    assert json.loads(done.out)["local"] == {"code": 7, "out": "out\n", "err": ""}
