"""One call to host or agent goes wrong, each in its turn: every block has its result, and nothing is left."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from warmlane.agent.protocol import Exit
from warmlane.runtimes.fake_faults import (
    AGENT_CALLS,
    Call,
    Fault,
    Kind,
    fails_after,
    fails_before,
    ghost,
    hangs,
    lies,
    refused,
    slow,
)

if TYPE_CHECKING:
    from tests.faults.conftest import Course, Golden

ANSWERS: dict[Kind, object] = {"alive": False, "owned": (), "run": Exit(code=0)}
"""What a host that lies says, where nothing at all is no answer."""


def lie(call: Call) -> Fault | None:
    """Not done, and all is well. Only the agent, which is our own, does not say of a block that it has ended."""
    return None if call.kind == "end" else lies(ANSWERS.get(call.kind))


def apparition(seconds: float) -> Callable[[Call], Fault | None]:
    """Said to have failed, and done later all the same. An agent does nothing for a connection that has broken."""
    return lambda call: None if call.kind in AGENT_CALLS else ghost(seconds)


FAULTS: dict[str, Callable[[Call], Fault | None]] = {
    "before": lambda _: fails_before(),
    "refused": lambda _: fails_before(refused),
    "after": lambda _: fails_after(),
    "after-a-while": lambda _: fails_after(delay=0.2),
    "hangs": lambda _: hangs(),
    "hangs-having-done-it": lambda _: hangs(does=True),
    "slow": lambda _: slow(1.5),
    "lies": lie,
    "done-a-moment-later": apparition(0.03),
    "done-later": apparition(0.8),
}
MISLED: dict[str, Kind] = {"lies": "remove", "done-later": "create"}
"""What the engine cannot know: that a container which is confirmed gone is not; that one which failed to be created,
and was confirmed gone, comes all the same, and that not within a moment. Of all other calls nothing is excused."""


@pytest.mark.parametrize("name", FAULTS)
def test_kth_call_goes_wrong(golden: Golden, play: Callable[..., Course], name: str) -> None:
    whole = play(golden)
    assert whole.broken == []
    assert whole.calls > 15
    found: dict[Any, list[str]] = {}
    for number in range(1, whole.calls + 1):
        course = play(golden, number=number, fault=FAULTS[name], misled=MISLED.get(name))
        assert course.met is not None, "what was counted comes again"
        if course.broken:
            found[number, course.met.kind] = course.broken
    assert not found


def test_a_course_that_breaks_a_promise_is_seen(golden: Golden, play: Callable[..., Course]) -> None:
    """The host says of its last container that it is gone, and it is not."""
    calls = play(golden).calls
    last = play(golden, number=calls, fault=lambda _: lies())
    assert last.met is not None
    assert last.met.kind == "remove"
    assert any(what.startswith("left behind: ") for what in last.broken)
