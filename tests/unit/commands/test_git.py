"""Parsers of what git prints."""

from __future__ import annotations

from corpus.commands import git

ZERO, ONE, TWO = "0" * 40, "1" * 40, "2" * 40


def test_status() -> None:
    text = " M a file\0UU both\0D  gone\0"
    assert git.parse_status(text) == ["a file", "both", "gone"]
    assert git.parse_status("") == []


def test_changes() -> None:
    text = (
        f":100644 100755 {ONE} {TWO} M\0changed file\0"
        f":000000 120000 {ZERO} {ONE} A\0new\0"
        f":100644 000000 {TWO} {ZERO} D\0gone\0"
    )
    assert git.parse_changes(text) == {
        "changed file": (f"100644 {ONE}", f"100755 {TWO}"),
        "new": ("", f"120000 {ONE}"),
        "gone": (f"100644 {TWO}", ""),
    }
    assert git.parse_changes("") == {}
