"""The examples' macros render to the states that they mean, whatever the configuration holds."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import jinja2
import pytest
import yaml

EXAMPLES = Path(__file__).resolve().parents[3] / "examples"
PHASES = ("gather_variables", "pre_install", "configure", "build", "post_build", "post_install")
NASTY = "a \"quoted\": {title} # \\ 100% '{{ x }}' ü"


class Example:
    """One example with the ``common`` of an environment in which all is in order."""

    def __init__(self, name: str, salt: dict[str, Any] | None = None) -> None:
        folder = EXAMPLES / name / ".salt"
        sample = yaml.safe_load((folder / "PILLAR.sample").read_text())
        root = f"/srv/projects/{name}"
        places = ("project", "data", "build", "run")
        self.common: dict[str, Any] = {
            **sample[f"makina-projects.{name}"],
            "name": name,
            "user": name,
            "group": name,
            "mode": "cooking",
            "paths": {place: f"{root}/{place}" for place in places},
        }
        engine = jinja2.Environment(
            loader=jinja2.FileSystemLoader(folder),
            extensions=["jinja2.ext.do"],
            undefined=jinja2.StrictUndefined,
            autoescape=False,
        )
        engine.filters["json"] = json.dumps
        engine.globals["salt"] = {"file.get_user": lambda _path: name, **(salt or {})}
        self.module = engine.get_template("top.sls").module

    def phase(self, name: str) -> dict[str, Any]:
        """Render one phase and return its states."""
        macro = getattr(self.module, name, None)
        return yaml.safe_load(macro(self.common)) or {} if macro else {}

    def phases(self) -> dict[str, Any]:
        """Render all phases in order and return all states."""
        return {key: state for name in PHASES for key, state in self.phase(name).items()}


def _arguments(state: dict[str, Any]) -> dict[str, Any]:
    [(_function, arguments)] = state.items()
    return {key: value for part in arguments for key, value in part.items()}


def test_a_push_of_the_guestbook_costs_five_states() -> None:
    assert list(Example("guestbook").phases()) == ["environment", "code", "venv", "unit", "migrate"]


def test_data_of_another_account_is_given_to_the_project_s() -> None:
    example = Example("guestbook", {"file.get_user": lambda _path: "root"})
    assert _arguments(example.phase("pre_install")["data"])["user"] == "guestbook"


def test_in_editable_mode_nothing_is_copied_onto_itself() -> None:
    example = Example("guestbook")
    example.common["mode"] = "editable"
    assert list(example.phases()) == ["environment", "venv", "unit", "migrate"]
    assert "--reload" in str(example.phases()["unit"])


def test_the_secret_goes_to_one_file_that_only_root_reads() -> None:
    example = Example("guestbook")
    example.common["data"] = {**example.common["data"], "secret_key": "s3cret", "title": NASTY}
    states = example.phases()
    arguments = _arguments(states["environment"])
    assert arguments["mode"] == "0600"
    assert arguments["show_changes"] is False
    assert 'GUESTBOOK_SECRET_KEY="s3cret"' in arguments["contents"]
    rest = copy.deepcopy(states)
    del rest["environment"]
    assert "s3cret" not in json.dumps(rest)


def test_a_title_of_any_characters_stays_one_value() -> None:
    example = Example("guestbook")
    example.common["data"] = {**example.common["data"], "title": NASTY}
    lines = _arguments(example.phases()["environment"])["contents"]
    [title] = [line for line in lines if line.startswith("GUESTBOOK_TITLE=")]
    escaped = NASTY.replace("\\", "\\\\").replace('"', '\\"')
    assert title == f'GUESTBOOK_TITLE="{escaped}"'


def test_the_unit_runs_as_the_project() -> None:
    unit = _arguments(Example("guestbook").phases()["unit"])
    assert unit["name"] == "/srv/projects/guestbook/run/systemd/guestbook.service"
    lines = unit["contents"].splitlines()
    assert "User=guestbook" in lines
    assert "ReadWritePaths=/srv/projects/guestbook/data" in lines


def _with_nginx(site: str | None) -> Example:
    return Example(
        "static",
        {"file.file_exists": lambda _path: site is not None, "file.read": lambda _path: site},
    )


def test_the_first_push_of_the_static_site_sets_nginx_up() -> None:
    states = _with_nginx(None).phases()
    assert list(states) == ["nginx", "default site", "site", "nginx runs", "site files"]


def test_a_later_push_of_the_static_site_costs_one_state() -> None:
    site = _arguments(_with_nginx(None).phases()["site"])["contents"]
    assert list(_with_nginx(site).phases()) == ["site files"]
    assert "nginx runs" in _with_nginx("something else").phases()


@pytest.mark.parametrize("pillar", ["guestbook-pillar/init.sls"])
def test_the_pillar_s_keys_are_known_to_the_sample(pillar: str) -> None:
    own = yaml.safe_load((EXAMPLES / pillar).read_text())["makina-projects.guestbook"]
    assert set(own["data"]) <= set(Example("guestbook").common["data"])
