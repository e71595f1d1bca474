"""One message of a monitor as one line for people. Pure; nothing foreign in a line can steer a terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from warmlane.terminal import visible

Message = Mapping[str, Any]


def duration(milliseconds: float | None) -> str:
    """`0.4 ms`, `12 ms`, `3.21 s`, `4 min 5 s`; `?` if it is not known."""
    if milliseconds is None:
        return "?"
    if milliseconds < 999.5:
        return f"{milliseconds:.1f} ms" if milliseconds < 10 else f"{milliseconds:.0f} ms"
    seconds = milliseconds / 1000
    return f"{seconds:.2f} s" if seconds < 60 else f"{seconds // 60:.0f} min {seconds % 60:.0f} s"


def number_of(number: int, what: str) -> str:
    """`1 block`, `2 blocks`."""
    return f"{number} {what}{'s'[: number != 1]}"


def counted(counts: Mapping[str, int]) -> str:
    """`2 dormant, 1 running`; nothing for what is zero."""
    return ", ".join(f"{number} {visible(what)}" for what, number in counts.items() if number) or "none"


def tally(results: Iterable[Mapping[str, Any]]) -> str:
    """How many blocks ended how: `3 succeeded, 1 failed`."""
    counts: dict[str, int] = {}
    for result in results:
        counts[result["status"]] = counts.get(result["status"], 0) + 1
    return counted(counts)


def started_by(start: Mapping[str, Any] | None) -> str:
    """How a block got its container: `wake, 12 ms`, `cold, 300 ms, 1.20 s in line`."""
    if start is None:
        return "no container"
    queued = f", {duration(start['queuedMs'])} in line" if start["queuedMs"] >= 1 else ""
    return f"{visible(start['cause'])}, {duration(start['startMs'])}{queued}"


def plain_text(message: Message) -> str | None:
    """What happened; None for what only repeats something (pool snapshots, and the error of a block, whose result
    follows at once) and for channels that are not known here."""
    text = _TEXTS.get(message["channel"])
    return None if text is None else text(message["payload"])


def plain_line(message: Message) -> str | None:
    """`plain_text` behind the time of day (UTC) and the execution."""
    text = plain_text(message)
    if text is None:
        return None
    run = f"[{visible(message['executionId'])}] " if message["executionId"] else ""
    return f"{visible(message['at'] or '')[11:19]} {run}{text}"


def _hello(payload: Message) -> str:
    pool = payload["pool"]
    containers = f"containers: {counted(pool['counts'])}, at most {pool['maxContainers']}"
    return f"watching session {visible(payload['sessionId'])} on {visible(payload['runtime'])}; {containers}"


def _lost(payload: Message) -> str:
    return f"missed {number_of(payload['count'], 'event')}: this reader was too slow, or away too long"


def _started(payload: Message) -> str:
    blocks = sum(len(lane) for lane in payload["lanes"])
    lanes = len(payload["lanes"])
    return f"{visible(payload['planName'])} started: {number_of(blocks, 'block')} in {number_of(lanes, 'lane')}"


def _lane_started(payload: Message) -> str:
    return f"lane {payload['lane']} started: {', '.join(map(visible, payload['blockIds']))}"


def _block_started(payload: Message) -> str:
    return f"{visible(payload['blockId'])} started in {visible(payload['containerId'])} ({_begin(payload)})"


def _begin(payload: Message) -> str:
    again = f", attempt {payload['attempt']}" if payload["attempt"] > 1 else ""
    return started_by(payload["start"]) + again


def _log(payload: Message) -> str:
    mark = "!" if payload["stream"] == "stderr" else "|"
    return f"{visible(payload['blockId'])} {mark} {visible(payload['text'])}"


def _block_ended(payload: Message) -> str:
    reason = f" ({visible(payload['reason'])})" if payload["reason"] else ""
    error = f": {visible(payload['error'])}" if payload["error"] else ""
    took = f" after {duration(payload['durationMs'])}" if payload["durationMs"] is not None else ""
    return f"{visible(payload['blockId'])} {visible(payload['status'])}{took}{reason}{error}"


def _lane_ended(payload: Message) -> str:
    spread = payload["launchSpreadMs"]
    launched = f", launched within {duration(spread)}" if spread is not None and len(payload["results"]) > 1 else ""
    return f"lane {payload['lane']} ended: {tally(payload['results'])}{launched}"


def _ended(payload: Message) -> str:
    return f"{visible(payload['status'])} after {duration(payload['durationMs'])}: {tally(payload['results'])}"


def _state(payload: Message) -> str:
    """Where only the phase has changed, the phase."""
    before, after = payload["fromState"], payload["toState"]
    moved = before is not None and before != after
    now = f"{visible(str(before))} -> {visible(after)}" if moved else visible(payload["phase"])
    ready = payload["coldStartMs"] if payload["coldStartMs"] is not None else payload["wakeMs"]
    took = f", ready in {duration(ready)}" if ready is not None else ""
    block = f" for {visible(payload['blockId'])}" if payload["blockId"] else ""
    return f"container {visible(payload['name'])}: {now}{block} ({visible(payload['cause'])}{took})"


def _pull(payload: Message) -> str:
    return f"image {visible(payload['image'])}: {visible(payload['status'])}{progress(payload)}"


def progress(payload: Message) -> str:
    """` 45 %` of a pull, or nothing if it is not known."""
    current, total = payload["current"], payload["total"]
    return f" {current / total:.0%}" if current is not None and total else ""


def _notice(payload: Message) -> str:
    return f"notice: {visible(payload['text'])}"


_TEXTS: Final[Mapping[str, Callable[[Message], str]]] = {
    "monitor:hello": _hello,
    "monitor:lost": _lost,
    "session:notice": _notice,
    "execution:started": _started,
    "execution:lane-start": _lane_started,
    "execution:block-start": _block_started,
    "execution:block-log": _log,
    "execution:block-complete": _block_ended,
    "execution:lane-complete": _lane_ended,
    "execution:complete": _ended,
    "execution:aborted": _ended,
    "container:state-change": _state,
    "container:pull-progress": _pull,
}
