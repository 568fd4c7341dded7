"""Names as people and tenants send them."""

from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpus.model import names
from corpus.model.errors import InvalidInput, InvalidName

BAD_PROJECTS = [
    "",
    "../x",
    "..",
    ".",
    "-x",
    "x-",
    "--help",
    "a" * 33,
    "a" * 300,
    "Guestbook",
    "gästebuch",
    "ｇuestbook",
    "guest\u200bbook",
    "guest book",
    "guest/book",
    "guestbook\n",
    "guest\x00book",
    "1st",
    "a_b",
    "٣",
    "root",
    "www-data",
    None,
    7,
    b"guestbook",
]


@pytest.mark.parametrize("name", BAD_PROJECTS, ids=lambda name: ascii(name)[:30])
def test_a_bad_project_name_is_refused_with_one_clear_message(name: object) -> None:
    with pytest.raises(InvalidName) as caught:
        names.project_name(name)
    text = str(caught.value)
    assert caught.value.mend
    assert text.isascii() or "…" in text
    assert len(text) < 300
    assert "\x00" not in text


@pytest.mark.parametrize("name", ["a", "guestbook", "a1", "my-site-2", "a" * 28, "a--b"])
def test_a_good_project_name_comes_back_as_it_is(name: str) -> None:
    assert names.project_name(name) == name


@given(st.text(max_size=80))
def test_whatever_passes_is_safe_as_account_path_and_argument(name: str) -> None:
    try:
        passed = names.project_name(name)
    except InvalidName:
        return
    assert set(passed) <= set(string.ascii_lowercase + string.digits + "-")
    assert passed[0] in string.ascii_lowercase
    assert len(passed) <= 28


@pytest.mark.parametrize(
    ("given_name", "wanted"),
    [
        ("Example.ORG", "example.org"),
        ("example.org.", "example.org"),
        ("guestbook.localhost", "guestbook.localhost"),
        ("a" * 63 + ".org", "a" * 63 + ".org"),
        ("127.0.0.1", "127.0.0.1"),
    ],
)
def test_host_names_are_lowered(given_name: str, wanted: str) -> None:
    assert names.host_name(given_name) == wanted


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "a..b",
        "-a.org",
        "a-.org",
        "a" * 64,
        "a." * 127 + "a",
        "a b",
        "a;b",
        "ä.org",
        None,
        3,
    ],
    ids=lambda name: ascii(name)[:20],
)
def test_bad_host_names(name: object) -> None:
    with pytest.raises(InvalidName):
        names.host_name(name)


def test_an_environment_id_is_a_canonical_uuid() -> None:
    text = "0b6d1f7e-3c1c-4c3e-9d39-5f3a1f0a2b11"
    assert names.environment_id(text) == text
    assert names.environment_id(text.upper()) == text


@pytest.mark.parametrize(
    "text",
    ["", "x", "0b6d1f7e3c1c4c3e9d395f3a1f0a2b11", "{0b6d1f7e-3c1c-4c3e-9d39-5f3a1f0a2b11}", None],
)
def test_other_spellings_of_a_uuid_are_refused(text: object) -> None:
    with pytest.raises(InvalidInput):
        names.environment_id(text)


@pytest.mark.parametrize("name", ["demo", "t", "test2"])
def test_lab_names(name: str) -> None:
    assert names.lab_name(name) == name


@pytest.mark.parametrize("name", ["", "Demo", "2x", "a-b", "a" * 9, None])
def test_a_lab_name_must_fit_into_an_interface_name(name: object) -> None:
    with pytest.raises(InvalidName):
        names.lab_name(name)
