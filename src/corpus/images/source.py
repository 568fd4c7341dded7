"""Our own code as an input of images: the checkout that this module runs from."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from corpus.images import keys
from corpus.model.errors import Unsupported

_BUILD_FILES = ("pyproject.toml", "README.md", "LICENSE")


@dataclass(frozen=True)
class Checkout:
    """A directory with pyproject.toml, ``src/`` and ``requirements/``."""

    root: Path

    @cached_property
    def files(self) -> list[Path]:
        """The files that the wheel is made from."""
        named = [self.root / name for name in _BUILD_FILES]
        return [*(path for path in named if path.is_file()),
                *keys.source_files(self.root / "src" / "corpus")]  # fmt: skip

    def digest(self) -> str:
        """Return the hash of all that the wheel and the system files are made from."""
        return keys.digest_of(self.files, self.root)

    def lock(self, name: str) -> Path:
        """Return the lock file called ``name``. Raises Unsupported where there is none."""
        path = self.root / "requirements" / f"{name}.lock"
        if not path.is_file():
            raise Unsupported(f"no lock file {path}", mend="make lock")
        return path

    @property
    def system_files(self) -> Path:
        """The directory of the system files that images get (see `system`)."""
        return self.root / "src" / "corpus" / "images" / "files"

    def copied(self, target: Path) -> Checkout:
        """Return a copy of it at ``target``: what is edited during a build is not in the image.

        Besides, setuptools writes beside what it builds from.
        """
        for path in [*self.files, *(self.root / "requirements").glob("*.lock")]:
            copy = target / path.relative_to(self.root)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, copy)
        return Checkout(target)


def here() -> Checkout:
    """Return the checkout of the running code. Raises Unsupported for an installed wheel."""
    root = Path(__file__).resolve().parents[3]
    if not (root / "pyproject.toml").is_file():
        raise Unsupported(
            "images are made from a checkout, and this is an installed package",
            where=str(root),
            mend="run it in a checkout of corpus, or import an image that was made elsewhere",
        )
    return Checkout(root)
