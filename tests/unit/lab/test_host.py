"""What the lab asks of its host, and what it remembers of it."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import time
from pathlib import Path

import pytest

from corpus.hosts.fake import Fake
from corpus.lab import leftovers, lock, network, pool, record, requirements
from corpus.lab.paths import LabPaths
from corpus.lab.settings import settings_for
from corpus.model.errors import Conflict, Unsupported
from patience import wait_until

V1 = "\n".join(
    f"3{number} 1 0:3{number} / /sys/fs/cgroup/{name} rw - cgroup cgroup rw,{name}"
    for number, name in enumerate(("cpu,cpuacct", "memory", "pids", "devices", "freezer"))
)
SYSTEMD = "\n40 1 0:40 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,name=systemd\n"
V2 = "40 1 0:40 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n"


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}")
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/sys/user").mkdir(parents=True)
    (tmp_path / "dev").mkdir()
    (tmp_path / "proc/filesystems").write_text("nodev\tproc\n\tbtrfs\n")
    (tmp_path / "proc/sys/user/max_user_namespaces").write_text("100\n")
    (tmp_path / "proc/self/mountinfo").write_text(V1 + SYSTEMD)
    (tmp_path / "dev/loop-control").write_text("")
    return tmp_path


def test_a_machine_that_has_all_passes_with_either_control_group_layout(machine: Path) -> None:
    requirements.check(Fake(), machine)
    (machine / "proc/self/mountinfo").write_text(V2)
    requirements.check(Fake(), machine)


@pytest.mark.parametrize(
    ("file", "content", "what", "mend"),
    [
        ("proc/filesystems", "\text4\n", "btrfs", "kernel"),
        ("dev/loop-control", None, "/dev/loop-control", "module"),
        ("proc/sys/user/max_user_namespaces", "0\n", "user namespaces", "max_user_namespaces"),
        ("proc/self/mountinfo", V1, "«systemd»", "mount -t cgroup -o none,name=systemd"),
        ("proc/self/mountinfo", SYSTEMD.strip(), "«cpu»", "mount -t cgroup -o cpu"),
    ],
)
def test_what_is_missing_is_named_with_the_way_out(
    machine: Path, file: str, content: str | None, what: str, mend: str
) -> None:
    if content is None:
        (machine / file).unlink()
    else:
        (machine / file).write_text(content)
    with pytest.raises(Unsupported) as caught:
        requirements.check(Fake(), machine)
    assert what in caught.value.what
    assert mend in (caught.value.mend or "")


def test_a_kernel_module_is_loaded_when_it_can_be(machine: Path) -> None:
    host = Fake()
    (machine / "proc/filesystems").write_text("\text4\n")
    with pytest.raises(Unsupported):
        requirements.check(host, machine)
    assert ("modprobe", "btrfs") in host.commands


def test_missing_packages_are_named_at_once(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(Unsupported, match="btrfs-progs, e2fsprogs, iproute2, lxc, mount, nftables"):
        requirements.check(Fake(), machine)


def test_a_record_survives_and_half_of_one_counts_as_none(tmp_path: Path) -> None:
    paths = LabPaths("two", tmp_path)
    assert record.load(paths) is None
    made = record.Record(settings_for("two", {"root": tmp_path}), {"eth0": "0"})
    record.save(paths, made)
    assert record.load(paths) == made
    assert record.others(LabPaths("one", tmp_path)) == {"two": made}
    assert record.others(paths) == {}
    paths.record.write_text(paths.record.read_text()[:40])
    assert record.load(paths) is None


def test_another_lab_s_ports_and_subnet_are_refused(tmp_path: Path) -> None:
    demo = settings_for("demo", {"root": tmp_path})
    record.save(LabPaths("demo", tmp_path), record.Record(demo))
    for given in ({}, {"subnet": "10.86.7.0/24"}, {"subnet": "10.86.7.0/24", "http_port": 81}):
        settings = settings_for("two", {"root": tmp_path, **given})
        with pytest.raises(Conflict, match="demo"):
            network.Network(Fake(), LabPaths("two", tmp_path), settings).check_free()


def test_the_ports_of_every_node_must_be_free(tmp_path: Path) -> None:
    demo = settings_for("demo", {"root": tmp_path, "nodes": 2})
    record.save(LabPaths("demo", tmp_path), record.Record(demo))
    for http, ssh, free in ((8081, 23000, False), (8082, 22199, False), (8082, 22200, True)):
        given = {"subnet": "10.86.7.0/24", "http_port": http, "ssh_port_base": ssh}
        settings = settings_for("two", {"root": tmp_path, **given})
        lab = network.Network(Fake(), LabPaths("two", tmp_path), settings)
        if free:
            lab.check_free()
        else:
            with pytest.raises(Conflict, match="demo"):
                lab.check_free()


def test_a_port_that_a_process_has_is_refused_by_name(tmp_path: Path) -> None:
    host = Fake()
    host.answer("ss", 'LISTEN 0 5 127.0.0.1:22007 0.0.0.0:* users:(("sshd",pid=1,fd=3))\n')
    lab = network.Network(host, LabPaths("two", tmp_path), settings_for("two", {"root": tmp_path}))
    with pytest.raises(Conflict, match="port 22007 of this host is taken by sshd"):
        lab.check_free()


def test_an_interface_s_subnet_is_refused(tmp_path: Path) -> None:
    host = Fake()
    host.answer(
        "ip -4", '[{"ifname":"eth0","mtu":1500,"addr_info":[{"local":"10.86.1.9","prefixlen":16}]}]'
    )
    lab = network.Network(host, LabPaths("two", tmp_path), settings_for("two", {"root": tmp_path}))
    with pytest.raises(Conflict, match=r"overlaps 10\.86\.1\.9/16 of eth0"):
        lab.check_free()


def test_the_smallest_uplink_sets_the_packet_size() -> None:
    links = {"eth0": network.network.Link("eth0", 1400, ())}
    assert network.mtu(links, ["eth0", "wg0"]) == 1400
    assert network.mtu({}, []) == 1500


def test_each_node_has_a_filesystem_of_its_kind_and_all_roots_share_one(tmp_path: Path) -> None:
    settings = settings_for("two", {"root": tmp_path, "nodes": 3, "storage": "quota,plain"})
    volumes = pool.Pool(Fake(), LabPaths("two", tmp_path), settings).volumes
    assert [(volume.image.name, volume.target.name, volume.kind) for volume in volumes] == [
        ("roots.img", "roots", "btrfs"),
        ("node1.img", "node1", "btrfs"),
        ("node2.img", "node2", "ext4"),
        ("node3.img", "node3", "ext4"),
    ]


def test_control_groups_of_the_lab_alone_are_found(tmp_path: Path) -> None:
    names = ("lxc.payload.corpus-a.1", "lxc.monitor.corpus-a.1-2", "lxc.payload.corpus-a.2")
    for name in (*names, "lxc.payload.corpus-ab.1", "lxc.payload.corpus-a", "x"):
        (tmp_path / "memory" / name).mkdir(parents=True)
    lab = LabPaths("a", tmp_path)
    found = leftovers.control_groups(lab, tmp_path)
    assert [group.name for group in found] == sorted(names)
    found = leftovers.control_groups(lab.node(1), tmp_path)
    assert [group.name for group in found] == ["lxc.monitor.corpus-a.1-2", "lxc.payload.corpus-a.1"]


def _hold(path: Path) -> None:
    with lock.held(path):
        (path.parent / "held").touch()
        wait_until((path.parent / "go").exists)
        time.sleep(0.3)
        path.unlink()


def test_a_lock_waits_for_its_holder_even_when_he_removes_the_file(tmp_path: Path) -> None:
    path = tmp_path / "x.lock"
    holder = multiprocessing.get_context("fork").Process(target=_hold, args=(path,))
    holder.start()
    wait_until((tmp_path / "held").exists)
    with pytest.raises(Conflict), lock.held(path, patience=0.1):
        pass
    (tmp_path / "go").touch()
    with lock.held(path, patience=30):
        assert path.exists()
    holder.join()
