"""What a caller of the pool holds: a lease, while a block runs; a warm order, while an execution does."""

from __future__ import annotations

from collections import Counter

import trio
from attrs import define, field, frozen

from warmlane.agent.protocol import Agent
from warmlane.errors import WarmlaneError
from warmlane.life.stock import Ticket
from warmlane.plan.model import Container
from warmlane.records import Start


@frozen(eq=False, kw_only=True)
class Lease:
    """A container that is handed to one block (or to the blocks of one single-container lane)."""

    container_id: str
    name: str
    agent: Agent
    start: Start


@define(eq=False, kw_only=True)
class Waiter:
    """Somebody in line. Exactly one of `lease` and `error` is set when `served` is."""

    container: Container
    ticket: Ticket
    block_id: str
    execution_id: str
    dormancy_timeout: float
    joined_at: float
    waited: bool = False
    """Whether nothing was ready when it joined."""
    failures: int = 0
    lease: Lease | None = None
    error: WarmlaneError | None = None
    served: trio.Event = field(factory=trio.Event)


@define(eq=False)
class WarmOrder:
    """So many containers of each specification are to exist, as long as the order stands."""

    targets: dict[str, int]
    dormancy_timeout: float
    execution_id: str
    failures: Counter[str] = field(factory=Counter[str])
    """How many containers of each specification could not be born while the order stood."""
