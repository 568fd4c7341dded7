"""``corpus_node.*`` under Salt's real loader: names, plain values, errors with exit codes."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import pytest

salt_config = pytest.importorskip("salt.config")
salt_loader = pytest.importorskip("salt.loader")

from salt.exceptions import CommandExecutionError  # noqa: E402

import corpus.saltext  # noqa: E402

FUNCTIONS = {
    "autostart", "boot", "certificate_add", "certificate_list", "certificate_obtain",
    "certificate_remove", "certificate_renew", "clone", "close", "create", "destroy", "doctor",
    "enlarge", "exec", "export", "facts", "freeze", "front_move", "image_import", "image_list",
    "import", "inspect", "limit", "list", "maintenance", "migrate",
    "migration_recover", "open", "pair", "peer_add", "peer_identity", "peer_remove", "peers",
    "pool_grow",
    "pool_health", "pool_scrub", "ports", "prepare", "project_limit", "rename", "restart",
    "restore", "route", "saltify_check", "saltify_key", "saltify_list", "saltify_prepare",
    "saltify_remove", "snapshot", "snapshot_delete", "snapshots", "start", "stop", "thaw",
    "trim", "unpair", "unroute", "usage", "weigh",
}  # fmt: skip
# ``doctor`` changes nothing but with ``mend``, and without tells what that would do; ``weigh``
# notes what it saw; ``rename`` only refuses; what ``exec`` changes is up to its command.
READING = {
    "certificate_list", "doctor", "exec", "facts", "image_list", "inspect", "list", "peers",
    "pool_health", "ports", "rename", "saltify_list", "snapshots", "usage", "weigh",
}  # fmt: skip
ID = "11111111-2222-4333-8444-555555555555"


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Any:
    tmp_path = tmp_path_factory.mktemp("minion")
    settings = tmp_path / "node.toml"
    settings.write_text(
        f'prefix = "{tmp_path}/corpus"\nproxy = "{tmp_path}/proxy"\nstorage = "plain"\n'
    )
    options = salt_config.minion_config(None, defaults=dict(salt_config.DEFAULT_MINION_OPTS))
    places = {"root_dir": "", "cachedir": "cache", "pki_dir": "pki", "conf_file": "minion"}
    options.update({key: str(tmp_path / place) for key, place in places.items()})
    options.update(
        id="test",
        file_client="local",
        grains={},
        module_dirs=[str(Path(corpus.saltext.__path__[0]))],
        corpus_node_settings=str(settings),
    )
    return salt_loader.minion_mods(options, context={}, whitelist=["corpus_node"])


def test_every_function_is_loaded_with_its_documentation(loaded: Any) -> None:
    found = {name.split(".")[1] for name in loaded if name.startswith("corpus_node.")}
    assert found == FUNCTIONS
    for name in found:
        assert "CLI Example" in loaded[f"corpus_node.{name}"].__doc__


def test_every_function_that_changes_something_has_a_dry_run(loaded: Any) -> None:
    for name in sorted(FUNCTIONS - READING):
        last = list(inspect.signature(loaded[f"corpus_node.{name}"]).parameters.values())[-1]
        assert (last.name, last.default) == ("test", False), name
    for name in sorted(READING):
        assert "test" not in inspect.signature(loaded[f"corpus_node.{name}"]).parameters, name


def test_a_dry_run_has_the_errors_of_the_call_and_touches_nothing(
    loaded: Any, tmp_path_factory: pytest.TempPathFactory
) -> None:
    assert loaded["corpus_node.destroy"](ID, test=True) == {"test": True, "changes": []}
    assert loaded["corpus_node.saltify_key"](test=True)["changes"] == ["make the key of the node"]
    for function, given, message in (
        ("create", {"size": "lots"}, "not a size"),
        ("create", {}, "no image"),
        ("image_import", {"directory": "/nowhere"}, "no image"),
        ("pair", {"staging": ID, "prod": ID, "project": "demo"}, "no environment"),
        ("unpair", {"staging": ID, "prod": ID, "project": "demo"}, "no environment"),
    ):
        with pytest.raises(CommandExecutionError, match=message):
            loaded[f"corpus_node.{function}"](**given, test=True)


def test_an_empty_node_lists_nothing(loaded: Any) -> None:
    assert loaded["corpus_node.list"]() == []
    assert loaded["corpus_node.image_list"]() == []
    assert loaded["corpus_node.destroy"](ID) is False
    assert loaded["corpus_node.unroute"]("a.example") is False
    assert loaded["corpus_node.ports"]() == []


@pytest.mark.parametrize(
    ("function", "arguments", "code", "message"),
    [
        ("inspect", {"id": ID}, 3, "no environment"),
        ("create", {"size": "lots"}, 2, "not a size"),
        ("create", {"keys": "rubbish"}, 2, "not an SSH public key"),
        ("create", {}, 3, "no image"),
        ("image_import", {"directory": "/nowhere"}, 3, "no image"),
        ("start", {"id": "../x"}, 2, "not an environment id"),
        ("route", {"id": ID, "host": "-x"}, 2, "not a host name"),
        ("pool_grow", {"size": "1G"}, 3, "no pool yet"),
        ("pool_grow", {"size": "much"}, 2, "not a size"),
        ("pool_scrub", {"test": True}, 3, "no pool yet"),
        ("pool_health", {}, 3, "no pool yet"),
        ("open", {"id": ID, "port": 80, "to": "everybody"}, 2, "not an IPv4 network"),
        ("close", {"id": ID, "port": 80}, 3, "no environment"),
    ],
)
def test_an_error_of_ours_keeps_message_and_exit_code(
    loaded: Any, function: str, arguments: dict[str, Any], code: int, message: str
) -> None:
    call = loaded[f"corpus_node.{function}"]
    with pytest.raises(CommandExecutionError, match=message) as caught:
        call(**arguments)
    assert caught.value.exit_code == code
    assert "to mend:" in str(caught.value)
