"""Which containers there are, by specification and state, and who stands in line for one. Pure bookkeeping.

Every question the policy asks is answered in time that depends on the number of specifications, not of containers.
"""

from __future__ import annotations

from collections.abc import Iterator

from attrs import Factory, define

from warmlane.life.table import State


@define
class _Place:
    key: str
    state: State
    entered: int


class Stock:
    """The containers that count against the cap, each in one state; within a state, the longest there comes first."""

    def __init__(self) -> None:
        self._places: dict[str, _Place] = {}
        self._shelves: dict[tuple[str, State], dict[str, None]] = {}
        self._totals: dict[State, int] = dict.fromkeys(State, 0)
        self._entries = 0

    def __len__(self) -> int:
        return len(self._places)

    def place(self, name: str, key: str, state: State) -> None:
        """Puts a container into a state, at the end of its shelf; it may be new or come from another state."""
        self.drop(name)
        self._entries += 1
        self._places[name] = _Place(key, state, self._entries)
        self._shelves.setdefault((key, state), {})[name] = None
        self._totals[state] += 1

    def drop(self, name: str) -> None:
        """Takes a container out; nothing happens if it is not in."""
        if (place := self._places.pop(name, None)) is not None:
            shelf = self._shelves[place.key, place.state]
            del shelf[name]
            if not shelf:
                del self._shelves[place.key, place.state]
            self._totals[place.state] -= 1

    def total(self, state: State) -> int:
        """How many containers of any specification are in this state."""
        return self._totals[state]

    def count(self, key: str, *states: State) -> int:
        """How many containers of one specification are in one of these states."""
        return sum(len(self._shelves.get((key, state), ())) for state in states)

    def longest(self, key: str, state: State) -> str | None:
        """The container of this specification that has been in this state the longest."""
        return next(iter(self._shelves.get((key, state), ())), None)

    def longest_of_others(self, spared: set[str], state: State) -> str | None:
        """The container in this state for the longest, of any specification that is not spared."""
        heads = [next(iter(shelf)) for (key, at), shelf in self._shelves.items() if at is state and key not in spared]
        return min(heads, key=lambda name: self._places[name].entered, default=None)

    def keys_in(self, state: State) -> list[str]:
        """The specifications that have a container in this state."""
        return [key for key, at in self._shelves if at is state]


@define(eq=False)
class Ticket:
    """A place in line. `passed` counts how often a younger ticket was served first."""

    number: int
    key: str
    passed: int = 0


@define
class Line:
    """Who waits for a container: first come, first served within a specification."""

    _queues: dict[str, dict[int, Ticket]] = Factory(dict[str, dict[int, Ticket]])
    _numbers: int = 0

    def __len__(self) -> int:
        return sum(map(len, self._queues.values()))

    def join(self, key: str) -> Ticket:
        """A new ticket at the end of the line."""
        self._numbers += 1
        ticket = Ticket(self._numbers, key)
        self._queues.setdefault(key, {})[ticket.number] = ticket
        return ticket

    def leave(self, ticket: Ticket) -> None:
        """Takes a ticket out, served or given up; nothing happens if it is not in."""
        queue = self._queues.get(ticket.key, {})
        queue.pop(ticket.number, None)
        if not queue:
            self._queues.pop(ticket.key, None)

    def serve(self, ticket: Ticket) -> None:
        """Takes a ticket out because it got a container; the oldest in line remembers that it was passed."""
        self.leave(ticket)
        oldest = self.oldest()
        if oldest is not None and oldest.number < ticket.number:
            oldest.passed += 1

    def first(self, key: str) -> Ticket | None:
        """The first in line for one specification."""
        return next(iter(self._queues.get(key, {}).values()), None)

    def oldest(self) -> Ticket | None:
        """The first in line for anything."""
        return min(self.heads(), key=lambda ticket: ticket.number, default=None)

    def heads(self) -> Iterator[Ticket]:
        """The first in line for each specification that has one."""
        return (next(iter(queue.values())) for queue in self._queues.values())

    def waiting(self, key: str) -> int:
        """How many wait for one specification."""
        return len(self._queues.get(key, ()))
