"""What each block gets as its input, and how many containers a plan needs side by side. Pure, for checked plans."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from warmlane.plan.expressions import ExpressionError, evaluate
from warmlane.plan.model import Container, WorkflowPlan
from warmlane.plan.plain import quote


class InputError(ValueError):
    """A block's input could not be made from what came before; the message is one sentence."""


def block_input(
    plan: WorkflowPlan,
    block_id: str,
    *,
    previous: Mapping[str, Any],
    outputs: Mapping[str, Any],
    inputs: Mapping[str, Any],
) -> dict[str, Any]:
    """The input of a block, as plain JSON values.

    previous: outputs of the lane before, of the blocks that succeeded, in declared order. outputs: those of all
    lanes before. inputs: those of the run. Without `from` a block gets `previous`, with it just what it picks (null for
    what is not there); its `input` lies on top. Raises InputError if an expression fails on these values.
    """
    block = plan.blocks[block_id]
    if not block.from_:
        return {**previous, **block.input}
    values = {**outputs, "inputs": inputs}
    picked: dict[str, Any] = {}
    for name, expression in block.from_.items():
        try:
            picked[name] = evaluate(expression, values)
        except ExpressionError as error:
            raise InputError(f"'from' of {quote(name)}: {error}") from None
    return {**picked, **block.input}


def widths(plan: WorkflowPlan) -> Mapping[str, tuple[Container, int]]:
    """By `Container.key`: each kind of container, and how many of it the widest lane needs; first needed, first."""
    found: dict[str, tuple[Container, int]] = {}
    shared = plan.parallelism_model == "single-container"
    for lane in plan.lanes:
        containers = [plan.container_of(block_id) for block_id in lane.blocks]
        keys = [container.key for container in containers]
        needed = Counter(keys)
        for key, container in zip(keys, containers, strict=True):
            _, widest = found.get(key, (container, 0))
            found[key] = container, max(widest, 1 if shared else needed[key])
    return found
