"""Salt's errors and results in the words of the person who pushed: file, line, output."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from corpus.model.errors import PhaseFailed

_MEND = "correct the file and push again"
_CONTEXT = 3
_IMPORTED = re.compile(
    r"^/\S*/makina-projects/[^/\s]+/(?P<file>\S+?)\((?P<line>\d+)\):\n---\n(?P<excerpt>.*)^---",
    re.MULTILINE | re.DOTALL,
)


def render_error(
    error: Any, default: str, source: str = "", rendered: str = ""
) -> tuple[str, str, str]:
    """Return what, where and mend of a SaltRenderError.

    ``source`` is the text of the template ``default``, ``rendered`` what was read as YAML.
    An error in what a macro rendered names a line of that: it is sought in the source.
    """
    message = str(error.error).strip()
    imported = _IMPORTED.search(message)
    if imported:
        # Jinja's own place, within a file that our small template imports.
        what = f"{message[: imported.start()].strip()}\n{imported['excerpt'].strip()}"
        return what, f".salt/{imported['file']}, line {imported['line']}", _MEND
    mark = getattr(error.error, "problem_mark", None)
    line = mark.line + 1 if mark else getattr(error, "line_num", None)
    buffer = str(getattr(error, "buffer", "") or rendered)
    if not line or not buffer:
        return message, default, _MEND
    text = buffer.splitlines()
    faulty = text[line - 1] if line <= len(text) else ""
    known = _line_of(faulty, source) if source and buffer.strip() != source.strip() else line
    where = f"{default}, line {known}" if known else f"{default}, line {line} of what it rendered"
    return f"{message}\n{excerpt(buffer, line)}", where, _MEND


def _line_of(faulty: str, source: str) -> int:
    """Return the one line of ``source`` that reads as ``faulty``; 0 when none or several do."""
    wanted = faulty.strip()
    found = [
        n for n, line in enumerate(source.splitlines(), 1) if wanted and line.strip() == wanted
    ]
    return found[0] if len(found) == 1 else 0


def excerpt(text: str, line: int) -> str:
    """Return the lines about ``line``, numbered, the faulty one marked."""
    lines = text.splitlines()
    first = max(0, line - 1 - _CONTEXT)
    return "\n".join(
        f"{'>' if number == line else ' '} {number:4} | {content}"
        for number, content in enumerate(lines[first : line + _CONTEXT], first + 1)
    )


def compile_errors(phase: str, errors: Sequence[Any], source: str) -> PhaseFailed:
    """Return the error of a phase whose states do not compile."""
    said = "\n".join(str(error).strip() for error in errors)
    number = next((n for n in (_line_of_id(str(error), source) for error in errors) if n), 0)
    where = f".salt/top.sls, line {number}" if number else ".salt/top.sls"
    return PhaseFailed(f"{phase} does not compile\n{said}", where, _MEND)


def _line_of_id(text: str, source: str) -> int:
    """Return the line of the first quoted name in ``text`` that begins a line of ``source``."""
    for quoted in re.findall(r"['\"]([^'\"]{2,80})['\"]", text):
        for number, line in enumerate(source.splitlines(), 1):
            if line.strip().startswith((f"{quoted}:", f"- {quoted}", f"{quoted} ")):
                return number
    return 0


def state_line(low: Mapping[str, Any], result: Any) -> str:
    """Return one line about a state that ended."""
    name = str(low.get("__id__", low.get("name", "")))
    function = f"{low.get('state', '')}.{low.get('fun', '')}"
    chunk = result if isinstance(result, Mapping) else {}
    mark = "changed" if chunk.get("changes") else "ok"
    if chunk.get("result") is False:
        mark = "FAILED"
    elif chunk.get("result", True) is None:
        mark = "would change"  # test=True
    seconds = float(chunk.get("duration") or 0) / 1000
    return f"{mark:7} {name} ({function}, {seconds:.1f} s)"


def failed_states(phase: str, result: Mapping[str, Any], root: Path) -> PhaseFailed:
    """Return the error of a phase: its first failed state with comment, exit code, output."""
    chunks = sorted(result.items(), key=lambda item: item[1].get("__run_num__", 0))
    failed = [(tag, chunk) for tag, chunk in chunks if chunk.get("result") is False]
    tag, chunk = failed[0] if failed else chunks[0]
    module, _, rest = tag.partition("_|-")
    identity = str(chunk.get("__id__") or rest.partition("_|-")[0])
    function = f"{module}.{tag.rpartition('_|-')[2]}"
    said = [f"{phase}: the state {identity!r} ({function}) failed", str(chunk.get("comment", ""))]
    changes = chunk.get("changes") or {}
    if isinstance(changes, Mapping):
        if "retcode" in changes:
            said.append(f"exit code {changes['retcode']}")
        said += [tail(str(changes[key])) for key in ("stdout", "stderr") if changes.get(key)]
    number, file = _place_of(identity, root)
    return PhaseFailed(
        "\n".join(line for line in said if line),
        f"{file}, line {number}" if number else file,
        _MEND,
    )


def _place_of(identity: str, root: Path) -> tuple[int, str]:
    for path in sorted(root.rglob("*.sls")):
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1):
            if (
                line.strip()
                .strip("'\"")
                .startswith((f"{identity}:", f'{identity}":', f"{identity}':"))
            ):
                return number, f".salt/{path.relative_to(root)}"
    return 0, ".salt/top.sls"


def tail(text: str, lines: int = 30) -> str:
    """Return the last ``lines`` lines of ``text``."""
    return "\n".join(text.strip().splitlines()[-lines:])
