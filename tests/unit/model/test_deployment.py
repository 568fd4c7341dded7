"""Deployment ids and outcomes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpus.model.deployment import DeploymentId, Outcome
from corpus.model.errors import DeploymentRefused, InvalidInput, RollbackFailed, RolledBack

ONE = UUID("0b6d1f7e-3c1c-4c3e-9d39-5f3a1f0a2b11")


def test_an_id_says_when_in_utc() -> None:
    there = timezone(timedelta(hours=2))
    made = DeploymentId.make(datetime(2026, 11, 22, 1, 2, 3, tzinfo=there), ONE)
    assert str(made) == f"20261121T230203-00000000{str(ONE)[8:]}"


@given(
    st.datetimes(min_value=datetime(1000, 1, 1), timezones=st.just(UTC)),
    st.uuids(),
)
def test_an_id_survives_its_text(moment: datetime, uuid: UUID) -> None:
    made = DeploymentId.make(moment, uuid)
    assert DeploymentId.parse(str(made)) == made


@given(st.lists(st.datetimes(min_value=datetime(1000, 1, 1), timezones=st.just(UTC)), max_size=9))
def test_ids_sort_by_time(moments: list[datetime]) -> None:
    moments.append(datetime(2026, 11, 26, 8, 0, 0, 999_999, UTC))
    ids = [DeploymentId.make(moment, uuid4()) for moment in set(moments)]
    assert sorted(ids) == [id for _, id in sorted(zip(set(moments), ids, strict=True))]
    assert sorted(map(str, ids)) == list(map(str, sorted(ids)))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "../x",
        f"20261121T230203-{ONE}/..",
        f"20261121T230203-{str(ONE).upper()}",
        f"20261121T230203_{ONE}",
        f"2026112T1230203-{ONE}",
        f"20261121T230203-{ONE}\n",
        "x" * 300,
    ],
    ids=range(8),
)
def test_other_texts_are_refused(text: str) -> None:
    with pytest.raises(InvalidInput):
        DeploymentId.parse(text)


def test_outcomes_exit_as_their_errors_do() -> None:
    assert Outcome.LIVE.exit_code == 0
    assert Outcome.REFUSED.exit_code == DeploymentRefused.exit_code
    assert Outcome.ROLLED_BACK.exit_code == RolledBack.exit_code
    assert Outcome.ROLLBACK_FAILED.exit_code == RollbackFailed.exit_code
