"""A project's phases by Salt: render the macro, compile what it gives, run it.

``common`` reaches every macro by reference, because all phases of a deployment are
rendered and run in one process, by one HighState (``engine``).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import salt.utils.state
from salt.exceptions import SaltException, SaltRenderError

from corpus.model.errors import InvalidInput, PhaseFailed
from corpus.project.phases import EXTRA, PHASES, Tally
from corpus.project.place import Project
from corpus.saltext import explain
from corpus.saltext.engine import Engine

_IMPORT = '{{% import "makina-projects/{name}/top.sls" as project with context %}}'


class SaltPhases:
    """Compile and run a project's macros (the ``PhaseRunner`` of corpus.project)."""

    def __init__(
        self,
        engine: Engine,
        project: Project,
        overrides: Mapping[str, Any] | None = None,
    ) -> None:
        self.engine = engine
        self.project = project
        self._overrides = overrides
        self._pillar: dict[str, Any] | None = None
        self._macros: frozenset[str] | None = None
        engine.show(project)

    def close(self) -> None:
        """Remove the scratch space, which holds rendered states and so may hold secrets."""
        self.engine.close()

    # -- configuration

    def pillar(self) -> Mapping[str, Any]:
        """Return the project's compiled pillar; empty when none was pushed."""
        if self._pillar is None:
            self._pillar = {}
            if (self.project.paths.pillar / "init.sls").is_file():
                self._pillar = _checked(self.engine.project_pillar(), "the project's pillar")
            self.engine.set_pillar(self._pillar)
        return self._pillar

    def overrides(self) -> Mapping[str, Any]:
        """Return the environment's own pillar, from a master or from its pillar roots."""
        if self._overrides is None:
            root = self.project.place.prefix / "pillar"
            self._overrides = {}
            if (root / "top.sls").is_file():
                compiled = self.engine.environment_pillar(root)
                self._overrides = _checked(compiled, "the environment's pillar")
        return self._overrides

    def sample(self) -> Mapping[str, Any]:
        """Return what ``.salt/PILLAR.sample`` says, rendered as a pillar is."""
        path = self.project.paths.salt / "PILLAR.sample"
        if not path.is_file():
            return {}
        try:
            text = path.read_text(errors="replace")
            if not text.strip():  # which Salt's renderers trip over
                return {}
            found = self.engine.compile(text, "jinja|yaml", {}, self._sls)
        except SaltRenderError as error:
            place = explain.render_error(error, ".salt/PILLAR.sample", rendered=text)
            raise InvalidInput(*place) from None
        if found and not isinstance(found, Mapping):
            raise InvalidInput("not a mapping", where=".salt/PILLAR.sample")
        return found or {}

    # -- phases

    @property
    def _sls(self) -> str:
        return f"makina-projects.{self.project.name}.top"

    def has(self, phase: str) -> bool:
        """Tell whether ``top.sls`` defines the macro."""
        if self._macros is None:
            names = [*PHASES, *EXTRA]
            tests = ", ".join(f'"{name}": project.{name} is defined' for name in names)
            text = _IMPORT.format(name=self.project.name) + "{{ {" + tests + "} | json }}"
            rendered = self._render(text, {"common": {}}, "top.sls")
            self._macros = frozenset(k for k, there in json.loads(rendered).items() if there)
        return phase in self._macros

    def check(self, phase: str, common: dict[str, Any]) -> int:
        """Render a phase and compile it, without running it; return how many states it has."""
        high = self._high_data(phase, common)
        state, chunks = self.engine.state, []
        high, errors = state.reconcile_extend(high)
        errors = [*errors, *state.verify_high(high)]
        if not errors and high:
            high, errors = state.requisite_in(high)
        if not errors and high:
            chunks, errors = state.compile_high_data(state.apply_exclude(high))
            errors = [*errors, *self._unknown_functions(chunks)]
        if errors:
            raise explain.compile_errors(phase, errors, self._source())
        return len(chunks)

    def _unknown_functions(self, chunks: list[dict[str, Any]]) -> list[str]:
        states = self.engine.state.states
        named = {f"{chunk['state']}.{chunk['fun']}": chunk["__id__"] for chunk in chunks}
        return [
            f"'{identity}': there is no state function {function}"
            for function, identity in named.items()
            if function not in states
        ]

    def run(self, phase: str, common: dict[str, Any], progress: Callable[[str], None]) -> Tally:
        """Run a phase; each state is told to ``progress`` as it ends."""
        return self._call(phase, self._high_data(phase, common), progress)

    def preview(self, phase: str, common: dict[str, Any], progress: Callable[[str], None]) -> Tally:
        """Tell what the states of a phase would change, by Salt's ``test=True``."""
        opts = self.engine.state.states.opts
        before, opts["test"] = opts["test"], True
        try:
            return self._call(phase, self._high_data(phase, common), progress)
        finally:
            opts["test"] = before

    def task(self, name: str, common: dict[str, Any], progress: Callable[[str], None]) -> Tally:
        """Run ``.salt/task_<name>.sls``, which finds ``common`` as a macro does."""
        path = f"makina-projects/{self.project.name}/task_{name}.sls"
        text = self._render('{% include "' + path + '" %}', {"common": common}, f"task_{name}")
        return self._call(f"task_{name}", self._compiled(f"task_{name}", text), progress)

    def _call(self, phase: str, high: dict[str, Any], progress: Callable[[str], None]) -> Tally:
        if not high:
            return Tally()
        state = self.engine.state
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
        return self._compiled(phase, self._render(call, {"common": common}, phase))

    def _compiled(self, phase: str, text: str) -> dict[str, Any]:
        if not text.strip():
            return {}
        high, errors = self.engine.high_data(phase, text)
        if errors:
            self._yaml(text, phase)
            raise explain.compile_errors(phase, errors, self._source())
        return high

    def _yaml(self, text: str, phase: str) -> None:
        """Raise PhaseFailed with the place of a YAML error, which the HighState loses."""
        try:
            self.engine.compile(text, "yaml", {}, self._sls)
        except SaltRenderError as error:
            raise self._failed(phase, error, text) from None

    def _render(self, text: str, context: dict[str, Any], phase: str) -> str:
        try:
            rendered = self.engine.compile(text, "jinja", context, self._sls)
        except SaltRenderError as error:
            raise self._failed(phase, error) from None
        except SaltException as error:
            raise PhaseFailed(f"{phase} does not render: {error}", where=".salt/top.sls") from None
        return str(rendered.read()) if hasattr(rendered, "read") else str(rendered)

    def _failed(self, phase: str, error: Any, rendered: str = "") -> PhaseFailed:
        what, where, mend = explain.render_error(error, ".salt/top.sls", self._source(), rendered)
        how = "is not valid YAML" if rendered else "does not render"
        return PhaseFailed(f"{phase} {how}: {what}", where, mend)

    def _source(self) -> str:
        path = self.project.paths.salt / "top.sls"
        return path.read_text(errors="replace") if path.is_file() else ""


def _checked(compiled: dict[str, Any], where: str) -> dict[str, Any]:
    """Return a compiled pillar. Raises InvalidInput when a part of it did not compile."""
    errors = compiled.pop("_errors", [])
    if errors:
        said = "\n".join(str(error) for error in errors)
        raise InvalidInput(
            f"the pillar does not compile\n{said}",
            where=where,
            mend="correct it, push it, then push the code again",
        )
    return dict(compiled)


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
