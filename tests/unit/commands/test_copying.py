"""The command that mirrors a directory."""

from __future__ import annotations

from pathlib import Path

from corpus.commands import copying

ONE, TWO = Path("/one"), Path("/two")


def test_a_mirror_compares_contents_and_removes_the_rest() -> None:
    command = copying.mirror(ONE, TWO)
    assert {"--checksum", "--delete", "--hard-links", "--acls", "--xattrs"} < {*command}
    assert command[-2:] == ["/one/", "/two/"]
    assert not {"--dry-run", "--backup"} & {*command}


def test_what_is_overwritten_can_be_kept_and_names_spared() -> None:
    command = copying.mirror(ONE, TWO, aside=Path("/aside"), keep=[".git"])
    assert {"--backup", "--backup-dir=/aside", "--exclude=/.git"} < {*command}


def test_a_comparison_changes_nothing() -> None:
    assert {"--dry-run", "--itemize-changes"} < {*copying.mirror(ONE, TWO, compare=True)}


def test_a_disk_is_copied_without_its_holes_and_shared_where_it_can_be() -> None:
    argv = copying.sparse_file(Path("-a.img"), Path("b.img"))
    assert {"--reflink=auto", "--sparse=auto"} <= set(argv)
    assert argv[-3:] == ["--", "-a.img", "b.img"]


def test_a_pass_compares_contents_where_it_is_told_and_is_not_silent_for_ever() -> None:
    quick = copying.fetch(TWO, ["helper", "of-it"], contents=False, silence=60)
    assert {"--delete", "--timeout=60", "--rsh=helper of-it"} < {*quick}
    assert "--checksum" not in quick
    assert "--checksum" in copying.fetch(TWO, ["helper"], contents=True, silence=900)
