from pathlib import Path

from corpus.commands import pip


def test_what_is_fetched_is_checked() -> None:
    ready = pip.wheels("python3", Path("/l"), Path("/w"))
    assert {"--require-hashes", "--only-binary=:all:", "--no-deps"} <= {*ready}
    made = pip.wheels("python3", Path("/l"), Path("/w"), source=True)
    assert "--no-build-isolation" in made
    assert "--only-binary=:all:" not in made


def test_what_is_installed_comes_from_nowhere_else() -> None:
    assert "--no-index" in pip.install_wheels("python", ["/run/a.whl"])
    assert "--no-index" in pip.wheel_of("python", Path("/s"), Path("/w"))


def test_compiled_files_do_not_depend_on_times() -> None:
    command = pip.compile_all("python", "/opt")
    assert "--invalidation-mode=unchecked-hash" in command
