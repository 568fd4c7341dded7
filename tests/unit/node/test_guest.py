"""The guest's configuration and the settings that it comes from."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpus.commands.cgroups import Layout
from corpus.model.errors import InvalidInput
from corpus.model.mode import Platform
from corpus.node import settings
from corpus.node.environments import guest
from corpus.node.records import Limits, Pair, Record, Route, dump, of
from corpus.node.settings import Settings

ID = "11111111-2222-4333-8444-555555555555"
V1 = Layout(1, 1, 1)
RECORD = Record(
    ID, Platform.PROD, "abababababab", "10.88.0.12", 22003, 2, Limits(1 << 30, 1 << 28, 0.5, 200)
)


def test_a_guest_is_unprivileged_with_ids_of_its_own_and_idmapped_mounts() -> None:
    lines = guest.config(Settings(), RECORD, 1400, V1).splitlines()
    assert "lxc.idmap = u 0 1131072 65536" in lines
    assert "lxc.idmap = g 0 1131072 65536" in lines
    assert "lxc.rootfs.options = idmap=container" in lines
    assert "lxc.mount.auto = cgroup:mixed:force proc:mixed sys:ro" in lines
    assert any(
        line.startswith("lxc.mount.entry = /var/lib/corpus/pool/env/")
        and "/srv srv none bind,create=dir,idmap=container" in line
        for line in lines
    )


def test_a_guest_sees_the_directory_of_its_socket_and_cannot_write_there() -> None:
    assert (
        f"lxc.mount.entry = /run/corpus-ask/{ID} dev/corpus none "
        "bind,ro,nosuid,nodev,noexec,create=dir 0 0"
    ) in guest.config(Settings(), RECORD, 1400, V1).splitlines()


@pytest.mark.parametrize("whole", [True, False])
def test_a_guest_sees_what_lxcfs_shows_without_its_hooks(tmp_path: Path, whole: bool) -> None:
    for name in ("proc/meminfo", "proc/uptime", "sys/devices/system/cpu/online"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    cpus = "sys/devices/system/cpu" if whole else "sys/devices/system/cpu/online"
    if whole:
        (tmp_path / cpus / "uevent").touch()
    assert guest.own_figures(tmp_path) == [
        "lxc.hook.mount =",
        "lxc.hook.post-stop =",
        *(
            f"lxc.mount.entry = {tmp_path}/{name} {name} none bind,optional 0 0"
            for name in ("proc/meminfo", "proc/uptime", cpus)
        ),
    ]


def test_a_guest_starts_without_an_lxcfs_that_has_died(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def dead(self: Path) -> bool:
        raise OSError(errno.ENOTCONN, os.strerror(errno.ENOTCONN), str(self))

    monkeypatch.setattr(Path, "is_file", dead)
    assert guest.own_figures(tmp_path) == ["lxc.hook.mount =", "lxc.hook.post-stop ="]


def test_of_lxcfs_hooks_none_is_left_and_ours_stay() -> None:
    lines = guest.config(Settings(), RECORD, 1400, V1).splitlines()
    hooks = [line for line in lines if line.startswith("lxc.hook.")]
    assert hooks == [
        "lxc.hook.mount =",
        "lxc.hook.post-stop =",
        "lxc.hook.start-host = /var/lib/corpus/lxc/known 10.88.0.1 corpus0",
        "lxc.hook.post-stop = /var/lib/corpus/lxc/restart",
    ]


@pytest.mark.parametrize(
    ("found", "wanted"),
    [
        (
            Layout(1, 1, 1, swap=True),
            ["cgroup.memory.limit_in_bytes = 268435456",
             "cgroup.memory.memsw.limit_in_bytes = 268435456",
             "cgroup.pids.max = 200", "cgroup.cpu.cfs_quota_us = 50000"],
        ),
        (
            Layout(2, 2, 2, swap=True),
            ["cgroup2.memory.max = 268435456", "cgroup2.memory.swap.max = 0",
             "cgroup2.pids.max = 200", "cgroup2.cpu.max = 50000 100000"],
        ),
        (
            Layout(1, 2, 1),
            ["cgroup.memory.limit_in_bytes = 268435456", "cgroup.pids.max = 200",
             "cgroup2.cpu.max = 50000 100000"],
        ),
    ],
)  # fmt: skip
def test_limits_are_written_for_the_layout_that_there_is(found: Layout, wanted: list[str]) -> None:
    lines = guest.config(Settings(), RECORD, 1400, found).splitlines()
    assert [line for line in lines if "cgroup" in line and "mount" not in line] == [
        f"lxc.{line}" for line in wanted
    ]


def test_a_guest_has_our_list_of_refused_calls_also_in_a_node_that_has_one() -> None:
    lines = guest.config(Settings(), RECORD, 1400, V1).splitlines()
    included = max(n for n, line in enumerate(lines) if "lxc.include" in line)
    assert "lxc.seccomp.profile = /var/lib/corpus/lxc/seccomp" in lines[included:]
    assert "lxc.seccomp.allow_nesting = 1" in lines


def test_a_guest_without_limits_has_none() -> None:
    bare = guest.config(Settings(), RECORD.changed(limits=Limits(1 << 30)), 1400, V1)
    assert "lxc.cgroup" not in bare


def test_the_interface_fits_the_kernel_and_the_mac_is_local() -> None:
    assert len(RECORD.interface) <= 15
    assert RECORD.mac == "02:c0:0a:58:00:0c"
    assert RECORD.group == f"2/{0x111111112222}"


@given(
    st.integers(64 << 20, 1 << 40),
    st.none() | st.floats(0.05, 64),
    st.lists(st.integers(1, 65535), max_size=3),
)
def test_records_come_back_as_they_were_written(
    size: int, cpu: float | None, ports: list[int]
) -> None:
    routes = tuple(Route(f"h{port}.example", port) for port in ports)
    pairs = tuple(Pair(f"p{port}", ID) for port in ports)
    record = RECORD.changed(limits=Limits(size, None, cpu), routes=routes, pairs=pairs)
    assert of(json.loads(dump(record))) == record


def test_settings_come_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "node.toml"
    assert settings.load(file) == Settings()
    file.write_text('prefix = "/x"\nssh_base = 23000\nnameservers = ["10.0.0.1"]\n')
    found = settings.load(file)
    assert (found.pool, found.ssh_base) == (Path("/x/pool"), 23000)
    assert found.nameservers == ("10.0.0.1",)


@pytest.mark.parametrize(
    "text",
    ["x = 1", "bridge = 'far-too-long-name'", "storage = 'zfs'", "ssh_base = 80", "= 3",
     "pool_size = 'big'", "subnet = '10.88.0.0/33'", "ssh_base = 'x'", "http_port = 0",
     "size_limit = 'x'", "minimum_free = '-1'", "relay = 'mail'", "relay = 'mail:0'",
     "relay = 'a b:25'", "relay = ':25'", "relay = '1.2.3.4:25; drop'",
     "open_base = 80", "open_ports = 0", "open_base = 65000", "connections = 0",
     "closed_networks = ['fe80::/10']", "open_networks = ['x']", "default_memory = '0%'",
     "default_memory = '101%'", "default_pids = -1"],
)  # fmt: skip
def test_wrong_settings_are_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "node.toml"
    file.write_text(text)
    with pytest.raises(InvalidInput):
        settings.load(file)


@pytest.mark.skipif(os.geteuid() != 0, reason="changes owners")
def test_accounts_of_the_node_do_not_reach_a_guests_files(tmp_path: Path) -> None:
    """Else a set-user-id file that a guest's root made makes any of them the node's root."""
    here = Settings(prefix=tmp_path)
    home = guest.home(here, ID)
    home.mkdir(parents=True)
    guest.shut(here, RECORD)
    assert home.stat().st_mode & 0o777 == 0o700
    assert (home.stat().st_uid, home.stat().st_gid) == (1131072, 1131072)
