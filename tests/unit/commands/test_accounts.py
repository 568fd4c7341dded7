"""Accounts whose id is given, because files outside belong to it."""

from __future__ import annotations

from corpus.commands import accounts


def test_an_account_has_a_group_of_its_own() -> None:
    assert "--user-group" in accounts.add("demo", "/home", "all")
    assert accounts.add_group("all") == ["groupadd", "--force", "--system", "all"]


def test_with_an_id_its_group_has_the_same() -> None:
    command = accounts.add("demo", "/home", "all", 60514)
    assert {"--uid=60514", "--gid=demo"} < {*command}
    assert "--user-group" not in command
    assert "--gid=60514" in accounts.add_group("demo", 60514)
