"""The life of one container, as a table. All that decides whether it may go from one state to another is in here.

Pure: no I/O, no clock, no await. An illegal step raises `StepError` and changes nothing; it is always our own bug,
since what the host does to us arrives as the step STOP.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Final

from attrs import define

from warmlane.records import WireState


class State(Enum):
    """Where a container can be in its life; the value is its `phase` on the wire."""

    STARTING = "starting"
    IDLE = "idle"
    RUNNING = "running"
    COOLING = "cooling"
    PAUSING = "pausing"
    DORMANT = "dormant"
    WAKING = "waking"
    STOPPING = "stopping"
    TERMINATED = "terminated"
    QUARANTINED = "quarantined"


class Step(Enum):
    """What can happen to a container."""

    HEALTHY = "healthy"
    """Its agent answered, after a start or a wake."""
    LEASE = "lease"
    """It is handed to a block."""
    HAND_OVER = "hand-over"
    """Its block has ended, and the first in line gets it at once."""
    RELEASE = "release"
    """Its block has ended, and nobody waits for it."""
    PAUSE = "pause"
    """Its grace is over, or nobody needs it any more."""
    PAUSED = "paused"
    WAKE = "wake"
    STOP = "stop"
    """It is to go: expired, replaced, faulty, or the session ends."""
    GONE = "gone"
    """The host confirms that it is gone."""
    UNCONFIRMED = "unconfirmed"
    """The host did not confirm in time."""


_S, _T = State, Step

TRANSITIONS: Final[Mapping[State, Mapping[Step, State]]] = {
    _S.STARTING: {_T.HEALTHY: _S.IDLE, _T.STOP: _S.STOPPING},
    _S.IDLE: {_T.LEASE: _S.RUNNING, _T.PAUSE: _S.PAUSING, _T.STOP: _S.STOPPING},
    _S.RUNNING: {_T.RELEASE: _S.COOLING, _T.HAND_OVER: _S.RUNNING, _T.STOP: _S.STOPPING},
    _S.COOLING: {_T.LEASE: _S.RUNNING, _T.PAUSE: _S.PAUSING, _T.STOP: _S.STOPPING},
    _S.PAUSING: {_T.PAUSED: _S.DORMANT, _T.STOP: _S.STOPPING},
    _S.DORMANT: {_T.WAKE: _S.WAKING, _T.STOP: _S.STOPPING},
    _S.WAKING: {_T.HEALTHY: _S.IDLE, _T.STOP: _S.STOPPING},
    _S.STOPPING: {_T.GONE: _S.TERMINATED, _T.UNCONFIRMED: _S.QUARANTINED},
    _S.QUARANTINED: {_T.GONE: _S.TERMINATED},
    _S.TERMINATED: {},
}

_WIRE: Final[Mapping[State, WireState]] = {
    _S.STARTING: "starting",
    _S.IDLE: "idle",
    _S.RUNNING: "running",
    _S.COOLING: "running",
    _S.DORMANT: "dormant",
    _S.WAKING: "dormant",
    _S.TERMINATED: "terminated",
    _S.QUARANTINED: "quarantined",
}
"""PAUSING and STOPPING are missing: on the wire, a container that is on its way is still where it was."""


class StepError(Exception):
    """A step was asked for that the container's state does not allow."""

    def __init__(self, state: State, step: Step) -> None:
        self.state, self.step = state, step
        super().__init__(f"a container that is {state.value} cannot take the step '{step.value}'")


@define
class Life:
    """One container's place in the table, and its word on the wire."""

    state: State = State.STARTING
    wire: WireState = "starting"

    def take(self, step: Step) -> State:
        """Goes where the table says, and returns the new state. Raises StepError and changes nothing if it may not."""
        try:
            self.state = TRANSITIONS[self.state][step]
        except KeyError:
            raise StepError(self.state, step) from None
        self.wire = _WIRE.get(self.state, self.wire)
        return self.state

    def allows(self, step: Step) -> bool:
        """Whether `take(step)` would succeed."""
        return step in TRANSITIONS[self.state]
