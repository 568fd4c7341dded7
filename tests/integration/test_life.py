"""The life of environments on a real kernel: frozen, put back, copied, exported, entered."""

from __future__ import annotations

import http.client
import json
import os
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from corpus.hosts.base import Host
from corpus.lab import salt
from corpus.lab.machine import Lab
from corpus.model.errors import CorpusError
from guests import PYTHON, UNIT, Guest, put
from guests import node as node
from labs import lab as lab
from load import Load
from patience import wait_until

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="a lab is made by root alone")

PORT = 8000
POOL = "/var/lib/corpus/pool"
SERVER = """
import http.server, signal, threading
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.answer(open("/srv/data/state").read().encode())
    def do_POST(self):
        self.answer(self.rfile.read(int(self.headers["Content-Length"])))
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
server = Server(("0.0.0.0", 8000), Handler)
signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
server.serve_forever()
server.server_close()
"""
# What its root makes: subvolumes within subvolumes, read-only ones, and every kind of file.
FURNISH = """
import os, socket, struct
from pathlib import Path
from corpus.hosts import subvolumes
data, kept = Path("/srv/data"), Path("/srv/kept")
for path in (data, data / "deep", kept, kept / "within"):
    subvolumes.create(path)
(data / "state").write_text("one")
(data / "deep/file").write_text("deep")
(kept / "within/file").write_text("kept")
subvolumes.set_read_only(kept, True)
odd = Path("/srv/odd")
odd.mkdir()
(odd / "a").write_text("a"); os.link(odd / "a", odd / "b")
os.symlink("/etc/nowhere", odd / "link")
os.link(odd / "link", odd / "link2", follow_symlinks=False)
os.mkfifo(odd / "fifo")
with open(odd / "sparse", "wb") as file:
    file.truncate(1 << 30); file.seek(512 << 20); file.write(b"middle")
os.setxattr(odd / "a", "user.note", b"=%\\n")
acl = struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in (
    (1, 6, 2**32 - 1), (2, 4, 33), (4, 4, 2**32 - 1), (16, 4, 2**32 - 1), (32, 4, 2**32 - 1)))
os.setxattr(odd / "b", "system.posix_acl_access", acl)
os.chown(odd / "fifo", 33, 33); os.chmod(odd, 0o1777); os.chmod(odd / "a", 0o4755)
os.chown(odd / "link", 33, 33, follow_symlinks=False)
(odd / os.fsdecode(b"odd \\xff name")).write_text("x")
os.utime(odd / "a", ns=(5, 1234567890123456789)); os.utime(odd, ns=(5, 1234567890123456780))
holder = socket.socket(socket.AF_UNIX); holder.bind("/srv/socket")
root = Path("/inroot"); subvolumes.create(root); (root / "file").write_text("in root")
"""
# Everything that can be said of what lies below some directories, as one text.
LISTING = """
import hashlib, json, os, stat, sys
found = {}
for top in sys.argv[1:]:
    for folder, names, files in os.walk(top):
        for name in [".", *names, *files]:
            path = os.path.join(folder, name)
            s = os.lstat(path)
            text = os.readlink(path) if stat.S_ISLNK(s.st_mode) else ""
            if stat.S_ISREG(s.st_mode):
                text = hashlib.file_digest(open(path, "rb"), "sha256").hexdigest()
            if stat.S_ISSOCK(s.st_mode):
                continue
            said = {k: os.getxattr(path, k, follow_symlinks=False).hex()
                    for k in os.listxattr(path, follow_symlinks=False)}
            links = 0 if stat.S_ISDIR(s.st_mode) else s.st_nlink
            found[ascii(path)] = [s.st_mode, s.st_uid, s.st_gid, links,
                s.st_mtime_ns if stat.S_ISREG(s.st_mode) else 0, s.st_ino == 256,
                os.statvfs(path).f_flag & 1 if stat.S_ISDIR(s.st_mode) else 0, text, said]
print(json.dumps(found, sort_keys=True))
"""


