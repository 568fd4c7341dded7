"""Names and texts of mount units; the names are those that systemd-escape(1) 252 prints."""

from __future__ import annotations

from pathlib import PurePosixPath

import pytest

from corpus.commands import systemctl


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/srv/projects/demo/project", "srv-projects-demo-project"),
        ("/srv/projects/my-shop/project", r"srv-projects-my\x2dshop-project"),
        ("/", "-"),
        ("//srv///x/", "srv-x"),
        ("/.hidden/.x", r"\x2ehidden-.x"),
        ("/a b/c:d_e", r"a\x20b-c:d_e"),
        ("/ü/50%", r"\xc3\xbc-50\x25"),
        ("/back\\slash", r"back\x5cslash"),
    ],
)
def test_the_name_of_a_mount_unit(path: str, name: str) -> None:
    assert systemctl.mount_unit(PurePosixPath(path)) == f"{name}.mount"


def test_the_text_of_a_mount_unit() -> None:
    text = systemctl.mount_text("demo", PurePosixPath("/srv/50%/run"), PurePosixPath("/srv/p"))
    assert "[Mount]\nWhat=/srv/50%%/run\nWhere=/srv/p\nType=none\nOptions=bind\n" in text
    assert "LazyUnmount=yes\n" in text
