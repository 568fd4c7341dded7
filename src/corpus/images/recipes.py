"""Which layers an image has, and what each is made from.

Both images stand on the same base and the same Salt; what either needs beyond comes above them,
so that what takes long is made once.
"""

from __future__ import annotations

from dataclasses import dataclass

from corpus.model.errors import NotFound

BASE_PACKAGES = (
    "ca-certificates",
    "curl",
    "dbus",
    "git",
    "iproute2",
    "nftables",
    "openssh-server",
    "python3",
    "python3-venv",
    "rsync",
    "systemd",
    "systemd-sysv",
    "zstd",
)

ENVIRONMENT_PACKAGES = ("haproxy",)  # for those of role proxy; it is off in others
NODE_PACKAGES = ("btrfs-progs", "haproxy", "kmod", "lego", "lxc", "lxcfs", "openssl", "uidmap")


@dataclass(frozen=True)
class Recipe:
    """An image's name and the Debian packages that it has beyond the base."""

    name: str
    packages: tuple[str, ...] = ()

    @property
    def layers(self) -> tuple[str, ...]:
        """The names of its layers, the lowest first."""
        extra = (self.name,) if self.packages else ()
        return ("base", "salt", *extra, f"code-{self.name}")


ENVIRONMENT = Recipe("environment", ENVIRONMENT_PACKAGES)
NODE = Recipe("node", NODE_PACKAGES)
RECIPES = {recipe.name: recipe for recipe in (ENVIRONMENT, NODE)}


def named(name: str) -> Recipe:
    """Return the recipe called ``name``. Raises NotFound."""
    try:
        return RECIPES[name]
    except KeyError:
        raise NotFound(f"no image is called {name}", mend=f"one of: {', '.join(RECIPES)}") from None
