from pathlib import Path

import pytest

from corpus.images import inherit


def write(root: Path, name: str, text: str) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_resolv_conf() -> None:
    text = "domain old.test\nsearch a.test b.test\nnameserver 192.0.2.1\nnameserver ::1\n"
    assert inherit.parse_resolv(text) == (("192.0.2.1",), ("a.test", "b.test"))


def test_a_local_stub_gives_way_to_what_it_asks(tmp_path: Path) -> None:
    write(tmp_path, "etc/resolv.conf", "nameserver 127.0.0.53\n")
    assert inherit.resolvers(tmp_path) == ((), ())
    write(tmp_path, "run/systemd/resolve/resolv.conf", "nameserver 192.0.2.7\n")
    assert inherit.resolvers(tmp_path) == (("192.0.2.7",), ())


def test_added_certificates(tmp_path: Path) -> None:
    folder = "usr/local/share/ca-certificates"
    write(tmp_path, f"{folder}/ours.crt", "-----BEGIN CERTIFICATE-----\n")
    write(tmp_path, f"{folder}/sub/more.crt", "-----BEGIN CERTIFICATE-----\n")
    write(tmp_path, f"{folder}/empty.crt", "")
    assert [name for name, _ in inherit.certificates(tmp_path)] == ["ours.crt", "sub-more.crt"]


@pytest.mark.parametrize(
    ("url", "reachable"),
    [
        ("https://index.test/simple", True),
        ("http://[2001:db8::1]:3141/", True),
        ("file:///srv/simple", False),
        ("/srv/simple", False),
        ("http://localhost:3141/root", False),
        ("http://127.0.0.1/", False),
        ("http://[::1]/", False),
        ("", False),
    ],
)
def test_what_a_container_can_reach(url: str, reachable: bool) -> None:
    assert inherit.is_reachable(url) is reachable


def test_apt_proxies() -> None:
    dump = (
        'Acquire "";\nAcquire::http "";\nAcquire::http::Proxy "http://proxy.test:3128";\n'
        'Acquire::https::Proxy "DIRECT";\nAcquire::http::Proxy::mirror.test "DIRECT";\n'
    )
    assert inherit.parse_apt_proxies(dump) == {"http": "http://proxy.test:3128"}


def test_proxies_of_the_environment() -> None:
    environ = {"http_proxy": "http://proxy.test:1", "HTTPS_PROXY": "http://localhost:2"}
    assert inherit.environment_proxies(environ) == {"http": "http://proxy.test:1"}


def test_pip_files_and_variables(tmp_path: Path) -> None:
    write(tmp_path, "etc/pip.conf", "[global]\nindex-url = https://one.test/simple\n")
    write(
        tmp_path,
        "root/.config/pip/pip.conf",
        "[install]\nextra-index-url =\n  https://two.test/simple\n  file:///srv/simple\n"
        "[global]\nfind-links = /srv/wheels\ntrusted-host = one.test two.test\n",
    )
    environ = {"HOME": "/root", "PIP_INDEX_URL": "https://three.test/simple"}
    assert inherit.pip(environ, tmp_path) == {
        "index-url": ("https://three.test/simple",),
        "extra-index-url": ("https://two.test/simple",),
        "trusted-host": ("one.test", "two.test"),
    }


def test_pip_without_configuration(tmp_path: Path) -> None:
    assert inherit.pip({"PIP_CONFIG_FILE": "/dev/null"}, tmp_path) == {}
    write(tmp_path, "etc/pip.conf", "no section\n")
    assert inherit.pip({}, tmp_path) == {}
