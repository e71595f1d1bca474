"""What structure alone cannot say, in documents and in plans that were made in Python."""
# ruff: noqa: E501  # sentences stay whole, to be found by searching

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from warmlane.plan.check import check_plan
from warmlane.plan.describe import describe
from warmlane.plan.model import Block, Container, Input, ParallelLane, Request, WorkflowPlan, Workspace
from warmlane.plan.read import read_plan

Problems = Callable[[Any], list[str]]
RUN: dict[str, Any] = {"command": ["true"]}


def plan_of(blocks: dict[str, Any], lanes: list[Any], **rest: Any) -> dict[str, Any]:
    """A document with these blocks and lanes."""
    return {"name": "n", "blocks": blocks, "lanes": lanes, **rest}


def picking(expression: str, **rest: Any) -> dict[str, Any]:
    """`fetch` and `fetch-2`, then `lint` beside `tests` picking by `expression`, then `report`."""
    blocks: dict[str, dict[str, Any]] = {name: dict(RUN) for name in ("fetch", "fetch-2", "lint", "tests", "report")}
    blocks["lint"]["from"] = {"x": expression}
    return plan_of(blocks, ["fetch", "fetch-2", {"blocks": ["lint", "tests"]}, "report"], inputs={"ref": {}}, **rest)


LANES: list[tuple[dict[str, Any], list[str]]] = [
    (plan_of({"lint": RUN}, ["lnt"]), ["$.blocks.lint: stands in no lane, and would never run", "$.lanes[0]: there is no block 'lnt'; did you mean 'lint'?"]),
    (plan_of({"a": RUN}, ["a", "xyz"]), ["$.lanes[1]: there is no block 'xyz'"]),
    (plan_of({"a": RUN}, [{"blocks": ["a", "a"]}]), ["$.lanes[0].blocks[1]: block 'a' already stands at $.lanes[0].blocks[0]; a block runs once"]),
    (plan_of({"a": RUN, "b": RUN}, [{"blocks": ["a", "b"]}, "b"]), ["$.lanes[1]: block 'b' already stands at $.lanes[0].blocks[1]; a block runs once"]),
    (plan_of({"a": RUN}, []), ["$.lanes: must not be empty"]),
    (plan_of({"lint": RUN}, [{"blocks": ["lnt"]}]), ["$.blocks.lint: stands in no lane, and would never run", "$.lanes[0].blocks[0]: there is no block 'lnt'; did you mean 'lint'?"]),
    (plan_of({"a": {**RUN, "container": {"port": 1}}, "b": RUN}, ["b"]), ["$.blocks.a: stands in no lane, and would never run", "$.blocks.a: its container has a 'port', so it is an image's own service, and takes only 'request' blocks"]),
    (plan_of({"a": RUN, "b": RUN}, ["a"]), ["$.blocks.b: stands in no lane, and would never run"]),
    (plan_of({"inputs": RUN}, ["inputs"]), [
        "$.blocks.inputs: a block id is 1 to 64 letters, digits, '_', '-' or '.', not beginning with '-' or '.', and is not 'inputs', got 'inputs'",
        "$.lanes[0]: a block id is 1 to 64 letters, digits, '_', '-' or '.', not beginning with '-' or '.', and is not 'inputs', got 'inputs'",
    ]),
]  # fmt: skip


@pytest.mark.parametrize(("document", "sentences"), LANES)
def test_lanes_name_every_block_once(document: dict[str, Any], sentences: list[str], problems: Problems) -> None:
    assert problems(document) == sentences


