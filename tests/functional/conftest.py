"""The real Salt on a scratch environment: one warm engine, forked for each deployment."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import salt.loader
import salt.minion

from corpus.hosts import kernel
from corpus.model.deployment import DeploymentId
from corpus.project.deployment import MakeRunner
from corpus.project.place import Project
from corpus.saltext.engine import Engine
from corpus.saltext.phases import SaltPhases
from corpus.saltext.service import minion_options
from projects import Scratch, in_child, place_at

CONFIG = """\
file_client: local
id: scratch
root_dir: {folder}/salt
pki_dir: {folder}/salt/pki
cachedir: {folder}/salt/cache
log_file: {folder}/salt/log
grains_cache: False
enable_fqdns_grains: False
corpus:
  prefix: {folder}/srv
  socket: {folder}/sock
  etc: {folder}/etc
  units: {folder}/units
  accounts: false
  firewall: false
  systemd: false
"""


@pytest.fixture(scope="session", autouse=True)
def _quiet() -> Iterator[None]:
    """Switch Salt's logging off, as the deploy service does: what failed is in our own log."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


@pytest.fixture(scope="session")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Return the directory of an environment that all projects of the tests share."""
    if os.geteuid() != 0:
        pytest.skip("mounts: needs root")
    folder = tmp_path_factory.mktemp("environment")
    (folder / "salt" / "cache").mkdir(parents=True)
    (folder / "minion").write_text(CONFIG.format(folder=folder))
    yield folder
    assert str(folder) not in Path("/proc/self/mountinfo").read_text()


@pytest.fixture(scope="session")
def opts(environment: Path) -> dict[str, Any]:
    """Return the options of a minion, as the deploy service has them."""
    options = minion_options(str(environment / "minion"))
    options["corpus"] = dict(options["corpus"])
    return options


@pytest.fixture(scope="module")
def engine(environment: Path, opts: dict[str, Any]) -> Iterator[Engine]:
    """Return the engine, warm. One a module: Salt's own modules know the newest one only."""
    folder = environment / "engine"
    folder.mkdir(exist_ok=True)
    kernel.make_coverable(folder)
    try:
        engine = Engine(opts, folder, place_at(environment).prefix)
        engine.warm()
        yield engine
    finally:
        kernel.unmount(folder)


@pytest.fixture(scope="module")
def make_runner(engine: Engine) -> MakeRunner:
    """Return what makes the engine of a deployment, as the deploy service does."""

    def make(project: Project, _identity: DeploymentId) -> SaltPhases:
        engine.isolate()
        return SaltPhases(engine, project)

    return make


@pytest.fixture(scope="session")
def _numbers() -> Iterator[int]:
    return count()


@pytest.fixture
def new(environment: Path, _numbers: Iterator[int]) -> Callable[[], Scratch]:
    """Return what makes a project of a name of its own."""
    return lambda: Scratch(environment, f"p{next(_numbers)}")


@pytest.fixture
def scratch(new: Callable[[], Scratch]) -> Scratch:
    """Return a project with nothing deployed."""
    return new()


@pytest.fixture(scope="module")
def standing(environment: Path, _numbers: Iterator[int], make_runner: MakeRunner) -> Scratch:
    """Return a project with a live version, for what must not change it."""
    scratch = Scratch(environment, f"p{next(_numbers)}")
    top = "{% macro build(common) %}\nversion:\n  file.managed:\n"
    top += "    - name: {{ common.paths.run }}/version\n    - contents: one\n{% endmacro %}\n"
    (scratch.paths.data / "db").write_text("of version 1\n")
    done = scratch.deploy(scratch.commit({".salt/top.sls": top}), make_runner)
    assert done.outcome == "live", done.text
    return scratch


@pytest.fixture(scope="module")
def functions(opts: dict[str, Any]) -> Any:
    # One a module: what is loaded last has its options in the modules that all loaders share.
    return salt.loader.minion_mods(dict(opts))


@pytest.fixture
def call(functions: Any) -> Callable[..., Any]:
    """Return what calls a function as the command line does, in a child."""

    def run(name: str, *args: str) -> tuple[Any, int]:
        function = functions[f"mc_project.{name}"]

        def work() -> tuple[Any, int]:
            positional, named = salt.minion.load_args_and_kwargs(
                function, list(args), data={"jid": "1"}
            )
            context = functions.pack["__context__"]
            context.pop("retcode", None)
            return function(*positional, **named), int(context.get("retcode", 0))

        return in_child(work)

    return run
