"""The figures of the benchmark say what was measured, and no promise is kept by accident."""

import pytest

from bench.stats import (
    Figure,
    Promise,
    Sample,
    all_at_most,
    count_at_most,
    median_at_most,
    milliseconds,
    p95_at_most,
    percentile,
    ratio_at_most,
    share_at_most,
)

HUNDRED = Sample(range(1, 101))


@pytest.mark.parametrize(
    ("values", "share", "expected"),
    [
        ([7], 0.95, 7),
        ([3, 1, 2], 0.5, 2),
        ([2, 1], 0.5, 1),
        (range(1, 101), 0.95, 95),
        (range(1, 21), 0.95, 19),
        (range(1, 20), 0.95, 19),
        ([5, 4], 0, 4),
        ([5, 4], 1, 5),
    ],
)
def test_a_percentile_is_a_value_that_was_measured(values: list[float], share: float, expected: float) -> None:
    assert percentile(values, share) == expected


def test_nothing_measured_is_no_figure() -> None:
    with pytest.raises(ValueError, match="no values"):
        percentile([], 0.5)
    with pytest.raises(ValueError, match="no values"):
        Sample([])


def test_a_sample_knows_its_middle_and_its_tail() -> None:
    assert (HUNDRED.median, HUNDRED.p95) == (50.5, 95)


def test_seconds_become_milliseconds() -> None:
    assert milliseconds([0.25, 0.5]).values == (250, 500)


def test_the_ratio_is_of_medians() -> None:
    figure = Figure(name="x", sample=Sample([3, 6, 100]), floor_name="y", floor=Sample([1, 2, 50]))
    assert figure.ratio == 3


@pytest.mark.parametrize("floor", [None, Sample([0])])
def test_there_is_no_ratio_without_a_floor(floor: Sample | None) -> None:
    assert Figure(name="x", sample=HUNDRED, floor=floor).ratio is None


@pytest.mark.parametrize(
    ("promise", "kept"),
    [
        (median_at_most(50.5), True),
        (median_at_most(50.4), False),
        (p95_at_most(95), True),
        (p95_at_most(94), False),
        (all_at_most(100), True),
        (all_at_most(99), False),
        (count_at_most(100), True),
        (count_at_most(99), False),
        (ratio_at_most(2.02), True),
        (ratio_at_most(2), False),
        (share_at_most(0.505, "other", Sample([100])), True),
        (share_at_most(0.504, "other", Sample([100])), False),
    ],
)
def test_a_promise_is_kept_up_to_its_bound(promise: Promise, kept: bool) -> None:
    figure = Figure(name="x", sample=HUNDRED, floor=Sample([25]), promises=(promise,))
    assert figure.kept is kept
    assert figure.verdicts[0].kept is kept


def test_what_is_no_time_must_hold_anywhere() -> None:
    promises = (median_at_most(1), p95_at_most(1), all_at_most(1), count_at_most(1), ratio_at_most(1))
    figure = Figure(name="x", sample=HUNDRED, floor=Sample([25]), promises=(*promises, share_at_most(1, "y", HUNDRED)))
    assert [verdict.anywhere for verdict in figure.verdicts] == [False, False, False, True, True, True]


def test_a_ratio_that_cannot_be_had_keeps_no_promise() -> None:
    assert Figure(name="x", sample=HUNDRED, promises=(ratio_at_most(2),)).kept is False


def test_one_broken_promise_is_enough() -> None:
    figure = Figure(name="x", sample=HUNDRED, promises=(median_at_most(60), p95_at_most(60)))
    assert [verdict.kept for verdict in figure.verdicts] == [True, False]
    assert figure.kept is False


def test_without_promises_nothing_is_kept_or_broken() -> None:
    assert Figure(name="x", sample=HUNDRED).kept is None


def test_the_document_is_rounded_to_what_can_be_believed() -> None:
    figure = Figure(
        name="wake",
        sample=Sample([0.12345, 12.3456, 1234.56]),
        floor_name="raw",
        floor=Sample([6.54321]),
        promises=(median_at_most(10),),
    )
    assert figure.document() == {
        "name": "wake",
        "n": 3,
        "unit": "ms",
        "median": 12.3,
        "p95": 1235,
        "floor": {"name": "raw", "n": 1, "median": 6.54, "p95": 6.54},
        "ratio": 1.89,
        "promises": [{"promise": "p50 <= 10 ms", "measured": 12.3, "kept": False, "anywhere": False}],
        "kept": False,
    }
