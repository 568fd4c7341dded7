"""The project's systemd units: linked from ``run/systemd``, so they come back with the code."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from corpus.commands import systemctl
from corpus.model.errors import CommandFailed, PhaseFailed
from corpus.project.place import Project

KINDS = (".service", ".socket", ".timer", ".target", ".path")
WANTS = "multi-user.target.wants"


def shipped(run: Path) -> list[Path]:
    """Return the unit files that a version brings, sorted."""
    folder = run / "systemd"
    if not folder.is_dir():
        return []
    return sorted(unit for unit in folder.iterdir() if unit.suffix in KINDS and unit.is_file())


def contents(run: Path) -> dict[str, bytes]:
    """Return the text of every unit file that ``run`` brings."""
    return {unit.name: unit.read_bytes() for unit in shipped(run)}


def names(project: Project) -> list[str]:
    """Return the units that ``run/`` brings and that may be stopped.

    No templates, which cannot be, and no unit of somebody else's that has the same name.
    """
    found = [unit.name for unit in shipped(project.paths.run) if not unit.stem.endswith("@")]
    return [name for name in found if foreign(project, name) is None]


def foreign(project: Project, unit: str) -> Path | None:
    """Return where a unit of this name lies that is not the project's, or None.

    An instance (``a@b.service``) is its template's where it has no file of its own. What a
    unit of the project's covers already is nobody else's.
    """
    place = project.place
    for name in _files_of(unit):
        if _is_ours(place.units / name, project.paths.run):
            return None
        for folder in (place.units, place.units / WANTS, *place.unit_folders):
            found = folder / name
            if found.exists() or found.is_symlink():
                return found
    return None


def is_linked(project: Project, unit: str) -> bool:
    """Tell whether systemd has a unit of this name from the project."""
    places = [project.place.units / name for name in _files_of(unit)]
    return any(_is_ours(place, project.paths.run) for place in places)


def _files_of(unit: str) -> list[str]:
    """Return the names of the files that may be a unit's, its template's last."""
    stem, kind = Path(unit).stem, Path(unit).suffix
    template = f"{stem.partition('@')[0]}@{kind}" if "@" in stem else unit
    return list(dict.fromkeys([unit, template]))


def link(project: Project, services: Sequence[str], before: dict[str, bytes]) -> None:
    """Make systemd know the units of ``run/`` and start ``services`` at boot.

    Links of the project's to units that are no longer there are removed. systemd reads
    its units anew only when their text differs from ``before``. Raises PhaseFailed when a
    unit of that name is not ours.
    """
    units, run = project.place.units, project.paths.run
    now = contents(run)
    changed = now != before
    wants = units / WANTS
    for folder in (units, wants):
        folder.mkdir(parents=True, exist_ok=True)
        for entry in folder.iterdir():
            if _is_ours(entry, run) and not entry.exists():
                entry.unlink()
                changed = True
    for place, target in _wanted(project, services):
        changed |= _ensure_link(place, target, run)
    if changed:
        project.host.run(systemctl.reload())


def astray(project: Project, services: Sequence[str]) -> list[Path]:
    """Return the links that ``link`` would make, put right or remove."""
    units, run = project.place.units, project.paths.run
    found = []
    for folder in (units, units / WANTS):
        entries = folder.iterdir() if folder.is_dir() else []
        found += [entry for entry in entries if _is_ours(entry, run) and not entry.exists()]
    for place, target in _wanted(project, services):
        if not place.is_symlink() or place.readlink() != target:
            found.append(place)
    return found


def _wanted(project: Project, services: Sequence[str]) -> list[tuple[Path, Path]]:
    """Return every link that the units of ``run/`` need, with what it leads to."""
    units, run = project.place.units, project.paths.run
    found = []
    for unit in shipped(run):
        target = run / "systemd" / unit.name
        found.append((units / unit.name, target))
        if unit.name in services:
            found.append((units / WANTS / unit.name, target))
    return found


def _is_ours(entry: Path, run: Path) -> bool:
    return entry.is_symlink() and entry.readlink().is_relative_to(run / "systemd")


def _ensure_link(place: Path, target: Path, run: Path) -> bool:
    if place.is_symlink() and place.readlink() == target:
        return False
    if (place.exists() or place.is_symlink()) and not _is_ours(place, run):
        raise PhaseFailed(
            f"the unit {place.name} exists and is not this project's",
            where=str(place),
            mend="name the unit after the project",
        )
    place.unlink(missing_ok=True)
    place.symlink_to(target)
    return True


def unlink(project: Project) -> None:
    """Remove every link of the project's from systemd."""
    units = project.place.units
    for folder in (units, units / WANTS):
        if folder.is_dir():
            for entry in folder.iterdir():
                if _is_ours(entry, project.paths.run):
                    entry.unlink()


def stop(project: Project, services: Sequence[str]) -> None:
    """Stop those of the units that systemd knows, last first."""
    if not services:
        return
    shown = project.host.run(systemctl.show(services), check=False).out
    states = systemctl.parse_show(shown)
    absent = {name for name, unit in states.items() if unit.get("LoadState") == "not-found"}
    known = [name for name in reversed(services) if name not in absent]
    if states and known:
        project.host.run(systemctl.command("stop", known), timeout=120)


def start(project: Project, services: Sequence[str]) -> None:
    """Start the units in order. Raises PhaseFailed with what they logged."""
    if not services:
        return
    project.host.run(systemctl.command("reset-failed", services), check=False)
    try:
        project.host.run(systemctl.command("start", services), timeout=120)
    except CommandFailed as error:
        logged = project.host.run(systemctl.journal(services), check=False).out
        raise PhaseFailed(
            f"the services did not start\n{error.output.strip()}\n{logged.strip()}".strip(),
            where=", ".join(services),
        ) from None


def inactive(project: Project, services: Sequence[str]) -> list[str]:
    """Return those of the units that are not active, each with its state."""
    if not services:
        return []
    states = systemctl.parse_show(project.host.run(systemctl.show(services), check=False).out)
    found = {name: states.get(name, {}).get("ActiveState", "unknown") for name in services}
    return [f"{name} ({state})" for name, state in found.items() if state != "active"]
