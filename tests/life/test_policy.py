"""Every small stock with every short line: what the policy may never do, and what it may never leave undone."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from itertools import combinations_with_replacement, product

import pytest

from warmlane.life.policy import (
    PASSED_AT_MOST,
    Create,
    Lend,
    Move,
    Replace,
    Sleep,
    Wake,
    hopeless,
    next_move,
    starving,
    surplus,
)
from warmlane.life.stock import Line, Stock
from warmlane.life.table import State

S = State
KEYS = "ab"
LIVING = (S.STARTING, S.IDLE, S.RUNNING, S.COOLING, S.PAUSING, S.DORMANT, S.WAKING, S.STOPPING, S.QUARANTINED)
READY = (S.IDLE, S.COOLING)
Kind = tuple[str, State]


class World:
    """A stock and a line that can carry moves out; what the policy cannot see is kept beside them."""

    def __init__(self, kinds: tuple[Kind, ...], queue: tuple[str, ...], passed: int = 0) -> None:
        self.stock, self.line = Stock(), Line()
        self.at: dict[str, Kind] = {}
        self.born = 0
        for key, state in kinds:
            self.place(f"c{self.born}", key, state)
        for key in queue:
            self.line.join(key)
        if (oldest := self.line.oldest()) is not None:
            oldest.passed = passed

    def place(self, name: str, key: str, state: State) -> None:
        self.born += name not in self.at
        self.at[name] = key, state
        self.stock.place(name, key, state)

    def drop(self, name: str) -> None:
        del self.at[name]
        self.stock.drop(name)

    def has(self, key: str, *states: State) -> bool:
        return any((key, state) in self.at.values() for state in states)

    def carry_out(self, move: Move) -> None:
        match move:
            case Lend(name, ticket):
                self.line.serve(ticket)
                self.place(name, self.at[name][0], S.RUNNING)
            case Wake(name):
                self.place(name, self.at[name][0], S.WAKING)
            case Replace(name):
                self.place(name, self.at[name][0], S.STOPPING)
            case Sleep(name):
                self.place(name, self.at[name][0], S.PAUSING)
            case Create(key):
                self.place(f"c{self.born}", key, S.STARTING)

    def check(self, move: Move, warm: Mapping[str, int], cap: int) -> None:
        """What holds of every single move."""
        line, at = self.line, self.at
        waiting = {key: line.waiting(key) for key in KEYS}
        hungry = starving(self.stock, line, cap)
        match move:
            case Lend(name, ticket):
                key, state = at[name]
                assert state in READY, "only what is ready is lent"
                assert ticket.key == key
                assert ticket is line.first(key), "first come, first served"
                assert state is S.IDLE or not self.has(key, S.IDLE), "idle before cooling"
                assert hungry is None or ticket is hungry
            case Wake(name):
                key, state = at[name]
                assert state is S.DORMANT
                assert waiting[key], "nothing is woken that nobody waits for"
                assert not self.has(key, *READY), "ready before dormant"
                assert name == self.stock.longest(key, S.DORMANT), "the longest dormant first"
            case Create(key):
                assert len(at) < cap
                if waiting[key]:
                    assert not self.has(key, *READY, S.DORMANT), "what is there before a new one"
                else:
                    assert len([1 for other, _ in at.values() if other == key]) < warm.get(key, 0) + self.leaving(key)
            case Replace(name):
                key, state = at[name]
                assert len(at) >= cap, "below the cap nothing has to go"
                assert state in (S.DORMANT, S.IDLE, S.COOLING)
                assert state is S.DORMANT or not any(
                    at_state is S.DORMANT and not waiting[other] for other, at_state in at.values()
                ), "a sleeper goes before one that is awake"
                assert not waiting[key] or hungry is not None, "not one that somebody waits for"
                assert hungry is None or hungry.key != key
            case Sleep(name):
                key, state = at[name]
                assert state is S.IDLE
                assert not waiting[key]
                assert not warm.get(key)

    def leaving(self, key: str) -> int:
        return len([1 for kind in self.at.values() if kind in ((key, S.STOPPING), (key, S.QUARANTINED))])

    def check_rest(self, warm: Mapping[str, int], cap: int) -> None:
        """What holds when nothing is left to do."""
        assert len(self.at) <= cap
        hungry = starving(self.stock, self.line, cap)
        for key in KEYS:
            waiting = self.line.waiting(key)
            soon = self.stock.count(key, S.WAKING, S.PAUSING)
            coming = soon + self.stock.count(key, S.STARTING)
            if waiting and hungry is None:
                assert not self.has(key, *READY), "nobody waits beside a ready container"
                assert waiting <= soon or not self.has(key, S.DORMANT), "nor beside a sleeping one"
                assert waiting <= coming or len(self.at) >= cap, "nor below the cap"
            if not waiting and not warm.get(key):
                assert not self.has(key, S.IDLE), "nothing stays awake for nobody"
        lacking = sum(
            max(0, self.line.waiting(key) - self.stock.count(key, S.WAKING, S.PAUSING, S.STARTING)) for key in KEYS
        )
        if lacking > self.stock.total(S.STOPPING) and hungry is None:
            for key in KEYS:
                assert self.line.waiting(key) or not self.has(key, S.DORMANT, S.IDLE, S.COOLING), "its place is needed"
        if len(self.at) < cap:
            for key in KEYS:
                there = len([1 for other, _ in self.at.values() if other == key]) - self.leaving(key)
                assert there >= warm.get(key, 0), "warm orders are met below the cap"

    def settle(self, warm: Mapping[str, int], cap: int) -> list[Move]:
        """Moves until there is none."""
        moves: list[Move] = []
        while (move := next_move(self.stock, self.line, warm, cap)) is not None:
            self.check(move, warm, cap)
            before = len(self.at)
            self.carry_out(move)
            assert len(self.at) <= max(cap, before)
            moves.append(move)
            assert len(moves) <= 30, f"no fixed point: {moves[-4:]}"
        self.check_rest(warm, cap)
        return moves


def stocks(most: int) -> Iterator[tuple[Kind, ...]]:
    kinds = list(product(KEYS, LIVING))
    for size in range(most + 1):
        yield from combinations_with_replacement(kinds, size)


LINES = [queue for size in range(4) for queue in product(KEYS, repeat=size)]


@pytest.mark.parametrize("queue", LINES, ids="".join)
def test_every_small_world(queue: tuple[str, ...]) -> None:
    """All stocks of up to three containers in every state (two, if many wait), caps with and without room, cold, warm
    and starving."""
    for kinds in stocks(3 if len(queue) < 3 else 2):
        for cap in range(max(1, len(kinds)), len(kinds) + 2):
            for warm, passed in (({}, 0), ({}, PASSED_AT_MOST), ({"a": 1}, 0), ({"a": 2, "b": 1}, 0)):
                World(kinds, queue, passed).settle(warm, cap)


@pytest.mark.parametrize(
    ("kinds", "queue", "moves"),
    [
        pytest.param("", "a", [Create("a")], id="new"),
        pytest.param("dormant", "a", [Wake("c0")], id="dormant before new"),
        pytest.param("starting", "a", [], id="one is coming"),
        pytest.param("starting", "aa", [Create("a")], id="one is coming for two"),
        pytest.param("starting dormant", "a", [Wake("c1")], id="no wait for a birth beside a sleeper"),
        pytest.param("pausing", "a", [], id="soon asleep is soon awake"),
        pytest.param("idle", "", [Sleep("c0")], id="idle for nobody"),
        pytest.param("running", "", [], id="all is well"),
    ],
)
def test_moves_below_the_cap(kinds: str, queue: str, moves: list[Move]) -> None:
    world = World(tuple(("a", S(word)) for word in kinds.split()), tuple(queue))
    assert world.settle({}, 9) == moves


@pytest.mark.parametrize(
    ("births", "queue", "warm", "number"),
    [(0, "", 0, 0), (3, "", 0, 3), (3, "a", 0, 2), (3, "bb", 0, 3), (3, "", 1, 2), (3, "a", 1, 1), (1, "aa", 1, 0)],
)
def test_births_that_nobody_needs(births: int, queue: str, warm: int, number: int) -> None:
    world = World((("a", S.STARTING),) * births + (("b", S.STARTING), ("a", S.IDLE)), tuple(queue))
    assert surplus(world.stock, world.line, {"a": warm} if warm else {}, "a") == number


@pytest.mark.parametrize(
    ("states", "cap", "none_left"),
    [("QQ", 2, True), ("QQ", 3, False), ("QR", 2, False), ("QS", 2, False), ("", 0, False), ("QQQ", 2, True)],
)
def test_without_hope_are_those_for_whom_only_the_host_can_make_room(states: str, cap: int, none_left: bool) -> None:
    words = {"Q": S.QUARANTINED, "R": S.RUNNING, "S": S.STOPPING}
    world = World(tuple(("a", words[letter]) for letter in states), ("b",))
    assert hopeless(world.stock, cap) is none_left


def test_order_of_preference() -> None:
    """idle, cooling, the longest dormant, a new one, another's place, the line."""
    states = (S.DORMANT, S.COOLING, S.DORMANT, S.IDLE)
    world = World((*(("a", state) for state in states), ("b", S.DORMANT), ("b", S.RUNNING)), tuple("aaaaaaa"))
    moves = world.settle({}, 7)
    got = [move.name if isinstance(move, Lend | Wake | Replace) else type(move) for move in moves]
    assert got == ["c3", "c1", "c0", "c2", Create, "c4"]
    assert world.line.waiting("a") == 5
    assert world.stock.total(S.STOPPING) == 1


