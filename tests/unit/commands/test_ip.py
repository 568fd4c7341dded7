from __future__ import annotations

from corpus.commands import ip


def test_default_devices_best_first() -> None:
    text = '[{"dst":"default","gateway":"10.0.0.1","dev":"eth0"},{"dst":"default","dev":"eth1"}]'
    assert ip.parse_default_devices(text) == ["eth0", "eth1"]
    assert ip.parse_default_devices("") == []


def test_a_hardware_address_belongs_to_one_address() -> None:
    assert ip.hardware_address("10.88.0.1") == "02:c0:0a:58:00:01"


def test_addresses_by_interface() -> None:
    text = '[{"ifname":"lo","addr_info":[{"local":"127.0.0.1"}]},{"ifname":"e","addr_info":[]}]'
    assert ip.parse_addresses(text) == {"127.0.0.1": "lo"}


def test_listeners_with_and_without_a_process() -> None:
    text = (
        'LISTEN 0 128  0.0.0.0:22  0.0.0.0:* users:(("sshd",pid=52,fd=3))\n'
        "LISTEN 0 511 [::]:8080 [::]:*\n"
        'LISTEN 0 5 127.0.0.1%lo:53 0.0.0.0:* users:(("systemd-resolve",pid=1,fd=1))\n'
    )
    assert ip.parse_listeners(text) == {22: "sshd", 8080: "a process", 53: "systemd-resolve"}


def test_a_sysctl_key_may_hold_dots() -> None:
    assert ip.sysctl({"net/ipv4/conf/eth0.5/forwarding": 1})[-1] == (
        "net/ipv4/conf/eth0.5/forwarding=1"
    )
