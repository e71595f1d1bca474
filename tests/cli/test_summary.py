"""The end of a run in lines."""

from __future__ import annotations

from typing import Any, get_args, get_type_hints

import pytest

from warmlane.cli.summary import summary
from warmlane.records import ContainerEnd

RESULT: dict[str, Any] = {
    "blockId": "a",
    "status": "failed",
    "reason": "aborted",
    "output": None,
    "error": "the run was aborted",
    "durationMs": 1500,
    "start": {"cause": "hit", "queuedMs": 0, "startMs": 0},
}


def lines(ended: str) -> list[str]:
    """The lines of a run of one block that was aborted, and left its container this way."""
    end = {"containerId": "c", "name": "wl-\x1bc", "ended": ended, "at": "2026-02-22T10:00:00.123Z"}
    receipt = {"containers": [end], "settledMs": 20}
    return list(summary("p", {"status": "aborted", "durationMs": 2000, "results": [RESULT], "receipt": receipt}))


def test_an_aborted_run_says_how_and_when_each_container_ended() -> None:
    assert lines("removed") == [
        "p aborted in 2.00 s",
        "  a  failed        1.50 s  ready  aborted: the run was aborted",
        "  1 of 1 block found a container ready",
        "  container wl-\\x1bc: removed at 10:00:00.123 UTC",
        "  settled 20 ms after the end was asked for",
    ]


@pytest.mark.parametrize("ended", get_args(get_type_hints(ContainerEnd)["ended"]))
def test_there_are_words_for_every_end(ended: str) -> None:
    assert lines(ended)[3].endswith(" at 10:00:00.123 UTC")
