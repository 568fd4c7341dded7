"""The layer ``salt``: a virtual environment with Salt, compiled, at /opt/corpus."""

from __future__ import annotations

from pathlib import Path

from corpus.commands import pip
from corpus.images import keys, wheelhouse
from corpus.images.workspace import Tree, Workspace

HOME = "/opt/corpus"
PYTHON = f"{HOME}/bin/python"
SITE = f"{HOME}/lib/python{wheelhouse.PYTHON[0]}.{wheelhouse.PYTHON[1]}/site-packages"

UNWANTED = (
    "*/test",
    "*/tests",
    "*/SelfTest",
    "**/*.pyi",
)
"""Below site-packages: tests of the packages, and what only type checkers read."""


def key(base: str, lock: str) -> str:
    """Return the key of Salt's layer above the base with the digest ``base``."""
    return keys.key("salt", base=base, wheels=wheelhouse.wheels_key(lock), unwanted=UNWANTED)


def make(space: Workspace, wheels: Path, tools: Path) -> Tree:
    """Install the wheels in a virtual environment of the image's own Python."""
    with space.above("salt", ["base"]) as tree:
        space.show(tree, wheels, "/run/wheels")
        space.show(tree, tools, "/run/tools")
        tree.run("/usr/bin/python3", "-m", "venv", "--without-pip", HOME)
        files = sorted(f"/run/wheels/{path.name}" for path in wheels.glob("*.whl"))
        install(tree, files)
        tree.remove(*(f"{SITE.lstrip('/')}/{pattern}" for pattern in UNWANTED))
        tree.run(*pip.compile_all(PYTHON, SITE))
    tree.settle()
    return tree


def install(tree: Tree, files: list[str]) -> None:
    """Install wheels; the tools are shown at /run/tools."""
    environment = {
        "PYTHONPATH": "/run/tools",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PIP_ROOT_USER_ACTION": "ignore",
        "PIP_CONFIG_FILE": "/dev/null",
    }
    tree.run(*pip.install_wheels(PYTHON, files), environment=environment)
