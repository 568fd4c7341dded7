"""Salt as the engine of a project's phases: one HighState for all of a deployment.

``common`` reaches every macro by reference, because all phases are rendered and run in
this process. The HighState has a cache directory of its own: with a shared one the local
file client serves one project another project's files.
"""

from __future__ import annotations

import copy
import json
import shutil
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import salt.loader
import salt.pillar
import salt.state
import salt.template
import salt.utils.state
from salt.exceptions import SaltException, SaltRenderError

from corpus.model.deployment import DeploymentId
from corpus.model.errors import InvalidInput, PhaseFailed
from corpus.project.phases import EXTRA, PHASES, Tally
from corpus.project.place import Project
from corpus.saltext import explain

_IMPORT = '{{% import "makina-projects/{name}/top.sls" as project with context %}}'


def options(base: Mapping[str, Any], project: Project, folder: Path) -> dict[str, Any]:
    """Return Salt options of their own for one deployment; ``folder`` is its scratch space."""
    opts = copy.deepcopy(dict(base))
    prefix = project.place.prefix
    opts |= {
        "file_client": "local",
        "cachedir": str(folder / "cache"),
        "extension_modules": str(folder / "extmods"),
        "file_roots": {"base": [str(folder / "states"), str(prefix / "salt")]},
        "pillar_roots": {"base": [str(folder / "pillar"), str(project.paths.pillar)]},
        "fileserver_list_cache_time": 0,
        "fileserver_followsymlinks": True,
        "pillar_cache": False,
        "state_aggregate": False,
        "saltenv": "base",
        "pillarenv": "base",
        "pillar": {},
    }
    return opts


