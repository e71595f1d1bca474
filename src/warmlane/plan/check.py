"""What is wrong with a plan that is well-formed: names that name nothing, blocks that would never run, and the like.

Pure. `check_plan` also judges plans made in Python, of which nothing is known: it returns problems, and never raises.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from warmlane.errors import Problem
from warmlane.plan.describe import describe
from warmlane.plan.expressions import ExpressionError, parse, starts
from warmlane.plan.inputs import misfit
from warmlane.plan.model import REQUIRED, ParallelLane, WorkflowPlan
from warmlane.plan.paths import Finding, Later, Path, Sentence, hint, problems_in_order, render
from warmlane.plan.plain import kind, quote
from warmlane.plan.shape import shape
from warmlane.plan.values import walk

Places = Sequence[Sequence[tuple[Path, str]]]
"""For each lane, each of its block ids with its path."""


def check_plan(plan: object) -> tuple[Problem, ...]:
    """All problems of a plan, in the order of its document; none if it can be run."""
    if not isinstance(plan, WorkflowPlan):
        return (Problem("$", f"expected a WorkflowPlan, got {kind(plan)}"),)
    document, misplaced = describe(plan)
    _, findings = shape(document, [*misplaced, *walk(document)])
    findings += check_document(document, findings) if findings else check_meaning(plan)
    return problems_in_order(findings, document)


def check_document(document: Any, findings: Iterable[Finding]) -> list[Finding]:
    """What can be said about the lanes of a document that has other problems, which are `findings`."""
    if any(path in ((), ("blocks",)) or path[0] == "lanes" for path, _ in findings):
        return []
    lanes: Places = [
        [(("lanes", index), lane)]
        if isinstance(lane, str)
        else [(("lanes", index, "blocks", place), block_id) for place, block_id in enumerate(lane["blocks"])]
        for index, lane in enumerate(document["lanes"])
    ]
    return list(_check_lanes(document["blocks"], lanes))


def check_meaning(plan: WorkflowPlan) -> list[Finding]:
    """All problems of a plan whose values are all of the right types and shapes."""
    lanes = [list(_places(index, lane)) for index, lane in enumerate(plan.lanes)]
    return [
        *_check_inputs(plan),
        *_check_lanes(plan.blocks, lanes),
        *_check_containers(plan),
        *_check_picks(plan),
    ]


def _places(index: int, lane: ParallelLane) -> Iterator[tuple[Path, str]]:
    if len(lane.blocks) == 1 and lane.failure_mode is None:
        yield ("lanes", index), lane.blocks[0]
    else:
        yield from ((("lanes", index, "blocks", place), block_id) for place, block_id in enumerate(lane.blocks))


def _check_inputs(plan: WorkflowPlan) -> Iterator[Finding]:
    for name, declared in plan.inputs.items():
        wrong = None if declared.default is REQUIRED else misfit(declared, declared.default)
        if wrong:
            yield ("inputs", name, "default"), wrong


def _check_lanes(blocks: Iterable[str], lanes: Places) -> Iterator[Finding]:
    ids = list(blocks)
    known = set(ids)
    seen: dict[str, Path] = {}
    for path, block_id in (place for lane in lanes for place in lane):
        if block_id not in known:
            yield path, Later(partial(_no_block, block_id, ids))
        elif block_id in seen:
            yield path, f"block {quote(block_id)} already stands at {render(seen[block_id])}; a block runs once"
        else:
            seen[block_id] = path
    for block_id in ids:
        if block_id not in seen:
            yield ("blocks", block_id), "stands in no lane, and would never run"


def _no_block(block_id: str, ids: Iterable[str]) -> str:
    return f"there is no block {quote(block_id)}{hint(block_id, ids)}"


def _check_containers(plan: WorkflowPlan) -> Iterator[Finding]:
    for block_id, block in plan.blocks.items():
        container = plan.container_of(block_id)
        path: Path = ("blocks", block_id)
        if block.request is not None and container.port is None:
            yield (*path, "request"), "needs 'container.port', the port of the image's own service"
        if block.request is None and container.port is not None:
            yield path, "its container has a 'port', so it is an image's own service, and takes only 'request' blocks"
        if container.port is not None and container.transport == "unix":
            yield path, "its container has a 'port', which transport 'unix' has no network for; use 'tcp'"
    if plan.parallelism_model == "single-container":
        yield from _check_shared_containers(plan)


def _check_shared_containers(plan: WorkflowPlan) -> Iterator[Finding]:
    for index, lane in enumerate(plan.lanes):
        wanted = {block_id: plan.container_of(block_id) for block_id in lane.blocks if block_id in plan.blocks}
        first = next(iter(wanted), "")
        others = [block_id for block_id, container in wanted.items() if container != wanted[first]]
        if others:
            shared = "in 'single-container' the blocks of a lane share one container"
            yield ("lanes", index), f"{shared}, but {quote(others[0])} wants another one than {quote(first)}"


def _check_picks(plan: WorkflowPlan) -> Iterator[Finding]:
    lane_of: dict[str, int] = {}
    for index, lane in enumerate(plan.lanes):
        for block_id in lane.blocks:
            lane_of.setdefault(block_id, index)
    for block_id, block in plan.blocks.items():
        for name, expression in block.from_.items():
            wrong = _misstart(plan, lane_of, block_id, expression)
            if wrong:
                yield ("blocks", block_id, "from", name), wrong


def _misstart(plan: WorkflowPlan, lane_of: Mapping[str, int], block_id: str, expression: str) -> Sentence | None:
    here = lane_of.get(block_id, len(plan.lanes))
    try:
        found = list(starts(parse(expression)))
    except ExpressionError as error:
        reason = str(error)
        return Later(lambda: f"{reason}{_quoting(expression, plan.blocks)}")
    for start, second in found:
        if start == "inputs":
            if second is not None and second not in plan.inputs:
                return Later(partial(_no_input, plan, second))
        elif start == block_id:
            return "a block cannot get its own output"
        elif start not in plan.blocks or start not in lane_of:
            return Later(partial(_no_start, plan, lane_of, here, start, expression))
        elif lane_of[start] >= here:
            when = "beside" if lane_of[start] == here else "after"
            return f"block {quote(start)} runs {when} {quote(block_id)}, not before it"
    return None


def _no_input(plan: WorkflowPlan, name: str) -> str:
    return f"there is no input {quote(name)}{hint(name, plan.inputs)}"


def _no_start(plan: WorkflowPlan, lane_of: Mapping[str, int], here: int, start: str, expression: str) -> str:
    there = ["inputs", *(known for known in plan.blocks if lane_of.get(known, here) < here)]
    extra = _quoting(expression, plan.blocks) or hint(start, there)
    return f"there is no {quote(start)} to pick from{extra or '; there is ' + ', '.join(map(quote, there[:20]))}"


def _quoting(expression: str, block_ids: Iterable[str]) -> str:
    for block_id in block_ids:
        if not block_id.isidentifier() and block_id in expression and f'"{block_id}"' not in expression:
            return f"""; write the block id {quote(block_id)} as "{block_id}" in double quotes"""
    return ""