def test_one_place_is_made_for_each_in_line_and_not_more() -> None:
    world = World((("b", S.DORMANT), ("b", S.DORMANT), ("b", S.DORMANT)), ("a", "a"))
    assert world.settle({}, 3) == [Replace("c0"), Replace("c1")]


def test_place_that_is_being_freed_is_not_freed_twice() -> None:
    world = World((("b", S.STOPPING), ("b", S.DORMANT)), ("a",))
    assert world.settle({}, 2) == []


def test_sleepers_go_before_those_awake() -> None:
    world = World((("b", S.COOLING), ("b", S.IDLE), ("b", S.DORMANT)), ("a", "a", "a"))
    assert world.settle({"b": 1}, 3) == [Replace("c2"), Replace("c1"), Replace("c0")]


def test_those_in_line_come_before_warmth() -> None:
    world = World((("a", S.RUNNING),), ("b",))
    assert world.settle({"a": 2}, 2) == [Create("b")]


def test_bypass_limit() -> None:
    """Passed often enough, the oldest gets the next free place, though it is another's container."""
    kinds: tuple[Kind, ...] = (("b", S.COOLING), ("b", S.RUNNING))
    almost = World(kinds, ("a", "b"), PASSED_AT_MOST - 1)
    assert [type(move) for move in almost.settle({}, 2)] == [Lend]
    starved = World(kinds, ("a", "b"), PASSED_AT_MOST)
    assert starved.settle({}, 2) == [Replace("c0")]


