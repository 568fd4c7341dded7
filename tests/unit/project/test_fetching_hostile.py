"""What the paired staging environment did not sign, or does not send as signed, is refused."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from corpus.model.errors import CorpusError, NotFound, ReleaseRefused
from corpus.project import fetching, peers, promotion, releases
from corpus.project.releases import signing
from pairs import FIRST, PROD_ID, Pair, carry, environment, make_release
from unit.project.promoting import C, Told, obtain
from unit.project.promoting import both as both


def test_with_an_impostor_s_answer_nothing_counts(both: Pair) -> None:
    both.release()
    obtain(both)
    both.trouble("impostor")
    with pytest.raises(ReleaseRefused, match="Host key verification failed"):
        promotion.latest(both.prod.project, Told().append)


@pytest.mark.parametrize("trouble", ["damaged", "longer"])
def test_other_bytes_than_were_signed(both: Pair, trouble: str) -> None:
    both.release(size=200_000)
    both.trouble(trouble)
    with pytest.raises(ReleaseRefused, match=r"not the archive that was signed|is longer than"):
        obtain(both)
    assert not both.prod.paths.manifest(FIRST).exists()
    assert not both.prod.paths.release(FIRST).exists()
    both.trouble("")
    assert obtain(both)[0].deployment == FIRST


def test_a_release_that_nobody_signed_is_not_fetched(both: Pair) -> None:
    both.release()
    signature = both.staging.paths.signature(FIRST)
    signature.write_bytes(signing.sign(both.prod.place, b"something else"))
    with pytest.raises(ReleaseRefused, match="not signed by"):
        obtain(both)
    assert both.asked == ["list"]
    with pytest.raises(NotFound):
        promotion.latest(both.prod.project, Told().append)


def test_a_foreign_release_is_refused_wherever_it_lies(both: Pair, tmp_path: Path) -> None:
    """Somebody else's environment, with a key that nobody was paired with."""
    foreign = environment(tmp_path / "foreign", "33333333-2222-4333-8444-555555555555", "staging")
    make_release(foreign, FIRST)
    carry(foreign.project, both.prod.project, FIRST)
    with pytest.raises(ReleaseRefused, match="not signed by"):
        obtain(both)
    carry(foreign.project, both.staging.project, FIRST)
    with pytest.raises(ReleaseRefused, match="not signed by"):
        obtain(both)


def test_a_refused_release_that_lies_here_is_fetched_anew(both: Pair) -> None:
    both.release(size=100_000)
    carry(both.staging.project, both.prod.project, FIRST)
    both.prod.paths.release(FIRST).write_bytes(b"damaged")
    manifest, told = obtain(both)
    assert "fetched anew" in told.text
    assert releases.verify(both.prod.project, manifest.deployment) == manifest


def test_who_is_paired_for_one_project_signs_no_other(
    both: Pair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The staging of ``demo`` makes a release of ``other``: production of that refuses it."""
    forger = environment(tmp_path / "forger", peers._facts(both.staging.place)["id"], "staging",
                         "other")  # fmt: skip
    shutil.copy(both.staging.place.release_key, forger.place.release_key)
    make_release(forger, FIRST)
    victim = environment(tmp_path / "victim", PROD_ID, "prod", "other")
    shutil.copy(both.prod.place.signers, victim.place.signers)
    carry(forger.project, victim.project, FIRST)
    with pytest.raises(ReleaseRefused, match="not signed by"):
        promotion.obtain(victim.project, C, None, print)
    # Nor does one of ``other`` pass as one of ``demo``.
    for path in forger.paths.releases.iterdir():
        name = path.name.replace("other-", "demo-")
        shutil.copy(path, both.prod.paths.releases / name)
    with pytest.raises(CorpusError):
        obtain(both, wanted=str(FIRST))


def test_another_architecture_is_not_fetched(both: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    both.release()
    monkeypatch.setattr("corpus.project.releases.system.architecture", lambda: "m68k")
    with pytest.raises(ReleaseRefused, match="another architecture"):
        obtain(both)
    assert both.asked == ["list"]


def test_nonsense_in_a_list_is_left_out(both: Pair) -> None:
    project = both.prod.project
    for line in (b"", b"{}", b"[]", b"\xff", b'{"manifest": 1, "signature": 2}', b"[" * 100_000,
                 b'{"manifest": "{}", "signature": ""}'):  # fmt: skip
        assert fetching._offer(project, line) is None
