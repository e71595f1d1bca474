"""What was measured, and whether it keeps a promise. Pure."""

import math
import statistics
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from attrs import field, frozen


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least this share (0 to 1) of the values does not exceed: one that was measured."""
    if not values:
        raise ValueError("no values")
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


def _floats(values: Iterable[float]) -> tuple[float, ...]:
    return tuple(map(float, values))


@frozen
class Sample:
    """The values of one thing measured many times. Raises ValueError if there are none."""

    values: tuple[float, ...] = field(converter=_floats)

    def __attrs_post_init__(self) -> None:
        if not self.values:
            raise ValueError("no values")

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    @property
    def p95(self) -> float:
        return percentile(self.values, 0.95)


@frozen
class Verdict:
    """A promise held against what was measured."""

    promise: str
    measured: float
    bound: float
    anywhere: bool = False
    """Whether it must be kept on a slow or busy machine, too: a ratio or a count, no time."""

    @property
    def kept(self) -> bool:
        return self.measured <= self.bound


Promise = Callable[["Figure"], Verdict]


@frozen(kw_only=True)
class Figure:
    """One line of the report. `floor` is the same work without the engine, in the same unit."""

    name: str
    unit: str = "ms"
    sample: Sample
    floor_name: str | None = None
    floor: Sample | None = None
    promises: tuple[Promise, ...] = ()

    @property
    def ratio(self) -> float | None:
        """Median over the floor's median; None without a floor, or if that took no time."""
        return self.sample.median / self.floor.median if self.floor and self.floor.median else None

    @property
    def verdicts(self) -> tuple[Verdict, ...]:
        return tuple(promise(self) for promise in self.promises)

    @property
    def kept(self) -> bool | None:
        """Whether all its promises are kept; None if it has none."""
        return all(verdict.kept for verdict in self.verdicts) if self.promises else None

    def document(self) -> dict[str, Any]:
        """As plain JSON values, rounded to what can be believed."""
        return {
            "name": self.name,
            "n": len(self.sample.values),
            "unit": self.unit,
            "median": _rounded(self.sample.median),
            "p95": _rounded(self.sample.p95),
            "floor": self.floor
            and {
                "name": self.floor_name,
                "n": len(self.floor.values),
                "median": _rounded(self.floor.median),
                "p95": _rounded(self.floor.p95),
            },
            "ratio": None if self.ratio is None else _rounded(self.ratio),
            "promises": [
                {
                    "promise": verdict.promise,
                    "measured": _rounded(verdict.measured),
                    "kept": verdict.kept,
                    "anywhere": verdict.anywhere,
                }
                for verdict in self.verdicts
            ],
            "kept": self.kept,
        }


def median_at_most(bound: float) -> Promise:
    """The median, in the figure's unit."""
    return lambda figure: Verdict(f"p50 <= {bound:g} {figure.unit}", figure.sample.median, bound)


def p95_at_most(bound: float) -> Promise:
    """The 95th percentile, in the figure's unit."""
    return lambda figure: Verdict(f"p95 <= {bound:g} {figure.unit}", figure.sample.p95, bound)


def all_at_most(bound: float) -> Promise:
    """The largest value, in the figure's unit."""
    return lambda figure: Verdict(f"all <= {bound:g} {figure.unit}", max(figure.sample.values), bound)


def count_at_most(bound: int) -> Promise:
    """The largest value of what is counted, not timed."""
    return lambda figure: Verdict(f"all <= {bound} {figure.unit}", max(figure.sample.values), bound, anywhere=True)


def ratio_at_most(bound: float) -> Promise:
    """The median over the floor's median."""

    def verdict(figure: Figure) -> Verdict:
        ratio = math.inf if figure.ratio is None else figure.ratio
        return Verdict(f"p50 <= {bound:g}x floor", ratio, bound, anywhere=True)

    return verdict


def share_at_most(bound: float, name: str, other: Sample) -> Promise:
    """The median over another figure's median."""

    def verdict(figure: Figure) -> Verdict:
        share = figure.sample.median / other.median
        return Verdict(f"p50 <= {bound:.0%} of {name}", share, bound, anywhere=True)

    return verdict


def milliseconds(seconds: Iterable[float]) -> Sample:
    """A sample in ms."""
    return Sample(value * 1000 for value in seconds)


def _rounded(value: float) -> float:
    """To three significant digits, but never to less than whole numbers."""
    return round(value, 3 if abs(value) < 1 else 2 if abs(value) < 10 else 1 if abs(value) < 100 else 0)
