"""Dates in questions."""

from datetime import date

import pytest

from memtrix_as.memory.dates import dates, nearness


@pytest.mark.parametrize(
    ("question", "first", "last"),
    [
        ("What was on 2023-05-08?", (2023, 5, 8), (2023, 5, 8)),
        ("What was on May 8th, 2023?", (2023, 5, 8), (2023, 5, 8)),
        ("the 8th of May 2023", (2023, 5, 8), (2023, 5, 8)),
        ("on 3 June, 2023", (2023, 6, 3), (2023, 6, 3)),
        ("in February 2024", (2024, 2, 1), (2024, 2, 29)),
        ("in 2023-12", (2023, 12, 1), (2023, 12, 31)),
    ],
)
def test_a_date_is_read(question: str, first: tuple[int, ...], last: tuple[int, ...]) -> None:
    assert dates(question) == [(date(*first), date(*last))]


@pytest.mark.parametrize(
    "text", ["", "you may go", "on 31 February 2023", "2023-13-01", "version 2"]
)
def test_what_is_none_is_not(text: str) -> None:
    assert dates(text) == []


def test_days_after_count_more_than_days_before() -> None:
    span = [(date(2023, 5, 8), date(2023, 5, 9))]
    near = [nearness(date(2023, 5, day), span) for day in (6, 7, 8, 9, 10, 11)]
    assert near[2] == near[3] == 1.0
    assert near[0] < near[1] < near[4] < 1 and near[5] < near[4]
    assert nearness(date(2023, 5, 8), []) == 0.0
