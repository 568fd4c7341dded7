from corpus.images import sources
from corpus.images.sources import Source

ONE_LINE = """\
# deb http://mirror.test/old bookworm main
deb http://mirror.test/debian bookworm main contrib # ours
deb [arch=amd64 signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] \
http://mirror.test/debian bookworm-updates main
deb-src http://mirror.test/debian bookworm main
deb [signed-by=/etc/apt/keyrings/vendor.asc] https://vendor.test/apt bookworm main
deb file:/srv/mirror bookworm main
deb [trusted=yes] http://local.test/debian bookworm main
deb http://mirror.test/debian trixie main
deb broken
"""

DEB822 = """\
Types: deb deb-src
# a comment
URIs: http://mirror.test/debian
Suites: bookworm bookworm-updates
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb
URIs: https://vendor.test/apt
Suites: bookworm
Components: main
Signed-By:
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .
 abc

Enabled: no
Types: deb
URIs: http://off.test/debian
Suites: bookworm
Components: main
"""


def test_lines_give_binary_sources() -> None:
    found = list(sources.parse_lines(ONE_LINE))
    assert found[0] == Source("http://mirror.test/debian", "bookworm", ("main", "contrib"))
    suites = [source.suite for source in found]
    assert suites == ["bookworm", "bookworm-updates", *["bookworm"] * 3, "trixie"]


def test_deb822_gives_each_suite_and_leaves_out_what_is_off() -> None:
    found = list(sources.parse_deb822(DEB822))
    assert [(source.uri, source.suite) for source in found] == [
        ("http://mirror.test/debian", "bookworm"),
        ("http://mirror.test/debian", "bookworm-updates"),
        ("https://vendor.test/apt", "bookworm"),
    ]


def test_only_debian_of_the_release_is_taken_over() -> None:
    both = [*sources.parse_lines(ONE_LINE), *sources.parse_deb822(DEB822)]
    key = "signed-by=/usr/share/keyrings/debian-archive-keyring.gpg"
    assert sources.debian(both, "bookworm") == (
        f"deb [{key}] http://mirror.test/debian bookworm main contrib",
        f"deb [{key}] http://mirror.test/debian bookworm-updates main",
        "deb [trusted=yes] http://local.test/debian bookworm main",
        f"deb [{key}] http://mirror.test/debian bookworm main",
    )