PICKS = [
    ("fetch", None),
    ("fetch.files[0].name", None),
    ("inputs", None),
    ("inputs.ref", None),
    ('"fetch-2".x', None),
    ("length(fetch)", None),
    ("[fetch, inputs.ref]", None),
    ("{a: fetch, b: fetch.lint}", None),
    ("fetch | lint", None),
    ("fetch[?tests == 'x'].report", None),
    ("fetch.*.tests[]", None),
    ("sort_by(fetch, &tests)", None),
    ("fetch || inputs", None),
    ("@.fetch", None),
    ("@", None),
    ("`1`", None),
    ("'report'", None),
    ("tests.x", "block 'tests' runs beside 'lint', not before it"),
    ("fetch && report", "block 'report' runs after 'lint', not before it"),
    ("lint", "a block cannot get its own output"),
    ("ftch", "there is no 'ftch' to pick from; did you mean 'fetch'?"),
    ("zzz", "there is no 'zzz' to pick from; there is 'inputs', 'fetch', 'fetch-2'"),
    ("[fetch, zzz]", "there is no 'zzz' to pick from; there is 'inputs', 'fetch', 'fetch-2'"),
    ("@.zzz", "there is no 'zzz' to pick from; there is 'inputs', 'fetch', 'fetch-2'"),
    ("length(zzz)", "there is no 'zzz' to pick from; there is 'inputs', 'fetch', 'fetch-2'"),
    ("inputs.reff", "there is no input 'reff'; did you mean 'ref'?"),
    ("lenght(fetch)", "JMESPath has no function 'lenght'; did you mean 'length'?"),
    ("fetch.", "is not a JMESPath expression: it ends too early"),
    ("a b", "is not a JMESPath expression: 'b' at character 3 is not expected there"),
    ("fetch-2.x", "is not a JMESPath expression: '-2' at character 6 is not expected there; write the block id 'fetch-2' as \"fetch-2\" in double quotes"),
    ("fetch = x", "is not a JMESPath expression: '=' at character 7 is no part of the language"),
    ("`x`", "is not a JMESPath expression: what stands between backticks must be JSON"),
    ("(" * 900, "is nested too deeply"),
    ("fetch" + "|a" * 400, "is nested too deeply"),
    ("", "must be a JMESPath expression of at most 1000 characters, got ''"),
]  # fmt: skip


@pytest.mark.parametrize(("expression", "sentence"), PICKS)
def test_a_block_picks_from_what_came_before(expression: str, sentence: str | None, problems: Problems) -> None:
    assert problems(picking(expression)) == ([] if sentence is None else [f"$.blocks.lint.from.x: {sentence}"])


@given(st.text(max_size=30) | st.text("abc.[]{}()|&@*?'`\"!<>= :,0-", max_size=30))
def test_no_expression_breaks_the_check(expression: str) -> None:
    block = Block(command=("true",), from_={"x": expression})
    assert all(
        problem.path.startswith("$.blocks.a.from.x")
        for problem in check_plan(WorkflowPlan(name="n", blocks={"a": block}, lanes=("a",)))
    )


@pytest.mark.parametrize(
    ("declared", "sentence"),
    [
        ({"default": 1}, "expected a string, got a number"),
        ({"type": "number", "default": 1.5}, None),
        ({"type": "number", "default": True}, "expected a number, got a boolean"),
        ({"type": "integer", "default": 1}, None),
        ({"type": "integer", "default": 1.0}, "expected a whole number, got 1.0"),
        ({"type": "boolean", "default": False}, None),
        ({"type": "boolean", "default": 0}, "expected true or false, got a number"),
        ({"type": "array", "default": {}}, "expected a list, got an object"),
        ({"type": "object", "default": None}, "expected an object, got null"),
    ],
)
def test_a_default_is_of_the_declared_type(declared: Any, sentence: str | None, problems: Problems) -> None:
    said = problems(plan_of({"a": RUN}, ["a"], inputs={"i": declared}))
    assert said == ([] if sentence is None else [f"$.inputs.i.default: {sentence}"])


PORTED = {"container": {"port": 80}}
CONTAINERS: list[tuple[dict[str, Any], list[str]]] = [
    (plan_of({"a": {"request": {}, **PORTED}}, ["a"]), []),
    (plan_of({"a": {"request": {}}}, ["a"], **PORTED), []),
    (plan_of({"a": {"request": {}}}, ["a"]), ["$.blocks.a.request: needs 'container.port', the port of the image's own service"]),
    (plan_of({"a": {**RUN, **PORTED}}, ["a"]), ["$.blocks.a: its container has a 'port', so it is an image's own service, and takes only 'request' blocks"]),
    (plan_of({"a": {"python": "m:f"}}, ["a"], **PORTED), ["$.blocks.a: its container has a 'port', so it is an image's own service, and takes only 'request' blocks"]),
    (plan_of({"a": {"request": {}, **PORTED}}, ["a"], container={"transport": "unix"}), ["$.blocks.a: its container has a 'port', which transport 'unix' has no network for; use 'tcp'"]),
    (plan_of({"a": RUN, "b": RUN}, [{"blocks": ["a", "b"]}], parallelismModel="single-container"), []),
    (plan_of({"a": RUN, "b": {**RUN, "container": {"user": "root"}}}, ["a", "b"], parallelismModel="single-container"), []),
    (
        plan_of({"a": RUN, "b": {**RUN, "container": {"user": "root"}}}, [{"blocks": ["a", "b"]}], parallelismModel="single-container"),
        ["$.lanes[0]: in 'single-container' the blocks of a lane share one container, but 'b' wants another one than 'a'"],
    ),
]  # fmt: skip


