"""What the pool knows about one container. The pool alone changes it, and only in the same breath as it announces."""

from __future__ import annotations

import trio
from attrs import define, field

from warmlane.life.table import Life, State
from warmlane.plan.model import Container


@define(eq=False, kw_only=True)
class Slot:
    """One container, from the claim of its place until it is confirmed gone.

    Moments that end in `_at` are on Trio's clock, `created` and `dormant_since` on the wall's.
    """

    id: str
    name: str
    container: Container
    key: str
    token: str = field(repr=False)
    port: int | None
    dormancy_timeout: float
    created: float
    life: Life = field(factory=Life)
    entered_at: float
    """When it came into its present state."""
    awaited_since: float
    """When its present start or wake began."""
    woken: bool = False
    """Whether it became idle by waking; else by starting."""
    block_id: str | None = None
    execution_id: str | None = None
    dormant_since: float | None = None
    last_error: str | None = None
    uses: int = 0
    operation: trio.CancelScope | None = None
    """The call under way for it; removal cancels it, and waits for `turn`."""
    turn: trio.Lock = field(factory=trio.Lock)
    """One call at a time for one container."""
    cooling: trio.CancelScope | None = None
    """Its cooling timer, while it cools."""

    def at(self, state: State) -> bool:
        """Whether it is in this state now. To be asked again after every await."""
        return self.life.state is state