def test_starving_one_does_not_wake_what_it_cannot_use() -> None:
    """The sleeper of another specification is replaced, not woken for a younger one."""
    world = World((("b", S.DORMANT), ("b", S.RUNNING)), ("a", "b"), PASSED_AT_MOST)
    assert world.settle({}, 2)[0] == Replace("c0")


@pytest.mark.parametrize("seed", range(60))
def test_long_random_life(seed: int) -> None:
    """Whatever happens to containers, in whatever order: invariants hold, and in the end all are served."""
    chance = random.Random(seed)
    cap = chance.randint(1, 4)
    world = World((), ())
    warm: dict[str, int] = {}
    for _ in range(300):
        match chance.randrange(6):
            case 0 | 1:
                world.line.join(chance.choice(KEYS))
            case 2:
                warm = chance.choice([{}, {"a": 2}, {"a": 1, "b": 3}])
            case 3 if world.at:
                name = chance.choice(list(world.at))
                if world.at[name][1] not in (S.STOPPING, S.QUARANTINED):
                    world.place(name, world.at[name][0], S.STOPPING)
            case _:
                happen(world, chance)
        world.settle(warm, cap)
    for _ in range(1000):
        happen(world, chance)
        world.settle({}, cap)
    assert len(world.line) == 0


def happen(world: World, chance: random.Random) -> None:
    """What is under way with one container comes to its end."""
    ends = {S.STARTING: S.IDLE, S.WAKING: S.IDLE, S.PAUSING: S.DORMANT, S.RUNNING: S.COOLING, S.COOLING: S.PAUSING}
    moving = [name for name, (_, state) in world.at.items() if state in ends or state is S.STOPPING]
    if not moving:
        return
    name = chance.choice(moving)
    key, state = world.at[name]
    if state is S.STOPPING:
        world.drop(name)
    else:
        world.place(name, key, ends[state])
