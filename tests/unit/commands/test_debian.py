from pathlib import Path

from corpus.commands import debian


def test_bootstrap() -> None:
    command = debian.bootstrap(
        "bookworm", "amd64", Path("/t"), ["git", "dbus"],
        dpkg_configuration=Path("/d"), apt_options=['A "1"'],
    )  # fmt: skip
    assert command[0] == "mmdebstrap"
    assert command[-3:] == ["bookworm", "/t", "-"]
    assert "--include=git,dbus" in command
    assert '--aptopt=A "1"' in command
    assert "--essential-hook=upload /d /etc/dpkg/dpkg.cfg.d/corpus" in command


def test_apt_inside() -> None:
    assert debian.inside(Path("/t"), debian.install(["lxc"], options=["A=1"])) == [
        "chroot", "/t", "apt-get", "--quiet", "--yes", "-o", "A=1",
        "--no-install-recommends", "install", "lxc",
    ]  # fmt: skip
    assert debian.update(options=["A=1"])[-3:] == ["A=1", "--error-on=any", "update"]


def test_what_dpkg_has_installed() -> None:
    assert debian.states(["git", "lxc"])[-3:] == [
        "--showformat=${db:Status-Abbrev} ${Package}\\n", "git", "lxc",
    ]  # fmt: skip
    text = "ii  git\nrc  lxc\nhi  zstd\niF  python3\nun  curl\n"
    assert debian.parse_installed(text) == {"git", "zstd"}
