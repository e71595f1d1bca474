"""All that can be measured, by name, in the order of the report."""

from collections.abc import Awaitable, Callable, Mapping

from bench import dispatch, ends, lanes, life, overhead, recovery, spread
from bench.ground import Ground
from bench.stats import Figure

Measure = Callable[[Ground], Awaitable[list[Figure]]]

MEASURES: Mapping[str, Measure] = {
    "overhead": overhead.measure,
    "life-unix": life.measure_unix,
    "life-tcp": life.measure_tcp,
    "dispatch": dispatch.measure,
    "chain": dispatch.measure_chain,
    "spread": spread.measure,
    "lanes": lanes.measure,
    "pause": ends.measure_pause,
    "abort": ends.measure_abort,
    "recovery": recovery.measure,
}
