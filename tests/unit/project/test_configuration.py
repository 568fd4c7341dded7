"""Layers of configuration: merged, checked, and their secrets known."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from corpus.model.errors import InvalidInput
from corpus.model.mode import Mode, Platform
from corpus.project import configuration as conf
from corpus.project.place import Project
from projects import place_at

TEXTS = st.text(max_size=5)
MAPPINGS = st.recursive(
    st.dictionaries(TEXTS, st.integers() | TEXTS | st.lists(st.integers(), max_size=2), max_size=4),
    lambda inner: st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=12,
)


def settings(**values: Any) -> dict[str, Any]:
    return conf.configure("demo", [("the pillar", {"makina-projects.demo": values})])


@examples(max_examples=40, deadline=None)
@given(MAPPINGS, MAPPINGS)
def test_the_higher_layer_wins_and_neither_is_changed(
    low: dict[str, Any], high: dict[str, Any]
) -> None:
    before = deepcopy((low, high))
    merged = conf.merge(low, high)
    assert (low, high) == before
    assert set(merged) == set(low) | set(high)
    for key, value in high.items():
        if not isinstance(value, dict):
            assert merged[key] == value
    assert {k: merged[k] for k in low.keys() - high.keys()} == {
        k: low[k] for k in low.keys() - high.keys()
    }
    assert conf.merge(merged, high) == merged


def test_mappings_merge_and_lists_are_replaced() -> None:
    low = {"data": {"a": 1, "b": {"c": 2}}, "ports": [1, 2]}
    high = {"data": {"b": {"d": 3}}, "ports": [3]}
    assert conf.merge(low, high) == {"data": {"a": 1, "b": {"c": 2, "d": 3}}, "ports": [3]}


def test_layers_in_their_order() -> None:
    key = "makina-projects.demo"
    found = conf.configure(
        "demo",
        [
            ("sample", {key: {"hold": 1, "drain": 1, "data": {"a": 1, "b": 1}}}),
            ("pillar", {key: {"drain": 2, "data": {"b": 2}}, "something else": 1}),
            ("environment", {"makina-projects.other": {"hold": 9}}),
        ],
    )
    assert (found["hold"], found["drain"], found["data"]) == (1, 2, {"a": 1, "b": 2})
    assert found["timeouts"] == conf.DEFAULTS["timeouts"]


def test_the_defaults_are_never_changed() -> None:
    before = deepcopy(conf.DEFAULTS)
    found = settings(timeouts={"build": 3})
    found["services"].append("x.service")
    found["retention"]["good"] = 99
    assert before == conf.DEFAULTS
    assert settings()["retention"]["good"] == 5


@pytest.mark.parametrize("content", [None, {}, {"makina-projects.demo": None}])
def test_an_empty_layer_says_nothing(content: Any) -> None:
    assert conf.layer("demo", content, "here") == {}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ([], "not a mapping"),
        ("text", "not a mapping"),
        ({"makina-projects.demo": [1]}, "makina-projects.demo is not a mapping"),
        ({"makina-projects.demo": {"dta": {}}}, "unknown setting: dta"),
        ({"makina-projects.demo": {"b": 1, "a": 1, 3: 1}}, "unknown settings: 3, a, b"),
    ],
)
def test_a_layer_that_is_not_one(content: Any, said: str) -> None:
    with pytest.raises(InvalidInput, match=said) as caught:
        conf.layer("demo", content, "the pillar")
    assert "the pillar" in str(caught.value)


@pytest.mark.parametrize(
    ("values", "key"),
    [
        ({"data": [1]}, "data"),
        ({"services": "demo.service"}, "services"),
        ({"services": ["demo"]}, "services"),
        ({"services": ["../x.service"]}, "services"),
        ({"services": ["--now.service"]}, "services"),
        ({"services": ["a.service\n"]}, "services"),
        ({"services": [1]}, "services"),
        ({"ports": 80}, "ports"),
        ({"ports": [0]}, "ports"),
        ({"ports": [65536]}, "ports"),
        ({"ports": [True]}, "ports"),
        ({"ports": ["80"]}, "ports"),
        ({"ports": [80.5]}, "ports"),
        ({"hold": -1}, "hold"),
        ({"hold": "60"}, "hold"),
        ({"drain": 4000}, "drain"),
        ({"timeouts": 5}, "timeouts"),
        ({"timeouts": {"build": 0}}, "timeouts"),
        ({"timeouts": {"biuld": 5}}, "timeouts"),
        ({"retention": {"good": -1}}, "retention"),
        ({"retention": {"good": 0}}, "retention.good"),
        ({"retention": {"godo": 3}}, "retention"),
        ({"stop_before": "never"}, "stop_before"),
        ({"health": {}}, "health"),
        ({"health": ["http://x"]}, "health"),
        ({"health": [{"url": "http://x", "code": 200}]}, "health"),
        ({"health": [{"status": 200}]}, "health.url"),
        ({"health": [{"url": "file:///etc/passwd"}]}, "health.url"),
        ({"health": [{"url": "http://x", "status": "fine"}]}, "health.status"),
        ({"health": [{"url": "http://x", "timeout": "1m"}]}, "health.timeout"),
        ({"health": [{"url": "http://x", "contains": 5}]}, "health.contains"),
        ({"parts": ["static"]}, "parts"),
        ({"parts": {"main": ["static"]}}, "parts"),
        ({"parts": {f"n{n}": [f"p{n}"] for n in range(16)}}, "parts"),
        ({"parts": {"assets": "static"}}, "parts.assets"),
        ({"parts": {"assets": []}}, "parts.assets"),
        ({"parts": {"assets": [1]}}, "parts.assets"),
        ({"parts": {"assets": ["/etc"]}}, "parts.assets"),
        ({"parts": {"assets": ["a/../.."]}}, "parts.assets"),
        ({"parts": {"assets": ["./a"]}}, "parts.assets"),
        ({"parts": {"assets": ["."]}}, "parts.assets"),
        ({"parts": {"assets": [""]}}, "parts.assets"),
        ({"parts": {"assets": ["a//b"]}}, "parts.assets"),
        ({"parts": {"assets": ["a", "a"]}}, "parts.assets"),
        ({"parts": {"assets": ["a/b"], "more": ["a"]}}, "parts.more"),
    ],
)
def test_a_setting_of_the_wrong_shape(values: dict[str, Any], key: str) -> None:
    with pytest.raises(InvalidInput, match=rf"^{key} must be "):
        settings(**values)


@pytest.mark.parametrize("name", ["Assets", "a/b", "../x", "", "x" * 32, 5])
def test_the_name_of_a_part(name: Any) -> None:
    with pytest.raises(InvalidInput, match="not the name of a part"):
        settings(parts={name: ["static"]})


def test_settings_of_the_right_shape() -> None:
    values = {
        "services": ["demo.service", "demo@1.socket", "demo.timer"],
        "ports": [80, 8080],
        "hold": 0,
        "drain": 0.5,
        "timeouts": {"default": 1, "post_install": 2.5},
        "retention": {"failed": 0},
        "stop_before": "build",
        "health": [{"url": "https://x", "status": 204, "timeout": 0.5, "contains": "ok"}],
        "mode": "cooking",
        "parts": {"assets": ["static/", "media/big"], "themes": ["media/bigger"]},
    }
    found = settings(**values)
    assert {key: found[key] for key in ("services", "ports", "health")} == {
        key: values[key] for key in ("services", "ports", "health")
    }
    assert found["retention"] == {"good": 5, "failed": 0}


def test_secrets_are_known_by_their_keys() -> None:
    content = {
        "db": {"password": "hunter22", "host": "db1"},
        "api_token": ["first", {"nested": "second"}],
        "private_key": 12345678,
        "debug_secret": True,
        "empty_secret": "",
        "none_secret": None,
    }
    assert set(conf.secrets_of(content)) == {"hunter22", "first", "second", "12345678"}


def test_a_project_may_be_called_after_a_secret() -> None:
    content = {"makina-projects.keycloak": {"ports": [8080], "data": {"password": "hunter22"}}}
    assert conf.secrets_of(content) == ["hunter22"]


def test_each_line_of_a_secret_is_one() -> None:
    key = "-----BEGIN-----\nabcdefgh\n\n-----END-----\n"
    assert conf.secrets_of({"private_key": key}) == ["-----BEGIN-----", "abcdefgh", "-----END-----"]


@examples(max_examples=40, deadline=None)
@given(st.text(alphabet="abcdef0123456789", min_size=4, max_size=20), MAPPINGS)
def test_no_masked_value_shows_a_secret(secret: str, rest: dict[str, Any]) -> None:
    values = {"password": secret, "url": f"postgres://me:{secret}@db", "list": [secret], "x": rest}
    shown = conf.mask(values, conf.secrets_of({"password": secret}))
    assert secret not in str([shown["password"], shown["url"], shown["list"]])
    assert set(shown) == set(values)


def test_a_number_can_be_a_secret() -> None:
    values = {"pin_secret": 123456, "port": 8080, "on": True}
    assert conf.mask(values, conf.secrets_of(values)) == {
        "pin_secret": "********",
        "port": 8080,
        "on": True,
    }


def test_common_has_the_documented_keys(tmp_path: Path) -> None:
    project = Project.at(place_at(tmp_path), "demo")
    common = conf.make_common(
        project, settings(data={"a": 1}), deployment="D", commit="C", pillar_commit="P"
    )
    assert common["mode"] == "cooking"
    assert common["platform"] == "staging"
    assert (common["name"], common["user"], common["group"]) == ("demo", "root", "root")
    assert (common["deployment"], common["commit"], common["pillar_commit"]) == ("D", "C", "P")
    assert common["paths"]["run"] == str(tmp_path / "srv/projects/demo/run")
    assert common["data"] == {"a": 1}


@pytest.mark.parametrize(
    ("asked", "platform", "mode"),
    [
        (None, Platform.STAGING, Mode.COOKING),
        (None, Platform.DEV, Mode.EDITABLE),
        (None, Platform.PROD, Mode.FINAL),
        ("cooking", Platform.DEV, Mode.COOKING),
        ("mixin", Platform.PROD, Mode.EDITABLE),
    ],
)
def test_the_mode(asked: str | None, platform: Platform, mode: Mode) -> None:
    assert conf.mode_of({"mode": asked}, platform) is mode


def test_a_mode_that_is_none() -> None:
    with pytest.raises(InvalidInput):
        conf.mode_of({"mode": "raw"}, Platform.STAGING)


def test_secrets_of_a_pillar_that_does_not_compile() -> None:
    text = (
        "makina-projects.keycloak:\n  data:\n    password: 'hunter22'\n   - api-token: abcdefgh \n"
        'host: db1\n"db_secret": "x y"\nprivate_key: |\n  one\n'
    )
    assert set(conf.secrets_within(text)) == {"hunter22", "abcdefgh", "x y", "|", "one"}


@pytest.mark.parametrize(
    ("text", "known"),
    [
        ("tls_key: |\n    first line\n\n    last==\nhost: db1\n", {"first line", "last=="}),
        ("- tls_key: >-\n    folded\n  host: db1\n", {"folded"}),
        ("keys:\n- first\n- name: second\nhost: db1\n", {"first", "second"}),
        ("credentials:\n  user: admin\n  more:\n    'x': 'y: z'\nhost: db1\n", {"admin", "y: z"}),
        ("db: {password: hunter22, port: 5432}\n", {"hunter22", "hunter22, port: 5432}"}),
        ("{% set token = 'abcdefgh' %}\n", {"abcdefgh", "abcdefgh' %}"}),
        ('password: "a, b"  # why\n', {"a, b", 'a, b"  # why'}),
        ("use_password: true\nhost: http://db1\n", set()),
    ],
)
def test_what_looks_secret_in_a_source(text: str, known: set[str]) -> None:
    assert {one for one in conf.secrets_within(text) if len(one) >= 4} == known
