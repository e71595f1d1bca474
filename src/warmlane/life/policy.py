"""Which container to hand out, wake, make, replace or put to sleep: one pure function over stock and line.

The pool calls `next_move`, carries the move out (which changes the stock), and calls again until there is none. So a
container is never promised to anybody: it is handed out in the moment in which it is ready, to the first in line.

Order of preference for a ticket: idle, cooling, dormant (the longest dormant first), a new one below the cap, a new
one in the place of a dormant, idle or cooling container of a specification that nobody waits for, and else the line.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from attrs import frozen

from warmlane.life.stock import Line, Stock, Ticket
from warmlane.life.table import State

PASSED_AT_MOST: Final = 16
"""So often may a ticket be passed by younger ones of busier specifications before it gets the next free place.
A guess: high enough that two busy specifications do not replace each other's containers all the time."""

_READY = (State.IDLE, State.COOLING)
_SOON = (State.WAKING, State.PAUSING)
"""A matter of milliseconds; a birth is not, so nobody waits for one while a container of the same kind sleeps."""
_COMING = (State.STARTING, *_SOON)
_PRESENT = (*_COMING, *_READY, State.RUNNING, State.DORMANT)
_VICTIMS = (State.DORMANT, State.IDLE, State.COOLING)


@frozen
class Lend:
    """Hand this container to this ticket, now."""

    name: str
    ticket: Ticket


@frozen
class Wake:
    """Thaw this container: somebody in line can use it."""

    name: str


@frozen
class Create:
    """Start a new container of this specification."""

    key: str


@frozen
class Replace:
    """Remove this container, so that another specification gets its place."""

    name: str


@frozen
class Sleep:
    """Pause this idle container: no one waits for it, and no execution wants it warm."""

    name: str


Move = Lend | Wake | Create | Replace | Sleep


def next_move(stock: Stock, line: Line, warm: Mapping[str, int], cap: int) -> Move | None:
    """The next thing to do, or None if all is as it should be.

    warm: how many containers of each specification running executions want to exist. cap: how many may exist.
    """
    hungry = starving(stock, line, cap)
    heads = [hungry] if hungry else sorted(line.heads(), key=lambda ticket: ticket.number)
    for ticket in heads:
        for state in _READY:
            if (name := stock.longest(ticket.key, state)) is not None:
                return Lend(name, ticket)
    if (move := _supply(stock, line, heads, cap)) is not None:
        return move
    return _warm_up(stock, warm, cap) or _calm_down(stock, line, warm)


def starving(stock: Stock, line: Line, cap: int) -> Ticket | None:
    """The oldest ticket, if it was passed too often and nothing is on its way to it: the next free place is its own,
    so nobody else is served before."""
    ticket = line.oldest()
    if ticket is None or ticket.passed < PASSED_AT_MOST or len(stock) < cap or stock.total(State.STOPPING):
        return None
    on_its_way = stock.count(ticket.key, *_COMING, *_READY, State.DORMANT)
    return None if on_its_way else ticket


def hopeless(stock: Stock, cap: int) -> bool:
    """Whether all places are taken by containers that may not be gone: then waiting in line may have no end."""
    return 0 < cap <= len(stock) == stock.total(State.QUARANTINED)


def surplus(stock: Stock, line: Line, warm: Mapping[str, int], key: str) -> int:
    """How many births of this specification nobody in line and no execution needs."""
    return max(0, stock.count(key, State.STARTING) - line.waiting(key) - warm.get(key, 0))


def _supply(stock: Stock, line: Line, heads: list[Ticket], cap: int) -> Move | None:
    """Wakes, makes or replaces for those in line, as far as nothing is on its way to them yet."""
    freeing = stock.total(State.STOPPING)
    unmet = False
    for ticket in heads:
        waiting = line.waiting(ticket.key)
        if waiting > stock.count(ticket.key, *_SOON) and (name := stock.longest(ticket.key, State.DORMANT)) is not None:
            return Wake(name)
        lacking = waiting - stock.count(ticket.key, *_COMING)
        if lacking <= 0:
            continue
        if len(stock) < cap:
            return Create(ticket.key)
        promised = min(freeing, lacking)
        freeing -= promised
        unmet = unmet or lacking > promised
    if not unmet:
        return None
    spared = {ticket.key for ticket in heads}
    for state in _VICTIMS:
        if (name := stock.longest_of_others(spared, state)) is not None:
            return Replace(name)
    return None


def _warm_up(stock: Stock, warm: Mapping[str, int], cap: int) -> Move | None:
    if len(stock) < cap:
        for key, target in warm.items():
            if stock.count(key, *_PRESENT) < target:
                return Create(key)
    return None


def _calm_down(stock: Stock, line: Line, warm: Mapping[str, int]) -> Move | None:
    for key in stock.keys_in(State.IDLE):
        if not warm.get(key) and not line.waiting(key) and (name := stock.longest(key, State.IDLE)) is not None:
            return Sleep(name)
    return None
