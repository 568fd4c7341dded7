"""The last layer: our own code in the virtual environment, our system files, the settings."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from corpus.commands import pip
from corpus.images import keys, runtime, system
from corpus.images.recipes import Recipe
from corpus.images.settings import Settings
from corpus.images.source import Checkout
from corpus.images.workspace import Tree, Workspace

CERTIFICATES = "/usr/local/share/ca-certificates"


def key(recipe: Recipe, settings: Settings, source: str, lower: Sequence[str]) -> str:
    """Return the key of the code layer above layers with the digests ``lower``."""
    return keys.key(
        f"code-{recipe.name}", source=source, settings=settings.inputs(), lower=list(lower)
    )


def make(
    space: Workspace, recipe: Recipe, settings: Settings, source: Checkout, wheel: Path, tools: Path
) -> Tree:
    """Install our wheel, put the system files and the settings in place, set the units."""
    *lower, name = recipe.layers
    with space.above(name, lower) as tree:
        space.show(tree, wheel, "/run/own")
        space.show(tree, tools, "/run/tools")
        runtime.install(tree, [f"/run/own/{path.name}" for path in sorted(wheel.glob("*.whl"))])
        tree.run(*pip.compile_all(runtime.PYTHON, f"{runtime.SITE}/corpus"))
        for kind in ("common", recipe.name):
            _put_files(tree, kind, source.system_files)
        _put_settings(tree, settings)
        made_of = {"name": recipe.name, "suite": settings.suite, "source": source.digest()}
        tree.write("/etc/corpus/image.json", json.dumps(made_of) + "\n")
        # Backups of account files would tell nothing; the base has none.
        tree.remove("etc/*-")
    tree.settle()
    return tree


def _put_files(tree: Tree, kind: str, folder: Path) -> None:
    for path, file in system.files(kind, folder).items():
        data = file.read_bytes()
        tree.write(path, data, system.mode_of(path, data))
    directives = system.read(kind, folder)
    if (folder / kind / "usr/lib/sysusers.d").is_dir():
        tree.run("systemd-sysusers")
    system.apply(directives, tree.root)
    for command in system.commands(directives):
        tree.run(*command)


def _put_settings(tree: Tree, settings: Settings) -> None:
    tree.write("/etc/resolv.conf", settings.resolv_conf())
    tree.write("/etc/pip.conf", settings.pip_conf())
    tree.write("/etc/apt/sources.list", "".join(f"{line}\n" for line in settings.apt_sources))
    if settings.apt_proxies:
        tree.write("/etc/apt/apt.conf.d/90corpus-proxy", settings.apt_conf())
    if settings.certificates:
        for name, text in settings.certificates:
            tree.write(f"{CERTIFICATES}/{name}", text)
        tree.run("update-ca-certificates")
