from __future__ import annotations

from pathlib import PurePath

from corpus.commands import lxc


def test_a_failed_start_tells_each_reason_once() -> None:
    log = """\
lxc-start X 2026.5 INFO     start - ../src/lxc/start.c:f:1 - hello
lxc-start X 2026.5 ERROR    conf - ../src/lxc/conf.c:run_buffer:322 - Script exited with 255
lxc-start X 2026.5 ERROR    network - ../src/lxc/network.c:f:3427 - No such device - Failed
lxc-start X 2026.5 ERROR    network - ../src/lxc/network.c:f:3427 - No such device - Failed
lxc-start X 2026.5 ERROR    lxc_start - ../src/lxc/tools/lxc_start.c:main:306 - failed to start
"""
    assert lxc.parse_reasons(log) == ["Script exited with 255", "No such device - Failed"]


def test_a_control_group_value() -> None:
    assert lxc.cgroup(PurePath("/l"), "x", "memory.max", "1") == [
        "lxc-cgroup", "--lxcpath=/l", "--name=x", "--", "memory.max", "1",
    ]  # fmt: skip
    assert lxc.cgroup(PurePath("/l"), "x", "memory.stat")[-2:] == ["--", "memory.stat"]


def test_info_of_a_running_and_of_no_container() -> None:
    assert lxc.parse_info("State:          RUNNING\nPID:            42\n") == ("RUNNING", 42)
    assert lxc.parse_info("") == ("STOPPED", None)
