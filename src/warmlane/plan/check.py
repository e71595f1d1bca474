"""What is wrong with what is well-formed: names that name nothing, blocks that would never run, and the like.

Pure. Of a document that has other problems, all that is sound in it is judged (see `sketch.py`), and nothing is said
that could follow from those. `check_plan` also judges plans made in Python, of which nothing is known: it returns
problems, and never raises.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from warmlane.errors import Problem
from warmlane.plan.describe import describe
from warmlane.plan.expressions import ExpressionError, parse, starts
from warmlane.plan.inputs import misfit
from warmlane.plan.model import REQUIRED, Block, Container, WorkflowPlan
from warmlane.plan.paths import Finding, Later, Path, Sentence, hint, problems_in_order, render
from warmlane.plan.plain import kind, quote
from warmlane.plan.shape import shape
from warmlane.plan.sketch import UNKNOWN, holds_unknown, sketch
from warmlane.plan.values import walk

Lanes = Sequence[Sequence[tuple[Path, Any]]]
"""For each lane, each of its block ids with its path; `UNKNOWN` for an id, or for all ids of a lane or of all lanes."""


def check_plan(plan: object) -> tuple[Problem, ...]:
    """All problems of a plan, in the order of its document; none if it can be run."""
    if not isinstance(plan, WorkflowPlan):
        return (Problem("$", f"expected a WorkflowPlan, got {kind(plan)}"),)
    document, misplaced = describe(plan)
    sound, findings = shape(document, [*misplaced, *walk(document)])
    return problems_in_order([*findings, *check_document(document, sound and plan, findings)], document)


def check_document(document: Any, plan: WorkflowPlan | None, findings: Iterable[Finding]) -> list[Finding]:
    """What is wrong with a document beside its structure. `plan` is what it says, or None if there are `findings`."""
    known = sketch(document, findings) if plan is None else plan
    if known is UNKNOWN:
        return []
    lanes = _lanes(known, document)
    return [
        *_check_inputs(known),
        *_check_lanes(known, lanes),
        *_check_containers(known, lanes),
        *_check_picks(known, lanes),
    ]


def _lanes(plan: WorkflowPlan, document: Any) -> Lanes:
    if plan.lanes is UNKNOWN:
        return [[(("lanes",), UNKNOWN)]]
    return [_places(lane, ("lanes", index), document["lanes"][index]) for index, lane in enumerate(plan.lanes)]


def _places(lane: Any, path: Path, written: Any) -> Sequence[tuple[Path, Any]]:
    if lane is UNKNOWN or lane.blocks is UNKNOWN:
        return [(path, UNKNOWN)]
    if isinstance(written, str):
        return [(path, lane.blocks[0])]
    return [((*path, "blocks", place), block_id) for place, block_id in enumerate(lane.blocks)]


def _known(items: Any) -> Iterator[tuple[Any, Any]]:
    """The items of a mapping that are known, or none."""
    if items is not UNKNOWN:
        yield from ((key, item) for key, item in items.items() if item is not UNKNOWN)


def _check_inputs(plan: WorkflowPlan) -> Iterator[Finding]:
    for name, declared in _known(plan.inputs):
        if declared.default is not REQUIRED and UNKNOWN not in (declared.type, declared.default):
            wrong = misfit(declared, declared.default)
            if wrong:
                yield ("inputs", name, "default"), wrong


def _check_lanes(plan: WorkflowPlan, lanes: Lanes) -> Iterator[Finding]:
    if plan.blocks is UNKNOWN:
        return
    ids = list(plan.blocks)
    known = set(ids)
    seen: dict[str, Path] = {}
    all_known = True
    for path, block_id in (place for lane in lanes for place in lane):
        if block_id is UNKNOWN:
            all_known = False
        elif block_id not in known:
            yield path, Later(partial(_no_block, block_id, ids))
        elif block_id in seen:
            yield path, f"block {quote(block_id)} already stands at {render(seen[block_id])}; a block runs once"
        else:
            seen[block_id] = path
    for block_id in ids:
        if all_known and block_id not in seen:
            yield ("blocks", block_id), "stands in no lane, and would never run"


def _no_block(block_id: str, ids: Iterable[str]) -> str:
    return f"there is no block {quote(block_id)}{hint(block_id, ids)}"


def _check_containers(plan: WorkflowPlan, lanes: Lanes) -> Iterator[Finding]:
    for block_id, block in _known(plan.blocks):
        if UNKNOWN not in (block.container, plan.container):
            yield from _check_port(block_id, block, plan.container)
    if plan.parallelism_model == "single-container" and not holds_unknown(plan.container):
        yield from _check_shared_containers(plan, lanes)


def _check_port(block_id: str, block: Block, shared: Container) -> Iterator[Finding]:
    path: Path = ("blocks", block_id)
    port = block.container.port or shared.port
    transport = block.container.transport or shared.transport
    if port is None and block.request is not None and block.request is not UNKNOWN:
        yield (*path, "request"), "needs 'container.port', the port of the image's own service"
    if port is not None and port is not UNKNOWN:
        if block.request is None:
            yield path, "its container has a 'port', so it is an image's own service, and takes only 'request' blocks"
        if transport == "unix":
            yield path, "its container has a 'port', which transport 'unix' has no network for; use 'tcp'"


def _check_shared_containers(plan: WorkflowPlan, lanes: Lanes) -> Iterator[Finding]:
    sound = {block_id for block_id, block in _known(plan.blocks) if not holds_unknown(block.container)}
    for index, lane in enumerate(lanes):
        wanted = {block_id: plan.container_of(block_id) for _, block_id in lane if block_id in sound}
        first = next(iter(wanted), "")
        others = [block_id for block_id, container in wanted.items() if container != wanted[first]]
        if others:
            shared = "in 'single-container' the blocks of a lane share one container"
            yield ("lanes", index), f"{shared}, but {quote(others[0])} wants another one than {quote(first)}"


def _check_picks(plan: WorkflowPlan, lanes: Lanes) -> Iterator[Finding]:
    lane_of: dict[str, int] = {}
    for index, lane in enumerate(lanes):
        for _, block_id in lane:
            lane_of.setdefault(block_id, index)
    for block_id, block in _known(plan.blocks):
        for name, expression in _known(block.from_):
            wrong = _misstart(plan, lane_of, block_id, expression)
            if wrong:
                yield ("blocks", block_id, "from", name), wrong


def _misstart(plan: WorkflowPlan, lane_of: Mapping[str, int], block_id: str, expression: str) -> Sentence | None:
    here = lane_of.get(block_id, math.inf)
    try:
        found = list(starts(parse(expression)))
    except ExpressionError as error:
        reason = str(error)
        return Later(lambda: f"{reason}{_quoting(expression, plan.blocks)}")
    for start, second in found:
        if start == "inputs":
            if second is not None and plan.inputs is not UNKNOWN and second not in plan.inputs:
                return Later(partial(_no_input, plan, second))
        elif start == block_id:
            return "a block cannot get its own output"
        elif start not in plan.blocks:
            return Later(partial(_no_start, plan, lane_of, block_id, start, expression))
        elif lane_of.get(start, -1) >= here:  # that one stands in no lane, is told where it is
            when = "beside" if lane_of[start] == here else "after"
            return f"block {quote(start)} runs {when} {quote(block_id)}, not before it"
    return None


def _no_input(plan: WorkflowPlan, name: str) -> str:
    return f"there is no input {quote(name)}{hint(name, plan.inputs)}"


def _no_start(plan: WorkflowPlan, lane_of: Mapping[str, int], block_id: str, start: str, expression: str) -> str:
    here = lane_of.get(block_id, math.inf)
    there = ["inputs", *(known for known in plan.blocks if known != block_id and lane_of.get(known, -1) < here)]
    extra = _quoting(expression, plan.blocks) or hint(start, there)
    return f"there is no {quote(start)} to pick from{extra or '; there is ' + ', '.join(map(quote, there[:20]))}"


def _quoting(expression: str, block_ids: Iterable[str]) -> str:
    for block_id in block_ids:
        if not block_id.isidentifier() and block_id in expression and f'"{block_id}"' not in expression:
            return f"""; write the block id {quote(block_id)} as "{block_id}" in double quotes"""
    return ""
