"""One event, one line."""

from __future__ import annotations

from typing import Any

import pytest

from warmlane.monitor.plain import duration, plain_line


def test_a_whole_run_reads_like_this(story: list[dict[str, Any]]) -> None:
    lines = [line for message in story if (line := plain_line(message)) is not None]
    assert {line[:9] for line in lines} == {"08:00:00 "}
    assert [line[9:] for line in lines] == [
        "watching session s-1 on docker; containers: 1 dormant, at most 10",
        "[s-1-e1] release started: 3 blocks in 2 lanes",
        "image img:1: downloading 50%",
        "image img:1: complete",
        "container wl-c1: dormant -> idle (wake, ready in 12 ms)",
        "[s-1-e1] lane 0 started: lint, tests",
        "[s-1-e1] lint started in c1 (wake, 12 ms)",
        "[s-1-e1] tests started in c2 (cold, 300 ms, 1.50 s in line, attempt 2)",
        "[s-1-e1] lint | all [bold]well[/] \\x1b[2J",
        "[s-1-e1] tests ! three failed",
        "[s-1-e1] lint succeeded after 1.50 s",
        "[s-1-e1] tests failed after 1.50 s (error): exit code 3",
        "[s-1-e1] lane 0 ended: 1 succeeded, 1 failed, launched within 4.0 ms",
        "[s-1-e1] report skipped (earlier-failure)",
        "missed 7 events: this reader was too slow, or away too long",
        "[s-1-e1] failed after 3.25 s: 1 succeeded, 1 failed, 1 skipped",
    ]


def test_a_change_that_only_the_phase_shows(story: list[dict[str, Any]]) -> None:
    change = next(message for message in story if message["channel"] == "container:state-change")
    cooling = {"fromState": "running", "toState": "running", "phase": "cooling", "cause": "released", "wakeMs": None}
    line = plain_line({**change, "payload": {**change["payload"], **cooling}})
    assert line == "08:00:00 container wl-c1: cooling (released)"


def test_snapshots_and_what_is_not_known_have_no_line(story: list[dict[str, Any]]) -> None:
    silent = {message["channel"] for message in story if plain_line(message) is None}
    assert silent == {"execution:pool-status", "execution:block-error"}
    assert plain_line({**story[0], "channel": "execution:yet-to-come"}) is None


def test_no_foreign_text_steers_the_terminal(story: list[dict[str, Any]]) -> None:
    """Every string of every message is replaced by one that would."""

    def poisoned(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: poisoned(part) for key, part in value.items()}
        if isinstance(value, list | tuple):
            return [poisoned(part) for part in value]
        return "\x1b]0;owned\x07\n" if isinstance(value, str) else value

    for message in story:
        line = plain_line({**message, "executionId": "\x1b[2J", "payload": poisoned(message["payload"])})
        assert line is None or line.isprintable()


def test_one_block_in_one_lane(story: list[dict[str, Any]]) -> None:
    started = next(message for message in story if message["channel"] == "execution:started")
    line = plain_line({**started, "payload": {**started["payload"], "lanes": [["a"]]}})
    assert line == "08:00:00 [s-1-e1] release started: 1 block in 1 lane"


@pytest.mark.parametrize(
    ("milliseconds", "text"),
    [(None, "?"), (0.4, "0.4 ms"), (12.3, "12 ms"), (999.9, "1.00 s"), (1500, "1.50 s"), (245_000, "4 min 5 s")],
)
def test_durations(milliseconds: float | None, text: str) -> None:
    assert duration(milliseconds) == text
