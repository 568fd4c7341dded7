"""``python -m corpus.images build [environment|node|all]``."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from corpus.images import builder, settings
from corpus.images.recipes import RECIPES
from corpus.model.errors import CorpusError


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    root = argparse.ArgumentParser(prog="python -m corpus.images", description=__doc__)
    commands = root.add_subparsers(dest="command", required=True)
    build = commands.add_parser("build", help="make images, or find them in the cache (as root)")
    build.add_argument("image", nargs="?", default="all", choices=[*RECIPES, "all"])
    build.add_argument(
        "--cache", type=Path, default=builder.DEFAULT_CACHE, metavar="DIR",
        help="where finished layers are kept (default: %(default)s)",
    )  # fmt: skip
    build.add_argument(
        "--output", type=Path, metavar="DIR",
        help="the directory that gets a directory for each image (default: CACHE/out)",
    )  # fmt: skip
    build.add_argument(
        "--settings", type=Path, metavar="FILE",
        help=f"TOML file over what this machine says (default: {settings.DEFAULT_FILE})",
    )  # fmt: skip
    build.add_argument(
        "--refresh", action="store_true", help="fetch Debian's packages anew: newer ones, if any"
    )
    return root


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    options = parser().parse_args(arguments)
    chosen = list(RECIPES.values()) if options.image == "all" else [RECIPES[options.image]]
    output = options.output or options.cache / "out"
    start = time.monotonic()
    try:
        images = builder.build_all(
            {recipe: output / recipe.name for recipe in chosen},
            settings.load(options.settings),
            options.cache,
            refresh=options.refresh,
        )
    except KeyboardInterrupt:
        print("interrupted: finished layers are kept", file=sys.stderr)
        return 130
    except CorpusError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    for image in images:
        print(f"{image.name}\t{image.digest[:12]}\t{image.size / 1e6:.0f} MB\t{image.directory}")
    builder.say(f"done in {time.monotonic() - start:.1f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
