from pathlib import Path

import pytest

from corpus.hosts.fake import Fake
from corpus.images import settings
from corpus.images.settings import Settings
from corpus.model.errors import InvalidInput, NotFound


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name, text in {
        "etc/resolv.conf": "nameserver 192.0.2.1\n",
        "etc/apt/sources.list": "deb http://mirror.test/debian bookworm main\n",
    }.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path


def load(root: Path, text: str | None = None) -> Settings:
    path = None
    if text is not None:
        path = root / "images.toml"
        path.write_text(text)
    return settings.load(path, host=Fake(), environ={}, root=root)


def test_this_machine_is_inherited(root: Path) -> None:
    found = load(root)
    assert found.nameservers == ("192.0.2.1",)
    assert found.resolv_conf() == "nameserver 192.0.2.1\n"
    assert len(found.apt_sources) == 1
    assert found.apt_conf() == ""


def test_a_file_overrides(root: Path) -> None:
    (root / "ca.pem").write_text("-----BEGIN CERTIFICATE-----\nx\n")
    found = load(
        root,
        'nameservers = ["192.0.2.9"]\nsearch = ["a.test"]\ncertificates = ["ca.pem"]\n'
        '[apt]\nsources = ["deb http://m.test/d bookworm main"]\n'
        'proxies = {http = "http://proxy.test:3128"}\n'
        '[pip]\nindex-url = "https://index.test/simple"\n'
        'extra-index-url = ["https://a.test", "https://b.test"]\n',
    )
    assert found.resolv_conf() == "search a.test\nnameserver 192.0.2.9\n"
    assert found.certificates == (("ca.crt", "-----BEGIN CERTIFICATE-----\nx\n"),)
    assert found.apt_sources == ("deb http://m.test/d bookworm main",)
    assert found.apt_conf() == 'Acquire::http::Proxy "http://proxy.test:3128";\n'
    assert found.pip_conf() == (
        "[global]\ndisable-pip-version-check = true\n"
        "cert = /etc/ssl/certs/ca-certificates.crt\n"
        "extra-index-url = https://a.test\n    https://b.test\n"
        "index-url = https://index.test/simple\n"
    )


def test_the_default_file_counts_when_it_is_there(root: Path) -> None:
    (root / "etc/corpus").mkdir()
    (root / "etc/corpus/images.toml").write_text('nameservers = ["192.0.2.8"]\n')
    assert load(root).nameservers == ("192.0.2.8",)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nameserver = []", "unknown setting: nameserver"),
        ("[apt]\nproxy = 1", "unknown setting: apt.proxy"),
        ("apt = 1", "apt is a table"),
        ("nameservers = [1]", "list of strings"),
        ('search = ["a\\nb"]', "line break"),
        ('certificates = ["absent.pem"]', "no certificate"),
        ("nameservers = [", "not TOML"),
        ("nameservers = []", "no name server"),
        ("[apt]\nsources = []", "no package source"),
    ],
)
def test_bad_files_are_refused(root: Path, text: str, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        load(root, text)


def test_a_named_file_must_be_there(root: Path) -> None:
    with pytest.raises(NotFound):
        settings.load(root / "absent.toml", host=Fake(), environ={}, root=root)


def test_every_setting_is_an_input() -> None:
    base = Settings(apt_sources=("deb x",))
    changed = [
        Settings(apt_sources=("deb y",)),
        Settings(("deb x",), nameservers=("192.0.2.1",)),
        Settings(("deb x",), search=("a.test",)),
        Settings(("deb x",), certificates=(("a.crt", "x"),)),
        Settings(("deb x",), apt_proxies=(("http", "http://p.test"),)),
        Settings(("deb x",), pip=(("proxy", ("http://p.test",)),)),
    ]
    assert len({base.inputs(), *(other.inputs() for other in changed)}) == len(changed) + 1


def test_every_setting_is_documented() -> None:
    text = (Path(__file__).parents[3] / "docs/reference/images.md").read_text()
    for key, inner in settings.KEYS.items():
        for name in [f"{key}.{word}" for word in inner] or [key]:
            assert f"`{name}`" in text, name
