"""Every state with every step: the table of a container's life, by enumeration."""

from itertools import product
from typing import get_args

import pytest

from warmlane.life.table import TRANSITIONS, Life, State, Step, StepError
from warmlane.records import WireState

LEGAL: dict[tuple[State, Step], State] = {
    (State.STARTING, Step.HEALTHY): State.IDLE,
    (State.IDLE, Step.LEASE): State.RUNNING,
    (State.IDLE, Step.PAUSE): State.PAUSING,
    (State.RUNNING, Step.RELEASE): State.COOLING,
    (State.RUNNING, Step.HAND_OVER): State.RUNNING,
    (State.COOLING, Step.LEASE): State.RUNNING,
    (State.COOLING, Step.PAUSE): State.PAUSING,
    (State.PAUSING, Step.PAUSED): State.DORMANT,
    (State.DORMANT, Step.WAKE): State.WAKING,
    (State.WAKING, Step.HEALTHY): State.IDLE,
    (State.STOPPING, Step.GONE): State.TERMINATED,
    (State.STOPPING, Step.UNCONFIRMED): State.QUARANTINED,
    (State.QUARANTINED, Step.GONE): State.TERMINATED,
    **{
        (state, Step.STOP): State.STOPPING
        for state in State
        if state not in (State.STOPPING, State.TERMINATED, State.QUARANTINED)
    },
}
"""Written out a second time on purpose, from the design and not from the table."""

OWN_WORD: dict[State, WireState] = {
    State.STARTING: "starting",
    State.IDLE: "idle",
    State.RUNNING: "running",
    State.COOLING: "running",
    State.DORMANT: "dormant",
    State.WAKING: "dormant",
    State.TERMINATED: "terminated",
    State.QUARANTINED: "quarantined",
}

PAIRS = list(product(State, Step))


def name(value: object) -> str:
    return value.value if isinstance(value, (State, Step)) else str(value)


@pytest.mark.parametrize(("state", "step"), PAIRS, ids=name)
def test_each_step_in_each_state(state: State, step: Step) -> None:
    """A legal step goes where the design says; an illegal one raises and changes nothing."""
    life = Life(state, "idle")
    if (state, step) in LEGAL:
        target = LEGAL[state, step]
        assert life.allows(step)
        assert life.take(step) is target
        assert life == Life(target, OWN_WORD.get(target, "idle"))
    else:
        assert not life.allows(step)
        with pytest.raises(StepError) as caught:
            life.take(step)
        assert (caught.value.state, caught.value.step) == (state, step)
        assert life == Life(state, "idle")


def test_the_table_names_every_state() -> None:
    assert set(TRANSITIONS) == set(State)


def test_an_illegal_step_is_said_in_one_sentence() -> None:
    said = str(StepError(State.DORMANT, Step.LEASE))
    assert said == "a container that is dormant cannot take the step 'lease'"


def reachable(start: State) -> set[State]:
    seen = {start}
    fresh = [start]
    while fresh:
        fresh = [state for origin in fresh for state in TRANSITIONS[origin].values() if state not in seen]
        seen.update(fresh)
    return seen


def test_a_new_container_can_come_into_every_state() -> None:
    assert reachable(Life().state) == set(State)


@pytest.mark.parametrize("state", State, ids=name)
def test_every_state_can_end(state: State) -> None:
    """No container can be caught in a state from which it never terminates."""
    assert State.TERMINATED in reachable(state)


def test_nothing_follows_the_end() -> None:
    assert reachable(State.TERMINATED) == {State.TERMINATED}


@pytest.mark.parametrize("state", State, ids=name)
def test_only_what_is_confirmed_gone_terminates(state: State) -> None:
    """There is no way into TERMINATED but the host's word."""
    steps = {step for step, target in TRANSITIONS[state].items() if target is State.TERMINATED}
    assert steps <= {Step.GONE}


@pytest.mark.parametrize(
    ("steps", "words"),
    [
        ([Step.STOP], ["starting"]),
        ([Step.HEALTHY, Step.PAUSE, Step.PAUSED], ["idle", "idle", "dormant"]),
        ([Step.HEALTHY, Step.PAUSE, Step.STOP], ["idle", "idle", "idle"]),
        ([Step.HEALTHY, Step.LEASE, Step.STOP], ["idle", "running", "running"]),
        (
            [Step.HEALTHY, Step.LEASE, Step.RELEASE, Step.PAUSE, Step.STOP],
            ["idle", "running", "running", "running", "running"],
        ),
        (
            [Step.HEALTHY, Step.LEASE, Step.RELEASE, Step.PAUSE, Step.PAUSED, Step.WAKE, Step.HEALTHY, Step.LEASE],
            ["idle", "running", "running", "running", "dormant", "dormant", "idle", "running"],
        ),
        ([Step.STOP, Step.UNCONFIRMED, Step.GONE], ["starting", "quarantined", "terminated"]),
        (
            [Step.HEALTHY, Step.PAUSE, Step.PAUSED, Step.WAKE, Step.STOP, Step.GONE],
            ["idle", "idle", "dormant", "dormant", "dormant", "terminated"],
        ),
    ],
    ids=lambda value: ",".join(map(name, value)) if isinstance(value[0], Step) else "",
)
def test_a_container_on_its_way_is_still_where_it_was(steps: list[Step], words: list[WireState]) -> None:
    """On the wire, STOPPING and PAUSING keep the word from before."""
    life = Life()
    seen: list[WireState] = []
    for step in steps:
        life.take(step)
        seen.append(life.wire)
    assert seen == words


def test_a_new_container_is_starting() -> None:
    assert Life() == Life(State.STARTING, "starting")


def test_every_word_of_the_wire_is_some_states_own() -> None:
    assert set(OWN_WORD.values()) == set(get_args(WireState))