class SaltPhases:
    """Compile and run a project's macros (the ``PhaseRunner`` of corpus.project)."""

    def __init__(
        self,
        base: Mapping[str, Any],
        project: Project,
        deployment: DeploymentId,
        overrides: Mapping[str, Any] | None = None,
    ) -> None:
        self.project = project
        self.folder = project.paths.state / "salt" / str(deployment)
        shutil.rmtree(self.folder.parent, ignore_errors=True)
        for name in ("states", "pillar", "cache"):
            (self.folder / name).mkdir(parents=True, mode=0o700)
        self.opts = options(base, project, self.folder)
        self._overrides = overrides
        self._pillar: dict[str, Any] | None = None
        self._high: Any = None
        self._macros: frozenset[str] | None = None

    def close(self) -> None:
        """Remove the scratch space, which holds rendered states and so may hold secrets."""
        shutil.rmtree(self.folder.parent, ignore_errors=True)

    # -- configuration

    def pillar(self) -> Mapping[str, Any]:
        """Return the project's compiled pillar; empty when none was pushed."""
        if self._pillar is None:
            self._pillar = {}
            if (self.project.paths.pillar / "init.sls").is_file():
                (self.folder / "pillar" / "top.sls").write_text("base:\n  '*':\n    - init\n")
                self._pillar = self._compile_pillar(self.opts, "the project's pillar")
        return self._pillar

    def overrides(self) -> Mapping[str, Any]:
        """Return the environment's own pillar, from a master or from its pillar roots."""
        if self._overrides is None:
            root = self.project.place.prefix / "pillar"
            self._overrides = {}
            if (root / "top.sls").is_file():
                opts = self.opts | {"pillar_roots": {"base": [str(root)]}}
                self._overrides = self._compile_pillar(opts, "the environment's pillar")
        return self._overrides

    def _compile_pillar(self, opts: dict[str, Any], where: str) -> dict[str, Any]:
        opts = copy.deepcopy(opts)
        compiled = salt.pillar.get_pillar(
            opts, opts["grains"], opts["id"], "base"
        ).compile_pillar()
        errors = compiled.pop("_errors", [])
        if errors:
            said = "\n".join(str(error) for error in errors)
            raise InvalidInput(
                f"the pillar does not compile\n{said}",
                where=where,
                mend="correct it, push it, then push the code again",
            )
        return dict(compiled)

    def sample(self) -> Mapping[str, Any]:
        """Return what ``.salt/PILLAR.sample`` says, rendered as a pillar is."""
        path = self.project.paths.salt / "PILLAR.sample"
        if not path.is_file():
            return {}
        try:
            found = self._compile(path.read_text(), "jinja|yaml", {})
        except SaltRenderError as error:
            raise InvalidInput(*explain.render_error(error, ".salt/PILLAR.sample")) from None
        if not isinstance(found, Mapping):
            raise InvalidInput("not a mapping", where=".salt/PILLAR.sample")
        return found

    # -- phases

    @property
    def high_state(self) -> Any:
        """The one HighState, made at first use and with the project's pillar."""
        if self._high is None:
            pillar = dict(self.pillar())
            self.opts["pillar"] = pillar
            self._high = salt.state.HighState(self.opts, initial_pillar=pillar)
        return self._high

    def has(self, phase: str) -> bool:
        """Tell whether ``top.sls`` defines the macro."""
        if self._macros is None:
            names = [*PHASES, *EXTRA]
            tests = ", ".join(f'"{name}": project.{name} is defined' for name in names)
            text = _IMPORT.format(name=self.project.name) + "{{ {" + tests + "} | json }}"
            rendered = self._render(text, {"common": {}}, "top.sls")
            self._macros = frozenset(k for k, there in json.loads(rendered).items() if there)
        return phase in self._macros

    def check(self, phase: str, common: dict[str, Any]) -> None:
        """Render a phase and compile it to chunks, without running it."""
        high = self._high_data(phase, common)
        state = self.high_state.state
        high, errors = state.reconcile_extend(high)
        errors = [*errors, *state.verify_high(high)]
        if not errors and high:
            high, errors = state.requisite_in(high)
        if not errors and high:
            chunks, errors = state.compile_high_data(state.apply_exclude(high))
            errors = [*errors, *self._unknown_functions(chunks)]
        if errors:
            raise explain.compile_errors(phase, errors, self._source())

    def _unknown_functions(self, chunks: list[dict[str, Any]]) -> list[str]:
        states = self.high_state.state.states
        named = {f"{chunk['state']}.{chunk['fun']}": chunk["__id__"] for chunk in chunks}
        return [
            f"'{identity}': there is no state function {function}"
            for function, identity in named.items()
            if function not in states
        ]

    def run(self, phase: str, common: dict[str, Any], progress: Callable[[str], None]) -> Tally:
        """Run a phase; each state is told to ``progress`` as it ends."""
        high = self._high_data(phase, common)
        if not high:
            return Tally()
        state = self.high_state.state
        state.reset_run_num()
        state.pre = {}
        state.mod_init = set()
        with _telling(state, progress):
            result = state.call_high(high)
        if isinstance(result, list):
            raise explain.compile_errors(phase, result, self._source())
        failed = [chunk for chunk in result.values() if chunk.get("result") is False]
        if failed or not salt.utils.state.check_result(result):
            raise explain.failed_states(phase, result, self.project.paths.salt)
        changed = sum(1 for chunk in result.values() if chunk.get("changes"))
        return Tally(len(result), changed)

    # -- rendering

    def _high_data(self, phase: str, common: dict[str, Any]) -> dict[str, Any]:
        call = _IMPORT.format(name=self.project.name) + "{{ project." + phase + "(common) }}"
        text = self._render(call, {"common": common}, phase)
        if not text.strip():
            return {}
        name = f"{phase}-{time.monotonic_ns()}"
        path = self.folder / "states" / f"{name}.sls"
        path.write_text(f"#!yaml\n{text}")
        path.chmod(0o600)
        self._yaml(text, phase)
        matches = {"base": [name]}
        high, errors = self.high_state.render_state(name, "base", set(), matches)
        if errors:
            raise explain.compile_errors(phase, errors, text)
        return dict(high or {})

    def _yaml(self, text: str, phase: str) -> None:
        """Raise PhaseFailed with the place of a YAML error, which render_state loses."""
        try:
            self._compile(text, "yaml", {})
        except SaltRenderError as error:
            raise self._failed(phase, error) from None

    def _render(self, text: str, context: dict[str, Any], phase: str) -> str:
        try:
            rendered = self._compile(text, "jinja", context)
        except SaltRenderError as error:
            raise self._failed(phase, error) from None
        except SaltException as error:
            raise PhaseFailed(f"{phase} does not render: {error}", where=".salt/top.sls") from None
        return str(rendered.read()) if hasattr(rendered, "read") else str(rendered)

    def _compile(self, text: str, renderer: str, context: dict[str, Any]) -> Any:
        renderers = self.high_state.state.rend if self._high else self._early_renderers()
        return salt.template.compile_template(
            ":string:",
            renderers,
            renderer,
            self.opts["renderer_blacklist"],
            self.opts["renderer_whitelist"],
            "base",
            f"makina-projects.{self.project.name}.top",
            input_data=text,
            context=context,
        )

    def _early_renderers(self) -> Any:
        return salt.loader.render(self.opts, salt.loader.minion_mods(self.opts))

    def _failed(self, phase: str, error: Any) -> PhaseFailed:
        what, where, mend = explain.render_error(
            error, ".salt/top.sls", self._source()
        )
        return PhaseFailed(f"{phase} does not render: {what}", where, mend)

    def _source(self) -> str:
        path = self.project.paths.salt / "top.sls"
        return path.read_text(errors="replace") if path.is_file() else ""


class _telling:  # noqa: N801  reads as the verb it is
    """Within the block, tell ``progress`` of every state as it ends."""

    def __init__(self, state: Any, progress: Callable[[str], None]) -> None:
        self.state = state
        self.progress = progress

    def __enter__(self) -> None:
        inner = self.state.call

        def call(low: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
            result = inner(low, *args, **kwargs)
            self.progress(explain.state_line(low, result))
            return result

        self.state.call = call

    def __exit__(self, *_exc: object) -> None:
        del self.state.call


