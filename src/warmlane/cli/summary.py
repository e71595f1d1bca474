"""The end of a run in lines: what became of every block, how the blocks found their containers, and what is left.

Pure. It reads the payload of `execution:complete` and `execution:aborted`; nothing foreign in it can steer a terminal.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from warmlane.monitor.plain import duration, number_of
from warmlane.terminal import visible
from warmlane.wire import encode

_OUTPUT_WIDTH = 60
_ENDS = {
    "dormant": "dormant",
    "removed": "removed",
    "quarantined": "quarantined, for its removal is not confirmed",
    "stopping": "still being removed, with no block of this run in it",
    "returned": "back in the pool, not asleep yet",
}
_STARTS = {"hit": "ready", "cooling": "still warm", "wake": "woken", "cold": "cold start"}


def summary(plan_name: str, payload: Mapping[str, Any]) -> Iterator[str]:
    """The lines, one for each block, framed by how the run ended and by how its containers were found and left."""
    results: list[Mapping[str, Any]] = payload["results"]
    yield f"{visible(plan_name)} {payload['status']} in {duration(payload['durationMs'])}"
    width = max((len(visible(result["blockId"])) for result in results), default=0)
    for result in results:
        yield f"  {visible(result['blockId']):{width}}  {_outcome(result)}"
    yield f"  {_found(result['start']['cause'] for result in results if result['start'])}"
    if payload["status"] == "aborted":
        yield from _left(payload["receipt"])


def _outcome(result: Mapping[str, Any]) -> str:
    took = "" if result["durationMs"] is None else duration(result["durationMs"])
    parts = [f"{result['status']:9}", f"{took:>9}"]
    if start := result["start"]:
        waited = start["queuedMs"] + start["startMs"]
        parts.append(_STARTS[start["cause"]] + (f" after {duration(waited)}" if waited >= 1 else ""))
    if result["error"] is not None or result["reason"] is not None:
        said = visible(result["error"] or "")
        parts.append(f"{result['reason']}: {said}" if said else f"{result['reason']}")
    if result["output"] is not None:
        parts.append(f"-> {_shortened(result['output'])}")
    return "  ".join(parts)


def _shortened(output: Any) -> str:
    text = encode(output)
    return visible(text if len(text) <= _OUTPUT_WIDTH else text[: _OUTPUT_WIDTH - 1] + "…")


def _found(causes: Iterable[str]) -> str:
    count = Counter(causes)
    ready = count["hit"] + count["cooling"]
    others = [f", {count[cause]} {word}" for cause, word in (("wake", "woken"), ("cold", "cold")) if count[cause]]
    return f"{ready} of {number_of(count.total(), 'block')} found a container ready{''.join(others)}"


def _left(receipt: Mapping[str, Any]) -> Iterator[str]:
    for container in receipt["containers"]:
        at = visible(container["at"])[11:23]  # of 2026-02-22T10:00:00.123Z
        yield f"  container {visible(container['name'])}: {_ENDS[container['ended']]} at {at} UTC"
    yield f"  settled {duration(receipt['settledMs'])} after the end was asked for"
