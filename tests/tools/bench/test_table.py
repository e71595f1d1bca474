"""The table of the benchmark, for people."""

from bench.stats import Figure, Sample, median_at_most, p95_at_most
from bench.table import table


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