@pytest.mark.parametrize(("document", "sentences"), CONTAINERS)
def test_blocks_and_containers_fit(document: dict[str, Any], sentences: list[str], problems: Problems) -> None:
    assert problems(document) == sentences


def handmade(**changes: Any) -> Any:
    """A plan as a Python user could write it, who checks no types."""
    whole: dict[str, Any] = {"name": "n", "blocks": {"a": Block(command=["true"])}, "lanes": ["a"], **changes}
    return WorkflowPlan(**whole)


def block(**words: Any) -> dict[str, Any]:
    """The blocks of a plan with one block of these words."""
    return {"a": Block(**words)}


HANDMADE: list[tuple[Any, list[str]]] = [
    (handmade(), []),
    (handmade(blocks=block(command=("true",), input={"x": (1, (2,))})), []),
    (handmade(lanes=(ParallelLane(blocks=["a"]),)), []),
    ({"name": "n"}, ["$: expected a WorkflowPlan, got an object"]),
    (handmade(name=None), ["$.name: expected a string, got null"]),
    (handmade(blocks=block(command="ruff check")), ["$.blocks.a.command: expected a list, got a string"]),
    (handmade(blocks=block(command=("x",), timeout="5")), ["$.blocks.a.timeoutMs: expected a number, got a string"]),
    (handmade(blocks=block(command=("x",), timeout=0)), ["$.blocks.a.timeoutMs: must be more than 0 and at most 30 days, got 0"]),
    (handmade(timeout=float("inf")), ["$.timeoutMs: must be a finite number, and inf is not one"]),
    (handmade(blocks=block()), ["$.blocks.a: a block has exactly one of 'command', 'python' and 'request', got none of them"]),
    (handmade(blocks={"a": {"command": ["true"]}}), ["$.blocks.a: expected a Block, got a Python dict"]),
    (handmade(blocks=[Block(command=["true"])]), ["$.blocks: expected an object, got a list", "$.blocks[0]: expected plain JSON, got a Python Block"]),
    (handmade(blocks={1: Block(command=["true"])}), ["$.blocks: keys must be strings, and 1 is none"]),
    (handmade(lanes="a"), ["$.lanes: expected a list, got a string"]),
    (handmade(lanes=None), ["$.lanes: expected a list, got null"]),
    (handmade(lanes=["a", 3]), ["$.lanes[1]: expected a ParallelLane, got a number"]),
    (handmade(lanes=[["a"]]), ["$.lanes[0]: expected a ParallelLane, got a Python list"]),
    (handmade(lanes=[ParallelLane(blocks="a")]), ["$.lanes[0].blocks: expected a list, got a string"]),
    (handmade(lanes=[ParallelLane(blocks=5)]), ["$.lanes[0].blocks: expected a list, got a number"]),  # type: ignore[arg-type]  # on purpose
    (handmade(container={"image": "x"}), ["$.container: expected a Container, got a Python dict"]),
    (handmade(container=Container(workspace="/x")), ["$.container.workspace: expected a Workspace, got a string"]),  # type: ignore[arg-type]  # on purpose
    (handmade(container=Container(workspace=Workspace(path=""))), ["$.container.workspace.path: must be the path of a folder, 1 to 4096 characters without NUL, got ''"]),
    (handmade(container=Container(env={"A": 1})), ["$.container.env.A: expected a string, got a number; put it in quotes"]),  # type: ignore[dict-item]  # on purpose
    (handmade(inputs={"i": Input(default=object)}), ["$.inputs.i.default: expected plain JSON, got a Python type"]),
    (handmade(blocks=block(command=("x",), input={"x": {1}}, from_={"y": "zzz"})), ["$.blocks.a.input.x: expected plain JSON, got a Python set", "$.blocks.a.from.y: there is no 'zzz' to pick from; there is 'inputs'"]),
    (handmade(blocks=block(request=Request(body=b"x"), container=Container(port=1))), ["$.blocks.a.request.body: expected plain JSON, got a Python bytes"]),
    (handmade(failure_mode="lenien", max_containers="3"), [
        "$.failureMode: expected one of 'strict', 'lenient', got 'lenien'; did you mean 'lenient'?",
        "$.maxContainers: expected a whole number, got a string",
    ]),
]  # fmt: skip


