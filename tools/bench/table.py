"""The report for people. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any

_HEAD = ("figure", "n", "p50", "p95", "unit", "floor", "p50", "p95", "ratio", "promise", "kept")
_RIGHT = (1, 2, 3, 6, 7, 8)


def table(document: Mapping[str, Any]) -> str:
    """What `report.document` says, in aligned columns; a figure with several promises takes a line for each."""
    rows = [_HEAD, *(row for figure in document["figures"] for row in _rows(figure))]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEAD))]
    lines = ["  ".join(_cell(row[column], width, column) for column, width in enumerate(widths)) for row in rows]
    lines.insert(1, "  ".join("-" * width for width in widths))
    about = ", ".join(f"{name} {value}" for name, value in document["conditions"].items())
    return "\n".join([*(line.rstrip() for line in lines), "", about])


def broken(document: Mapping[str, Any], *, quick: bool) -> list[str]:
    """A sentence for each promise that was not kept. quick: few rounds, on a machine that may be busy, say nothing of
    milliseconds; ratios and counts must hold all the same."""
    return [
        f"{figure['name']}: promised {verdict['promise']}, measured {verdict['measured']:g}"
        for figure in document["figures"]
        for verdict in figure["promises"]
        if not verdict["kept"] and (verdict["anywhere"] or not quick)
    ]


def _rows(figure: Mapping[str, Any]) -> Sequence[tuple[str, ...]]:
    floor = figure["floor"] or {"name": "", "median": None, "p95": None}
    first = (figure["name"], *map(_word, (figure["n"], figure["median"], figure["p95"])), figure["unit"])
    first += (floor["name"], *map(_word, (floor["median"], floor["p95"], figure["ratio"])))
    verdicts = [(verdict["promise"], "yes" if verdict["kept"] else "NO") for verdict in figure["promises"]]
    blank = ("",) * len(first)
    return [(*(blank if at else first), *verdict) for at, verdict in enumerate(verdicts or [("", "")])]


def _word(value: float | None) -> str:
    return "" if value is None else f"{value:g}"


def _cell(text: str, width: int, column: int) -> str:
    return text.rjust(width) if column in _RIGHT else text.ljust(width)
