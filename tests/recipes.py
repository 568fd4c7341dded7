"""Texts of ``.salt/top.sls`` for tests."""

from __future__ import annotations

import json


def macro(phase: str, *states: str) -> str:
    """Return the macro of one phase."""
    return f"{{% macro {phase}(common) %}}\n" + "\n".join(states) + "\n{% endmacro %}\n"


def run(name: str, command: str, *more: str) -> str:
    """Return a ``cmd.run`` state."""
    lines = [f"{name}:", "  cmd.run:", f"    - name: {json.dumps(command)}"]
    return "\n".join([*lines, *(f"    - {line}" for line in more)])


BUILD = macro("build", run("copy", "cp {{ common.paths.project }}/app {{ common.paths.run }}/"))
