"""Images made for real: the same twice, remade as little as possible, and what is in them."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from corpus.commands import layers
from corpus.hosts import isolated, subvolumes
from corpus.hosts.local import Local
from corpus.images import builder, manifest, settings, source, store
from corpus.images.manifest import Image
from corpus.images.recipes import ENVIRONMENT, NODE
from corpus.images.settings import Settings
from corpus.images.source import Checkout
from corpus.model.errors import Conflict, InvalidInput
from imagecache import image_cache, scratch
from patience import quickest

__all__ = ["image_cache"]

FROM_NOTHING = os.environ.get("CORPUS_TEST_FROM_NOTHING")


def quiet(_line: str) -> None:
    """Report nothing."""


@pytest.fixture(scope="module")
def own() -> Settings:
    """Return this machine's settings."""
    return settings.load()


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Checkout]:
    """Return a copy of the code that images are made from here: nobody edits it meanwhile."""
    copy = source.here().copied(tmp_path_factory.mktemp("checkout"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(source, "here", lambda: Checkout(copy.root))
        yield copy


@pytest.fixture(scope="module")
def image(
    image_cache: Path, own: Settings, checkout: Checkout, tmp_path_factory: pytest.TempPathFactory
) -> Image:
    """Return the environment's image of that code."""
    folder = tmp_path_factory.mktemp("image")
    return builder.build(ENVIRONMENT, own, image_cache, folder, report=quiet)


def digests(image: Image) -> dict[str, str]:
    """Return the digest of each layer."""
    return {layer.name: layer.digest for layer in image.layers}


def test_made_twice_it_is_the_same(
    image_cache: Path, image: Image, own: Settings, tmp_path: Path
) -> None:
    """The layers of Salt and of our code; CORPUS_TEST_FROM_NOTHING=1 fetches all anew."""
    kept = () if FROM_NOTHING else ("base", "environment")
    cache = scratch(image_cache, tmp_path / "cache", image, *kept)
    if FROM_NOTHING:
        shutil.rmtree(cache / "wheels")
    again = builder.build(ENVIRONMENT, own, cache, report=quiet)
    assert digests(again) == digests(image)
    assert again.digest == image.digest
    assert again.to_json() == image.to_json()


def test_nothing_to_do_takes_no_time(image_cache: Path, image: Image, own: Settings) -> None:
    def again() -> None:
        assert builder.build(ENVIRONMENT, own, image_cache, image.directory, report=quiet) == image

    assert quickest(again, 3) < 0.5


def test_a_change_of_our_code_remakes_the_last_layer(
    image_cache: Path,
    image: Image,
    own: Settings,
    checkout: Checkout,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    edited = checkout.copied(tmp_path / "edited")
    (edited.root / "src/corpus/model/added.py").write_text("ADDED = 1\n")
    monkeypatch.setattr(source, "here", lambda: Checkout(edited.root))
    cache = scratch(image_cache, tmp_path / "cache", image, "base", "salt", "environment")
    changed = builder.build(ENVIRONMENT, own, cache, report=quiet)
    before, after = digests(image), digests(changed)
    assert {name for name in after if after[name] != before[name]} == {"code-environment"}
    names = content(changed)
    assert "opt/corpus/lib/python3.11/site-packages/corpus/model/added.py" in names
    assert any("corpus/model/__pycache__/added" in name for name in names)


def content(image: Image) -> list[str]:
    """Return the paths in the topmost layer."""
    command = ["tar", "--list", "--zstd", f"--file={image.archive(image.layers[-1])}"]
    return [name.removeprefix("./") for name in Local().run(command).out.splitlines()]


def test_settings_reach_the_inside(
    image_cache: Path, image: Image, own: Settings, tmp_path: Path
) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "ours.pem"
    Local().run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=Ours",
                 "-keyout", str(key), "-out", str(certificate)])  # fmt: skip
    file = tmp_path / "images.toml"
    file.write_text(
        'nameservers = ["192.0.2.53"]\nsearch = ["corpus.test"]\ncertificates = ["ours.pem"]\n'
        '[apt]\nproxies = { http = "http://proxy.test:3128" }\n'
        '[pip]\nindex-url = "https://index.test/simple"\n'
    )
    given = settings.load(file)
    assert given == replace(
        own,
        nameservers=("192.0.2.53",),
        search=("corpus.test",),
        certificates=given.certificates,
        apt_proxies=given.apt_proxies,
        pip=given.pip,
    )
    cache = scratch(image_cache, tmp_path / "cache", image, "base", "salt", "environment")
    made = builder.build(ENVIRONMENT, given, cache, report=quiet)
    assert digests(made)["salt"] == digests(image)["salt"]
    top = tmp_path / "top"
    top.mkdir()
    Local().run(layers.unpack(made.archive(made.layers[-1]), top))
    assert (top / "etc/resolv.conf").read_text() == "search corpus.test\nnameserver 192.0.2.53\n"
    assert "https://index.test/simple" in (top / "etc/pip.conf").read_text()
    assert "proxy.test:3128" in (top / "etc/apt/apt.conf.d/90corpus-proxy").read_text()
    assert (top / "etc/apt/sources.list").read_text().splitlines() == list(given.apt_sources)
    body = "".join(certificate.read_text().splitlines()[1:-1])
    bundle = (top / "etc/ssl/certs/ca-certificates.crt").read_text()
    assert body in bundle.replace("\n", "")


@pytest.fixture
def root(image: Image, tmp_path: Path) -> Path:
    """Return the image unpacked in a plain directory."""
    store.unpack(image.directory, tmp_path / "root", subvolumes=False)
    return tmp_path / "root"


def test_it_has_no_identity_and_no_needless_units(root: Path) -> None:
    assert (root / "etc/machine-id").read_bytes() == b""
    assert not (root / "etc/hostname").exists()
    assert list((root / "etc/ssh").glob("ssh_host_*")) == []
    assert list((root / "dev").iterdir()) == []
    assert "root:*:" in (root / "etc/shadow").read_text()
    assert list((root / "var/lib/apt/lists").iterdir()) == []
    units = root / "etc/systemd/system"
    for unit in ("apt-daily.timer", "getty@.service", "systemd-networkd.service"):
        assert (units / unit).readlink() == Path("/dev/null")
    wanted = units / "ssh.service.requires/corpus-hostkey.service"
    assert wanted.readlink() == Path("/etc/systemd/system/corpus-hostkey.service")
    assert (root / "usr/local/bin/salt-call").readlink() == Path("/opt/corpus/bin/salt-call")


def test_salt_finds_our_modules_and_all_is_compiled(root: Path) -> None:
    site = root / "opt/corpus/lib/python3.11/site-packages"
    for name in ("salt/loader/lazy.py", "corpus/model/errors.py"):
        path = site / name
        compiled = path.parent / "__pycache__" / f"{path.stem}.cpython-311.pyc"
        # PEP 552: bit 0 a hash instead of a time, bit 1 unset: never checked.
        assert compiled.read_bytes()[4:8] == (1).to_bytes(4, "little")
    call = "/usr/local/bin/salt-call --local --out=json sys.list_modules mc_project corpus_node"

    def work() -> str:
        Local().run(layers.mount_kernel("proc", root / "proc"))
        Local().run(layers.mount_devices(root / "dev"))
        return Local().run(["chroot", str(root), *call.split()]).out

    assert set(json.loads(isolated.run(work))["local"]) == {"mc_project", "corpus_node"}


def test_an_import_shares_what_is_there(
    image_cache: Path, own: Settings, image: Image, pool: Path, tmp_path: Path
) -> None:
    node = builder.build(NODE, own, image_cache, tmp_path / "node", report=quiet)
    first = store.import_image(image.directory, pool, subvolumes=True)
    assert first.name == f"{image.digest[:12]}-4"
    start = time.monotonic()
    second = store.import_image(node.directory, pool, subvolumes=True)
    shared = time.monotonic() - start
    assert subvolumes.is_subvolume(second)
    assert (second / "usr/bin/lxc-start").exists()
    assert not (first / "usr/bin/lxc-start").exists()
    assert store.root_of(image, pool, 2) == store.root_of(node, pool, 2)

    def again() -> None:
        assert store.import_image(image.directory, pool, subvolumes=True) == first

    assert quickest(again, 3) < 0.1
    assert shared < 5
    assert not list(pool.glob(".*.partial"))


def test_damaged_archives_and_taken_targets_are_refused(image: Image, tmp_path: Path) -> None:
    with pytest.raises(Conflict):
        store.unpack(image.directory, tmp_path, subvolumes=False)
    copy = tmp_path / "copy"
    shutil.copytree(image.directory, copy)
    base = manifest.load(copy).layers[0]
    with (copy / base.file).open("r+b") as file:
        file.seek(base.size // 2)
        file.write(b"damage")
    with pytest.raises(InvalidInput, match="layer base is damaged"):
        store.unpack(copy, tmp_path / "root", subvolumes=False)
    assert not (tmp_path / "root").exists()
    assert not list(tmp_path.glob(".*.partial"))


@pytest.fixture
def pool(tmp_path: Path) -> Iterator[Path]:
    """Return a directory on a btrfs of its own."""
    host, file, mounted = Local(), tmp_path / "pool.img", tmp_path / "pool"
    mounted.mkdir()
    host.run(["truncate", "--size=4G", str(file)])
    host.run(["mkfs.btrfs", "--quiet", str(file)])
    host.run(["mount", "-o", "loop", str(file), str(mounted)])
    try:
        yield mounted
    finally:
        host.run(["umount", str(mounted)])
    assert str(mounted) not in Path("/proc/self/mountinfo").read_text()
