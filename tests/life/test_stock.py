"""The books of containers and of those in line."""

from __future__ import annotations

import pytest

from warmlane.life.stock import Line, Stock
from warmlane.life.table import State


def test_place_moves_a_container_to_the_end_of_its_shelf() -> None:
    stock = Stock()
    for name in ("one", "two", "three"):
        stock.place(name, "a", State.DORMANT)
    assert stock.longest("a", State.DORMANT) == "one"
    stock.place("one", "a", State.WAKING)
    assert stock.longest("a", State.DORMANT) == "two"
    stock.place("one", "a", State.DORMANT)
    stock.drop("two")
    assert stock.longest("a", State.DORMANT) == "three"
    assert len(stock) == 2
    assert (stock.total(State.DORMANT), stock.total(State.WAKING)) == (2, 0)


def test_counts_are_by_specification() -> None:
    stock = Stock()
    stock.place("one", "a", State.IDLE)
    stock.place("two", "b", State.IDLE)
    stock.place("three", "a", State.RUNNING)
    assert stock.count("a", State.IDLE, State.RUNNING) == 2
    assert stock.count("c", State.IDLE) == 0
    assert stock.longest("c", State.IDLE) is None
    assert sorted(stock.keys_in(State.IDLE)) == ["a", "b"]
    assert stock.keys_in(State.DORMANT) == []


def test_longest_of_others_goes_by_age_over_all_specifications() -> None:
    stock = Stock()
    for name, key in (("young", "a"), ("old", "b"), ("older", "c")):
        stock.place(name, key, State.RUNNING)
    for name, key in (("older", "c"), ("old", "b"), ("young", "a")):
        stock.place(name, key, State.DORMANT)
    assert stock.longest_of_others(set(), State.DORMANT) == "older"
    assert stock.longest_of_others({"c"}, State.DORMANT) == "old"
    assert stock.longest_of_others({"a", "b", "c"}, State.DORMANT) is None


def test_drop_of_a_stranger_does_nothing() -> None:
    stock = Stock()
    stock.drop("nobody")
    assert len(stock) == 0


def test_line_is_first_come_first_served_within_a_specification() -> None:
    line = Line()
    first, other, second = line.join("a"), line.join("b"), line.join("a")
    assert (line.first("a"), line.first("b"), line.first("c")) == (first, other, None)
    assert line.oldest() is first
    assert list(line.heads()) == [first, other]
    assert (line.waiting("a"), line.waiting("c"), len(line)) == (2, 0, 3)
    line.leave(first)
    assert (line.first("a"), line.oldest()) == (second, other)
    line.leave(first)
    assert len(line) == 2


def test_only_the_oldest_remembers_that_it_was_passed() -> None:
    line = Line()
    first, second, third = line.join("a"), line.join("b"), line.join("c")
    line.serve(third)
    assert (first.passed, second.passed) == (1, 0)
    line.serve(first)
    assert second.passed == 0, "an older one does not pass"
    line.leave(line.join("c"))
    assert second.passed == 0, "giving up does not pass"


@pytest.mark.parametrize("key", ["a", "b"])
def test_tickets_are_never_used_twice(key: str) -> None:
    line = Line()
    first = line.join(key)
    line.leave(first)
    assert line.join(key).number != first.number
    assert first not in line.heads()