class Site(Guest):
    """An environment of these tests."""

    def state(self) -> str:
        return str(self.facts()["state"])

    def write(self, text: str) -> None:
        put(self.inside, "/srv/data/state", text)

    def read(self, path: str = "/srv/data/state") -> str:
        return self.inside.run(["cat", path]).out

    def everything(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(
            self.python(LISTING, "/srv/data", "/srv/kept", "/srv/odd", "/inroot", "/usr/sbin")
        )
        return found


def in_pool(node: Host) -> list[str]:
    script = f"ls -A {POOL}/env {POOL}/import /var/lib/corpus/environments 2>/dev/null; true"
    return node.run(["sh", "-c", script]).out.split()


@pytest.fixture(scope="module")
def site(node: Host) -> Iterator[Site]:
    before = in_pool(node)
    one = Site(node, salt.call(node, "corpus_node.create", size="400M", hosts=["life.example"]))
    try:
        one.have_server(SERVER, f"{UNIT}[Install]\nWantedBy=multi-user.target\n")
        one.python(FURNISH)
        one.inside.run(["systemctl", "enable", "--now", "--quiet", "app"])
        one.call("route", "life.example", PORT)
        yield one
    finally:
        assert one.call("destroy") is True
    assert set(in_pool(node)) <= {*before, f"{POOL}/import:"}


def get(lab: Lab) -> tuple[int, str]:
    line = http.client.HTTPConnection("127.0.0.1", lab.http_port, timeout=60)
    line.request("GET", "/", headers={"Host": "life.example"})
    answer = line.getresponse()
    return answer.status, answer.read().decode()


def test_a_frozen_one_answers_once_it_is_thawed(lab: Lab, site: Site) -> None:
    assert site.call("freeze", test=True)["changes"] == [f"freeze {site.made['name']}"]
    assert site.call("freeze")["state"] == "frozen"
    with pytest.raises(CorpusError, match="is frozen"):
        site.call("exec", ["true"])
    found: list[tuple[int, str]] = []
    asking = threading.Thread(target=lambda: found.append(get(lab)))
    asking.start()
    time.sleep(0.5)
    assert found == []
    assert site.call("thaw")["state"] == "running"
    asking.join(20)
    assert found == [(200, "one")]


def test_a_frozen_one_is_stopped_in_order_and_quickly(site: Site) -> None:
    site.call("freeze")
    begun = time.monotonic()
    assert site.call("stop")["state"] == "stopped"
    assert time.monotonic() - begun < 15  # of the 30 until it would be killed
    assert site.call("start")["state"] == "running"


def test_a_restart_fails_no_request(lab: Lab, site: Site) -> None:
    load = Load(lab.http_port, "life.example", rate=40).start()
    try:
        time.sleep(0.3)
        assert site.call("restart")["state"] == "running"
        time.sleep(0.5)
    finally:
        load.finish()
    assert load.failures == []


def test_a_restore_under_load_brings_all_of_it_back_and_is_undone(lab: Lab, site: Site) -> None:
    before = site.everything()
    made = site.call("snapshot", "first")
    assert (made["name"], made["frozen"]) == ("first", True)
    site.write("two")
    site.python(
        "from pathlib import Path\nfrom corpus.hosts import subvolumes\n"
        "subvolumes.delete(Path('/srv/data/deep')); subvolumes.delete(Path('/srv/kept'))\n"
        "Path('/inroot/file').unlink()\n"
    )
    load = Load(lab.http_port, "life.example", rate=40).start()
    try:
        time.sleep(0.3)
        site.call("restore", "first")
        time.sleep(0.5)
    finally:
        load.finish()
    assert load.failures == []
    assert site.everything() == before
    assert site.call("inspect")["snapshots"] == ["before-restore", "first"]
    site.call("restore", "before-restore")
    assert site.read() == "two"
    assert site.inside.run(["ls", "/srv/kept"], check=False).code != 0
    site.call("restore", "first")
    assert site.everything() == before
    assert site.call("snapshot_delete", "before-restore") is True


@pytest.mark.parametrize("after", [0.0, 0.15, 0.6])
def test_a_killed_restore_ends_as_one_thing_or_the_other(site: Site, after: float) -> None:
    site.write("two")
    script = (
        "from corpus.node.environments import snapshots\n"
        "from corpus.node.context import this_node\n"
        f"snapshots.restore(this_node(), {site.id!r}, 'first')\n"
    )
    unit = f"killed-{site.id}-{int(after * 100)}"
    place = f"{POOL}/env/{site.id}/snapshots"
    site.node.run(["systemd-run", "--quiet", "--collect", f"--unit={unit}", PYTHON, "-c", script])
    begun = ["sh", "-c", f"ls -A {place} | grep -q restore"]
    wait_until(lambda: site.node.run(begun, check=False).code == 0)
    time.sleep(after)
    site.node.run(["systemctl", "kill", "--signal=KILL", unit], check=False)
    assert site.call("start")["state"] == "running"
    restored = "before-restore" in site.call("inspect")["snapshots"]
    assert site.read() == ("one" if restored else "two")
    site.call("snapshot_delete", "before-restore")
    assert site.node.run(["ls", "-A", place]).out.split() == ["first"]
    site.write("one")


def identity(site: Site) -> list[str]:
    names = ["/etc/machine-id", "/etc/ssh/ssh_host_ed25519_key.pub", "/etc/hostname",
             "/etc/corpus/environment.json", "/etc/salt/minion_id"]  # fmt: skip
    return [site.read(name) for name in names]


def test_a_copy_is_another_one_and_the_original_goes_on(lab: Lab, site: Site) -> None:
    site.inside.run(["mkdir", "-p", "/etc/corpus/fetch_keys"])
    site.inside.run(["touch", "/etc/corpus/release_key", "/etc/corpus/fetch_keys/shop"])
    before = site.everything()
    load = Load(lab.http_port, "life.example", rate=40).start()
    try:
        copy = Site(site.node, site.call("clone"))
    finally:
        load.finish()
    try:
        assert load.failures == []
        assert copy.everything() == before
        assert not set(identity(copy)) & set(identity(site))
        assert copy.made["routes"] == []
        names = copy.inside.run(["ls", "/etc/corpus"]).out.split()
        assert names == ["environment.json", "image.json"]
        assert copy.call("inspect")["used"] < 64 << 20  # what both share is the original's
        copy.write("copy")
        assert site.read() == "one"
    finally:
        assert copy.call("destroy") is True


@pytest.fixture(scope="module")
def exported(site: Site) -> Iterator[str]:
    file = "/var/lib/corpus/exported.tar"
    assert site.call("export", file, test=True)["changes"] != []
    told = site.call("export", file)
    assert site.state() == "running"
    assert told["size"] > 10 << 20
    with pytest.raises(CorpusError, match="there is a file"):
        site.call("export", file)
    yield file
    site.node.run(["rm", "-f", file])
    assert "exported" not in site.node.run(["ls", "-A", "/var/lib/corpus"]).out


def test_an_import_with_a_new_id_is_a_copy(site: Site, exported: str) -> None:
    copy = Site(site.node, salt.call(site.node, "corpus_node.import", exported, id="new"))
    try:
        assert copy.everything() == site.everything()
        assert not set(identity(copy)) & set(identity(site))
        sparse = copy.inside.run(["stat", "--format=%b", "/srv/odd/sparse"]).out
        assert int(sparse) * 512 < 1 << 20
    finally:
        assert copy.call("destroy") is True


def test_an_import_is_the_same_one_again(lab: Lab, site: Site, exported: str) -> None:
    with pytest.raises(CorpusError, match="is there"):
        salt.call(site.node, "corpus_node.import", exported)
    before, whole = identity(site), site.everything()
    made = {key: site.made[key] for key in ("address", "ssh_port", "name")}
    assert site.call("destroy") is True
    found = salt.call(site.node, "corpus_node.import", exported)
    assert {key: found[key] for key in made} == made
    assert identity(site) == before
    assert site.everything() == whole
    assert get(lab) == (200, "one")


@pytest.mark.parametrize(
    ("damage", "why"),
    [
        ("truncate --size=-5000 {}", "not an exported environment|damaged"),
        ("printf x | dd of={} bs=1 seek=3000000 conv=notrunc status=none", "refused"),
        ('sed -i \'s/"format": 1/"format": 9/\' {}', "format"),
    ],
)
def test_a_damaged_file_is_refused_and_leaves_nothing(
    site: Site, exported: str, damage: str, why: str
) -> None:
    bad, before = "/var/lib/corpus/bad.tar", in_pool(site.node)
    site.node.run(["sh", "-c", f"cp {exported} {bad}; {damage.format(bad)}"])
    try:
        with pytest.raises(CorpusError, match=why):
            salt.call(site.node, "corpus_node.import", bad, id="new")
    finally:
        site.node.run(["rm", bad])
    assert set(in_pool(site.node)) - {f"{POOL}/import:"} == set(before) - {f"{POOL}/import:"}


def test_a_console_has_a_terminal_and_a_line_in_the_journal(site: Site) -> None:
    shell, told = f"{PYTHON} -m corpus.node console {site.id}", f"/run/told-{site.id}"
    # A shell drops what came before it.
    ask = f"for _ in $(seq 100); do grep -q /dev/pts {told} && break; echo tty; sleep 0.2; done"
    typed = f"({ask}; echo 'hostname; exit 5'; sleep 1)"
    terminal = f"script --quiet --return --command '{shell}' /dev/null"
    script = f"{typed} | {terminal} > {told}; code=$?; cat {told}; rm {told}; exit $code"
    done = site.node.run(["sh", "-c", script], check=False, timeout=90)
    assert done.code == 5
    assert "/dev/pts/" in done.out
    assert site.made["name"] in done.out
    said = site.node.run(["journalctl", "-t", "corpus-console", "--output=cat"]).out.splitlines()
    assert [line.split()[0] for line in said if site.id in line] == ["opened", "closed"]


def test_boot_starts_what_has_autostart_on(site: Site) -> None:
    site.call("autostart", on=False)
    try:
        site.node.run(["systemctl", "restart", "corpus-node"])
        assert site.state() == "stopped"
    finally:
        site.call("autostart", on=True, order=3)
    site.call("start")
    site.node.run(["systemctl", "restart", "corpus-node"])
    found = site.call("inspect")
    assert (found["state"], found["order"]) == ("running", 3)


def test_a_full_environment_is_put_back(site: Site) -> None:
    """The last one: the kernel frees what it has filled in the background."""
    site.call("snapshot", "roomy")
    filled = site.inside.run(["dd", "if=/dev/zero", "of=/srv/ballast", "bs=1M"], check=False)
    assert filled.code != 0
    site.call("restore", "roomy")
    assert site.inside.run(["ls", "/srv/ballast"], check=False).code != 0
    assert site.call("snapshot_delete", "before-restore") is True
    assert site.read() == "one"