@pytest.mark.parametrize(("plan", "sentences"), HANDMADE)
def test_a_plan_made_in_python_is_judged_like_a_document(plan: Any, sentences: list[str]) -> None:
    assert [str(problem) for problem in check_plan(plan)] == sentences


N = 10_000
MANY = {f"b{number}": RUN for number in range(N)}
HUGE: dict[str, Any] = {
    "unknown lanes": plan_of(MANY, [f"c{number}" for number in range(N)]),
    "unknown starts": plan_of({name: {**RUN, "from": {"x": "zzz"}} for name in MANY}, list(MANY)),
    "one lane": plan_of(
        MANY,
        [{"blocks": list(MANY)}],
        parallelismModel="single-container",
        container={"env": {f"E{number}": "" for number in range(500)}},
    ),
}


@pytest.mark.parametrize("name", HUGE)
def test_the_check_of_a_huge_plan_takes_linear_time(name: str, problems: Problems) -> None:
    """Each takes about a second; with anything quadratic in it, minutes."""
    began = time.perf_counter()
    problems(HUGE[name])
    assert time.perf_counter() - began < 20


def test_a_value_that_holds_itself_is_refused() -> None:
    ring: list[Any] = []
    ring.append(ring)
    (problem,) = check_plan(handmade(blocks=block(command=("x",), input={"x": ring})))
    assert problem.message == "is nested deeper than 32 levels"


def test_a_plan_that_was_read_is_a_plan_that_checks(whole: dict[str, Any]) -> None:
    assert check_plan(read_plan(whole)) == ()


names = st.from_regex(r"[a-z][a-z0-9_.-]{0,8}", fullmatch=True).filter(lambda name: name != "inputs")
texts = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=8)
milliseconds = st.integers(1, 10**9) | st.floats(0.001, 10**9).map(lambda value: round(value, 3))
containers = st.builds(
    Container,
    image=st.none() | st.sampled_from(["python:3.12-slim", "a/b@sha256:0"]),
    env=st.dictionaries(st.from_regex(r"[A-Z]{1,5}", fullmatch=True), texts, max_size=3),
    user=st.none() | st.just("1000:1000"),
    workspace=st.none() | st.builds(Workspace, path=st.just("/w"), mode=st.sampled_from(["ro", "rw"])),
    transport=st.sampled_from([None, "tcp", "unix"]),
)
blocks = st.builds(
    Block,
    command=st.lists(texts, min_size=1, max_size=3),
    input=st.dictionaries(texts, st.none() | st.integers() | texts | st.lists(texts, max_size=2), max_size=3),
    timeout=st.none() | milliseconds.map(lambda value: value / 1000),
    container=containers,
)


@st.composite
def plans(draw: st.DrawFn) -> WorkflowPlan:
    """Any valid plan of commands."""
    made = draw(st.dictionaries(names, blocks, min_size=1, max_size=5))
    ids = list(draw(st.permutations(sorted(made))))
    lanes: list[str | ParallelLane] = []
    while ids:
        width = draw(st.integers(1, len(ids)))
        mode: Any = draw(st.sampled_from(["strict", "lenient", None]))
        lanes.append(ParallelLane(blocks=ids[:width], failure_mode=mode))
        ids = ids[width:]
    return WorkflowPlan(
        name="n",
        blocks=made,
        lanes=lanes,
        inputs=draw(st.dictionaries(st.from_regex("[a-z]{1,4}", fullmatch=True), st.builds(Input, default=texts), max_size=2)),
        container=draw(containers),
        failure_mode=draw(st.sampled_from(["strict", "lenient"])),
        max_containers=draw(st.integers(1, 1000)),
        dormancy_timeout=draw(milliseconds) / 1000,
        timeout=draw(st.none() | milliseconds.map(lambda value: value / 1000)),
    )  # fmt: skip


@given(plans())
def test_a_plan_described_and_read_again_is_the_same(plan: WorkflowPlan) -> None:
    assert check_plan(plan) == ()
    document, findings = describe(plan)
    assert findings == []
    assert read_plan(document) == plan
