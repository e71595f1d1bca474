"""The table of the benchmark, for people."""

from bench.stats import Figure, Sample, count_at_most, median_at_most, p95_at_most, ratio_at_most
from bench.table import broken, table


def test_the_table_has_a_line_for_each_promise() -> None:
    figures = [
        Figure(
            name="wake",
            sample=Sample([10, 20]),
            floor_name="raw",
            floor=Sample([5]),
            promises=(median_at_most(100), p95_at_most(15)),
        ),
        Figure(name="left behind", unit="things", sample=Sample([0])),
    ]
    document = {"figures": [figure.document() for figure in figures], "conditions": {"cpus": 2}}
    assert table(document).splitlines() == [
        "figure       n  p50  p95  unit    floor  p50  p95  ratio  promise        kept",
        "-----------  -  ---  ---  ------  -----  ---  ---  -----  -------------  ----",
        "wake         2   15   20  ms      raw      5    5      3  p50 <= 100 ms  yes",
        "                                                          p95 <= 15 ms   NO",
        "left behind  1    0    0  things",
        "",
        "cpus 2",
    ]


def test_what_is_broken_is_told_and_time_does_not_count_when_quick() -> None:
    wake = Figure(
        name="wake",
        sample=Sample([10]),
        floor_name="raw",
        floor=Sample([4]),
        promises=(median_at_most(9), ratio_at_most(2)),
    )
    left = Figure(name="left behind", unit="things", sample=Sample([1]), promises=(count_at_most(0),))
    document = {"figures": [wake.document(), left.document()]}
    assert broken(document, quick=True) == [
        "wake: promised p50 <= 2x floor, measured 2.5",
        "left behind: promised all <= 0 things, measured 1",
    ]
    assert broken(document, quick=False) == ["wake: promised p50 <= 9 ms, measured 10", *broken(document, quick=True)]
    kept = Figure(name="wake", sample=Sample([10]), promises=(median_at_most(10),))
    assert broken({"figures": [kept.document()]}, quick=False) == []
