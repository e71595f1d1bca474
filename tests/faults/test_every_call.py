"""One call to host or agent goes wrong, each in its turn: every block has its result, and nothing is left."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

from warmlane.runtimes.fake_faults import Fault, fails_after, fails_before, hangs, lies, refused, slow

if TYPE_CHECKING:
    from tests.faults.conftest import Course, Golden

FAULTS = {
    "before": fails_before(),
    "refused": fails_before(refused),
    "after": fails_after(),
    "after-a-while": fails_after(delay=0.2),
    "hangs": hangs(),
    "hangs-having-done-it": hangs(does=True),
    "slow": slow(1.5),
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_kth_call_goes_wrong(
    golden: Golden, play: Callable[..., Course], sample: Callable[[int, int], Iterator[int]], fault: Fault
) -> None:
    whole = play(golden)
    assert whole.broken == []
    assert whole.calls > 15
    found: dict[Any, list[str]] = {}
    for number in sample(whole.calls, 1):
        course = play(golden, number=number, fault=fault)
        assert course.met is not None, "what was counted comes again"
        if course.broken:
            found[number, course.met.kind] = course.broken
    assert not found


def test_a_course_that_breaks_a_promise_is_seen(golden: Golden, play: Callable[..., Course]) -> None:
    """The host says of its last container that it is gone, and it is not."""
    calls = play(golden).calls
    last = play(golden, number=calls, fault=lies())
    assert last.met is not None
    assert last.met.kind == "remove"
    assert any(what.startswith("left behind: ") for what in last.broken)
