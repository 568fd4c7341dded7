"""A HighState that is made once and serves one deployment, or one in each forked child.

Making one takes Salt longer than most deployments need for all else, so the deploy service
makes it before it forks. Its paths cannot change after that: they lead into ``folder``,
which every child covers with a file system of its own (``isolate``), since with a shared
cache directory the local file client serves one project another project's files.
"""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import salt.pillar
import salt.state
import salt.template

from corpus.hosts import kernel
from corpus.project.place import Project

_PARTS = ("states", "pillar/makina-projects", "cache")
# What most recipes use: loaded before the fork, so that each child finds it in memory.
_USUAL = ("file.managed", "cmd.run", "test.nop", "service.running", "project_venv.installed")
# In Salt's errors, the name of our own file that a phase was written to.
_UNNAMED = re.compile(r" in SLS '[a-z_]+-\d+'")


class Engine:
    """Salt's renderers, file client, pillar compiler and state system, on one folder."""

    def __init__(self, base: Mapping[str, Any], folder: Path, prefix: Path) -> None:
        self.folder = folder
        self._lay_out()
        self._opts = _options(base, folder, prefix)
        self._pillar: dict[str, Any] = {}
        self._high = salt.state.HighState(self._opts, initial_pillar=self._pillar)
        self._compiler: Any = None

    def _lay_out(self) -> None:
        for part in _PARTS:
            (self.folder / part).mkdir(parents=True, exist_ok=True, mode=0o700)

    @property
    def state(self) -> Any:
        """Salt's State object, which runs high data."""
        return self._high.state

    def warm(self) -> None:
        """Load what most deployments use, and run a state that does nothing."""
        for name in _USUAL:
            _ = name in self.state.states
        self._pillar_compiler().compile_pillar()
        text = "warm:\n  test.nop: []\n  cmd.run:\n    - name: 'true'\n"
        self.compile("{{ salt['test.ping']() }}", "jinja", {}, "warm")
        high, _errors = self.high_data("warm", text)
        self.state.call_high(high)

    def isolate(self) -> None:
        """In a forked child: give the folder a file system that only this child sees."""
        kernel.cover(self.folder)
        self._lay_out()

    def show(self, project: Project) -> None:
        """Make the project's pillar the one that is compiled, its recipes those that are read."""
        name = project.name
        for part, target in (("pillar", project.paths.pillar), ("states", project.paths.salt)):
            link = self.folder / part / "makina-projects" / name
            link.parent.mkdir(exist_ok=True)
            link.unlink(missing_ok=True)
            link.symlink_to(target)
        top = self.folder / "pillar" / "top.sls"
        top.write_text(f"base:\n  '*':\n    - makina-projects.{name}\n")

    def close(self) -> None:
        """Remove the folder's content."""
        shutil.rmtree(self.folder, ignore_errors=True)

    # -- pillar

    def _pillar_compiler(self) -> Any:
        if self._compiler is None:
            self._compiler = _compiler(self._opts)
        return self._compiler

    def project_pillar(self) -> dict[str, Any]:
        """Return the shown project's pillar; under ``_errors`` what did not compile."""
        return dict(self._pillar_compiler().compile_pillar())

    def environment_pillar(self, root: Path) -> dict[str, Any]:
        """Return the pillar of the environment itself, whose top file lies in ``root``."""
        return dict(
            _compiler(self._opts | {"pillar_roots": {"base": [str(root)]}}).compile_pillar()
        )

    def set_pillar(self, pillar: Mapping[str, Any]) -> None:
        """Make ``pillar`` what templates and states see as theirs."""
        self._pillar.clear()
        self._pillar.update(pillar)
        self.state.opts["pillar"] = self._pillar
        # The renderers are wrapped in a filter by suffix, which has the loader within.
        for loader in (self.state.functions, self.state.states, self.state.rend._dict):
            loader.pack["__pillar__"] = self._pillar

    # -- rendering

    def compile(self, text: str, renderer: str, context: dict[str, Any], sls: str) -> Any:
        """Render ``text`` as the template ``sls``. Raises SaltRenderError, with its place."""
        return salt.template.compile_template(
            ":string:",
            self.state.rend,
            renderer,
            self._opts["renderer_blacklist"],
            self._opts["renderer_whitelist"],
            "base",
            sls,
            input_data=text,
            context=context,
        )

    def high_data(self, phase: str, text: str) -> tuple[dict[str, Any], list[Any]]:
        """Return the high data of YAML ``text``, its includes resolved, and the errors."""
        name = f"{phase}-{time.monotonic_ns()}"
        path = self.folder / "states" / f"{name}.sls"
        path.write_text(f"#!yaml\n{text}")
        path.chmod(0o600)
        high, errors = self._high.render_state(name, "base", set(), {"base": [name]})
        said = [_UNNAMED.sub("", str(error)) for error in errors or []]
        if high and not isinstance(high, Mapping):
            return {}, [*said, f"states are a mapping of their names, not {type(high).__name__}"]
        return dict(high or {}), said


def _options(base: Mapping[str, Any], folder: Path, prefix: Path) -> dict[str, Any]:
    return {
        **dict(base),
        "file_client": "local",
        # No minion listens here: without this, a state that changes a module or a package
        # (file.managed of a .py file, pkg.installed) tries for a second to tell one.
        "local": True,
        "cachedir": str(folder / "cache"),
        "extension_modules": str(folder / "cache" / "extmods"),
        "file_roots": {"base": [str(folder / "states"), str(prefix / "salt")]},
        "pillar_roots": {"base": [str(folder / "pillar")]},
        "fileserver_list_cache_time": 0,
        "fileserver_followsymlinks": True,
        "pillar_cache": False,
        "pillar_safe_render_error": False,  # who pushed it is who reads the error
        "failhard": True,  # the first failed state ends the phase
        "state_aggregate": False,
        "saltenv": "base",
        "pillarenv": "base",
        "pillar": {},
    }


def _compiler(opts: dict[str, Any]) -> Any:
    return salt.pillar.get_pillar(opts, opts["grains"], opts["id"], "base")
