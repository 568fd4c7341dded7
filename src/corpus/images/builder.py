"""Make images: each layer once, what is cached never again, what can at once in parallel."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from corpus.commands import layers
from corpus.hosts import isolated
from corpus.hosts.base import Host
from corpus.hosts.local import Local
from corpus.images import code, debian, runtime, source
from corpus.images.cache import Cache
from corpus.images.manifest import Image, Layer
from corpus.images.recipes import RECIPES, Recipe
from corpus.images.settings import Settings
from corpus.images.source import Checkout
from corpus.images.wheelhouse import Wheelhouse
from corpus.images.workspace import Tree, Workspace

DEFAULT_CACHE = Path("/var/cache/corpus/images")

Report = Callable[[str], None]


def say(line: str) -> None:
    """Report progress to a person."""
    print(f"image: {line}", file=sys.stderr, flush=True)


def build(
    recipe: Recipe,
    settings: Settings,
    cache: Path = DEFAULT_CACHE,
    output: Path | None = None,
    *,
    refresh: bool = False,
    report: Report = say,
) -> Image:
    """Return the image of ``recipe``, making the layers that ``cache`` lacks (as root).

    It lies in ``output`` (default: ``cache/out/<recipe name>``). ``refresh`` makes the
    packages' layers anew, since Debian's archive changes behind the same inputs. Raises
    CommandFailed when a step fails, Unsupported when this machine lacks something.
    """
    folder = output or cache / "out" / recipe.name
    return build_all({recipe: folder}, settings, cache, refresh=refresh, report=report)[0]


def build_all(
    wanted: dict[Recipe, Path],
    settings: Settings,
    cache: Path = DEFAULT_CACHE,
    *,
    refresh: bool = False,
    report: Report = say,
) -> list[Image]:
    """Return the images of several recipes, each in its directory; see `build`."""
    store = Cache(cache)
    checkout = source.here()
    plan = Plan(store, settings, checkout)
    with store.locked(lambda: report("waiting for another build in this cache")):
        found = {recipe: None if refresh else plan.cached(recipe) for recipe in wanted}
        if not all(found.values()):
            recipes = tuple(wanted)
            made = isolated.run(lambda: Maker(plan, report, refresh=refresh).make(recipes))
            found = dict(zip(recipes, made, strict=True))
        images = [
            Image(recipe.name, folder, found[recipe] or (), settings.suite, settings.arch)
            for recipe, folder in wanted.items()
        ]
        for image in images:
            store.write_image(image)
        store.prune()
    return images


class Plan:
    """The keys of all layers, as far as the digests of those below are known."""

    def __init__(self, cache: Cache, settings: Settings, checkout: Checkout) -> None:
        self.cache = cache
        self.settings = settings
        self.checkout = checkout
        self.source = checkout.digest()
        self.lock = checkout.lock("salt").read_text()

    def key(self, name: str, below: Sequence[Layer]) -> str:
        """Return the key of the layer ``name`` above the layers ``below``."""
        digests = [layer.digest for layer in below]
        if name == "base":
            return debian.base_key(self.settings)
        if name == "salt":
            return runtime.key(digests[0], self.lock)
        if name in RECIPES:
            return debian.packages_key(RECIPES[name], self.settings, digests[0])
        recipe = RECIPES[name.removeprefix("code-")]
        return code.key(recipe, self.settings, self.source, digests)

    def cached(self, recipe: Recipe) -> tuple[Layer, ...] | None:
        """Return the layers of ``recipe`` when the cache has them all."""
        found: list[Layer] = []
        for name in recipe.layers:
            layer = self.cache.layer(name, self.key(name, found))
            if layer is None:
                return None
            found.append(layer)
        return tuple(found)


class Maker:
    """One build: what is needed is made once, by a thread each, when what it needs is there."""

    def __init__(self, plan: Plan, report: Report, *, refresh: bool) -> None:
        checkout = plan.checkout.copied(plan.cache.work / "source")
        self.plan = Plan(plan.cache, plan.settings, checkout)
        self.report = report
        self.refresh = refresh
        self.host: Host = Local()
        self.space = Workspace(plan.cache.work / "trees", self.host)
        self.wheelhouse = Wheelhouse(self.host, plan.cache, checkout, plan.settings)
        self._pool = ThreadPoolExecutor(16)
        self._needs: dict[str, Future[Any]] = {}
        self._guard = threading.RLock()

    def make(self, recipes: Sequence[Recipe]) -> list[tuple[Layer, ...]]:
        """Return the layers of each recipe. The first failure ends the build."""
        try:
            last = [self._layer(recipe.layers[-1]) for recipe in recipes]
            for future in last:
                future.result()
            return [
                tuple(self._layer(name).result() for name in recipe.layers) for recipe in recipes
            ]
        finally:
            self._pool.shutdown(wait=False, cancel_futures=True)

    def _need(self, name: str, work: Callable[[], Any]) -> Future[Any]:
        """Return the future of ``work``, begun at the first call with ``name``."""
        with self._guard:
            if name not in self._needs:
                self._needs[name] = self._pool.submit(work)
            return self._needs[name]

    def _layer(self, name: str) -> Future[Layer]:
        return self._need(name, lambda: self._make_layer(name))

    def _tools(self) -> Path:
        tools: Path = self._need("tools", self.wheelhouse.tools).result()
        return tools

    def _wheels(self) -> Path:
        tools = self._tools()
        return self._timed("wheels", lambda: self.wheelhouse.wheels(tools))

    def _own(self) -> Path:
        return self.wheelhouse.own(self._tools())

    def _timed(self, what: str, work: Callable[[], Path]) -> Path:
        start = time.monotonic()
        value = work()
        if (spent := time.monotonic() - start) > 0.1:
            self.report(f"{what}: {spent:.1f} s")
        return value

    def _below(self, name: str) -> list[str]:
        """Return the names of the layers that ``name`` is made above."""
        if name == "base":
            return []
        if not name.startswith("code-"):
            return ["base"]
        return list(RECIPES[name.removeprefix("code-")].layers[:-1])

    def _make_layer(self, name: str) -> Layer:
        """Return the layer from the cache, or make it above those below, and pack it."""
        self._prefetch(name)
        below = [self._layer(lower).result() for lower in self._below(name)]
        key = self.plan.key(name, below)
        renew = self.refresh and (name == "base" or name in RECIPES)
        found = None if renew else self.plan.cache.layer(name, key)
        if found is not None:
            return found
        for layer in below:
            self._tree(layer).result()
        start = time.monotonic()
        tree = self._make_tree(name)
        packed = self.plan.cache.work / f"{name}.tar.zst"
        self._pack(tree, packed)
        made = self.plan.cache.add(name, key, packed)
        self._needs[f"tree {name}"] = _done(tree)
        self.report(f"{name}: {time.monotonic() - start:.1f} s, {made.size / 1e6:.1f} MB")
        return made

    def _prefetch(self, name: str) -> None:
        """Begin what needs no layer below while those are made."""
        if name.startswith("code-"):
            self._need("own", self._own)
            for lower in self._below(name):
                self._layer(lower)
        if name == "salt" and not self._has_salt():
            self._need("wheels", self._wheels)

    def _has_salt(self) -> bool:
        cache = self.plan.cache
        base = None if self.refresh else cache.layer("base", self.plan.key("base", []))
        return base is not None and cache.layer("salt", self.plan.key("salt", [base])) is not None

    def _tree(self, layer: Layer) -> Future[Any]:
        """Have the tree of a finished layer in the workspace."""
        archive = self.plan.cache.archive(layer)
        return self._need(f"tree {layer.name}", lambda: self.space.unpack(layer.name, archive))

    def _make_tree(self, name: str) -> Tree:
        settings = self.plan.settings
        if name == "base":
            return debian.make_base(self.space, settings)
        if name == "salt":
            wheels = self._need("wheels", self._wheels).result()
            return runtime.make(self.space, wheels, self._tools())
        if name in RECIPES:
            return debian.make_packages(self.space, RECIPES[name], settings)
        own = self._need("own", self._own).result()
        recipe = RECIPES[name.removeprefix("code-")]
        return code.make(self.space, recipe, settings, self.plan.checkout, own, self._tools())

    def _pack(self, tree: Tree, packed: Path) -> None:
        self.host.run(layers.pack(tree.upper, packed))


def _done(value: object) -> Future[Any]:
    future: Future[Any] = Future()
    future.set_result(value)
    return future
