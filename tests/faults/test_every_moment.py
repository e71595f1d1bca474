"""A run is ended from outside at each step of a task: every block has its result, and nothing is left."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.faults.conftest import Course, Golden, Way

WAYS: tuple[Way, ...] = ("abort", "scope", "exception", "session")


@pytest.mark.parametrize("way", WAYS)
def test_ended_at_the_kth_step(golden: Golden, play: Callable[..., Course], way: Way) -> None:
    whole = play(golden, way=way)
    assert whole.broken == []
    assert whole.steps > 50
    found: dict[int, list[str]] = {}
    for step in range(1, whole.steps + 1):
        course = play(golden, way=way, step=step)
        assert course.cut_at is not None, "what was counted comes again"
        if course.broken:
            found[step] = course.broken
    assert not found
