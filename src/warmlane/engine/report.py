"""What a run of a plan leaves: one result for every block, always, and what became of the containers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import field, frozen

from warmlane.records import BlockResult, Receipt, RunStatus
from warmlane.wire import SECONDS


@frozen(kw_only=True)
class Report:
    """The outcome of one execution. `results` holds one result per block, lane by lane in declared order.

    status: `completed` if the run reached its end (a lenient lane may have had failures), `failed` if a failure ended
    it (or the plan's time was up), `aborted` if it was cancelled. duration in seconds.
    """

    execution_id: str
    plan_name: str
    status: RunStatus
    results: tuple[BlockResult, ...]
    duration: float = field(metadata=SECONDS)
    receipt: Receipt

    def __getitem__(self, block_id: str) -> BlockResult:
        """The result of one block. Raises KeyError if the plan has no such block."""
        for result in self.results:
            if result.block_id == block_id:
                return result
        raise KeyError(block_id)

    @property
    def outputs(self) -> Mapping[str, Any]:
        """The outputs of the blocks that succeeded, by block."""
        return {result.block_id: result.output for result in self.results if result.status == "succeeded"}

    @property
    def failures(self) -> tuple[BlockResult, ...]:
        """The results of the blocks that failed."""
        return tuple(result for result in self.results if result.status == "failed")
