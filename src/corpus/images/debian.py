"""The layers that Debian's packages make: the base, and what a recipe has beyond it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from corpus.commands import debian
from corpus.images import keys
from corpus.images.recipes import BASE_PACKAGES, Recipe
from corpus.images.settings import BUNDLE, Settings
from corpus.images.workspace import ENVIRONMENT, Tree, Workspace

DPKG = """\
# What nobody reads in a container: manuals and translations.
path-exclude=/usr/share/man/*
path-exclude=/usr/share/info/*
path-exclude=/usr/share/locale/*
path-exclude=/usr/share/doc/*
path-include=/usr/share/doc/*/copyright
"""

APT = (
    'Acquire::Languages "none"',
    'APT::Install-Recommends "false"',
    'APT::Periodic::Enable "0"',
)

FETCHING = ("Acquire::Retries=3", "APT::Update::Error-Mode=any")

UNWANTED = (
    "dev/*",
    "etc/apt/sources.list",
    "etc/hostname",
    "etc/resolv.conf",
    "etc/ssh/ssh_host_*",
    "etc/*-",
    "tmp/*",
    "usr/share/info/*",
    "usr/share/locale/*",
    "usr/share/man/*",
    "var/cache/apt/*",
    "var/cache/debconf/*-old",
    "var/cache/ldconfig/aux-cache",
    "var/lib/apt/lists/*",
    "var/lib/dpkg/*-old",
    "var/lib/systemd/random-seed",
    "var/log/*.log",
    "var/log/apt/*",
    "var/log/faillog",
    "var/log/lastlog",
)
"""What an installation leaves that no image needs, that tells when it was, or is a secret."""


def base_key(settings: Settings) -> str:
    """Return the key of the base."""
    return keys.key(
        "base",
        suite=settings.suite,
        arch=settings.arch,
        sources=settings.apt_sources,
        packages=BASE_PACKAGES,
        dpkg=DPKG,
        apt=APT,
        unwanted=UNWANTED,
    )


def packages_key(recipe: Recipe, settings: Settings, base: str) -> str:
    """Return the key of the packages of ``recipe`` above the base with the digest ``base``."""
    return keys.key(recipe.name, base=base, sources=settings.apt_sources, packages=recipe.packages)


def make_base(space: Workspace, settings: Settings) -> Tree:
    """Make the base: a Debian with systemd, sshd, git and Python, and no identity of its own."""
    tree = space.plain("base")
    configuration = space.root / "dpkg.cfg"
    configuration.write_text(DPKG)
    options = [option.replace("=", ' "', 1) + '"' for option in FETCHING]
    proxies = settings.apt_conf().replace(";\n", "\n").splitlines()
    command = debian.bootstrap(
        settings.suite,
        settings.arch,
        tree.root,
        BASE_PACKAGES,
        dpkg_configuration=configuration,
        apt_options=[*APT, *options, *proxies],
    )
    sources = "".join(f"{line}\n" for line in settings.apt_sources)
    space.host.run(
        command, stdin=sources, env=ENVIRONMENT | {"TMPDIR": str(space.root)}, timeout=1800
    )
    # mmdebstrap keeps the options that it was called with; proxies belong to the last layer.
    tree.write("/etc/apt/apt.conf.d/99mmdebstrap", "".join(f"{option};\n" for option in APT))
    _clean(tree)
    tree.write("/etc/machine-id", "", 0o444)
    tree.settle()
    return tree


def make_packages(space: Workspace, recipe: Recipe, settings: Settings) -> Tree:
    """Install the packages of ``recipe`` above the base."""
    with space.above(recipe.name, ["base"]) as tree:
        tree.write("/etc/apt/sources.list", "\n".join(settings.apt_sources) + "\n")
        tree.write("/etc/resolv.conf", Path("/etc/resolv.conf").read_bytes())
        tree.write("/run/apt.conf", settings.apt_conf())
        options = [*FETCHING, *_trust(tree)]
        environment = {"APT_CONFIG": "/run/apt.conf"}
        for command in (
            debian.update(options=options),
            debian.install(recipe.packages, options=options),
        ):
            tree.run(*command, environment=environment)
        _clean(tree, keep=("dev/*", "tmp/*"))
    tree.settle()
    return tree


def _trust(tree: Tree) -> list[str]:
    """Let apt inside trust what apt on this machine trusts, and leave no trace of it."""
    bundle = Path(BUNDLE)
    if not bundle.exists():
        return []
    tree.write("/run/trusted.crt", bundle.read_bytes())
    return ["Acquire::https::CaInfo=/run/trusted.crt"]


def _clean(tree: Tree, keep: Sequence[str] = ()) -> None:
    tree.remove(*(pattern for pattern in UNWANTED if pattern not in keep))
    for path in (tree.root / "usr/share/doc").glob("*/*"):
        if path.name != "copyright" and not path.is_dir():
            path.unlink()
