"""Reading: what a document becomes, and every sentence that a wrong one gets."""
# ruff: noqa: E501  # sentences stay whole, to be found by searching

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from warmlane.errors import PlanError
from warmlane.plan.model import Block, Container, Input, ParallelLane, Request, WorkflowPlan, Workspace
from warmlane.plan.read import load_plan, read_plan

Problems = Callable[[Any], list[str]]


def test_every_key_arrives(whole: dict[str, Any]) -> None:
    """In Python's names, and in seconds."""
    assert read_plan(whole) == WorkflowPlan(
        name="release-check",
        inputs={
            "ref": Input(type="string", default="main", description="a branch"),
            "depth": Input(type="integer"),
        },
        parallelism_model="multi-container",
        failure_mode="strict",
        max_containers=4,
        dormancy_timeout=1.5,
        timeout=90.0,
        container=Container(
            image="python:3.12-slim",
            env={"LANG": "C"},
            user="1000:1000",
            workspace=Workspace(path="/src", mode="rw"),
            transport="tcp",
        ),
        blocks={
            "fetch": Block(command=("python3", "fetch.py"), timeout=60.0, input={"deep": [1, {"a": None}]}),
            "lint": Block(
                command=("ruff", "check", "."),
                container=Container(env={"CI": "1"}, workspace=Workspace(path="/other")),
            ),
            "tests": Block(python="checks.unit:run_tests"),
            "report": Block(
                python="checks:report", from_={"lint": "lint", "passed": "tests.passed", "ref": "inputs.ref"}
            ),
            "ask": Block(
                request=Request(method="POST", path="/ask?x=1", headers={"X-A": "b"}, body={"q": 1}),
                container=Container(image="service:1", port=8000),
            ),
        },
        lanes=("fetch", ParallelLane(blocks=("lint", "tests"), failure_mode="lenient"), "report", "ask"),
    )


def test_what_is_not_said_has_the_documented_default(small: dict[str, Any]) -> None:
    plan = read_plan(small)
    assert (plan.failure_mode, plan.parallelism_model, plan.max_containers) == ("strict", "multi-container", 10)
    assert (plan.dormancy_timeout, plan.timeout, plan.container) == (300.0, None, Container())
    assert plan.container_of("a").transport == "tcp"


def test_relative_workspaces_are_taken_from_the_folder_given(small: dict[str, Any]) -> None:
    small["container"] = {"workspace": "../data"}
    small["blocks"]["a"]["container"] = {"workspace": {"path": "own"}}
    plan = read_plan(small, folder="/plans/nightly")
    assert plan.container.workspace == Workspace(path="/plans/data")
    assert plan.container_of("a").workspace == Workspace(path="/plans/nightly/own")


def test_a_workspace_made_in_python_is_absolute_at_once(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert Workspace(path="src").path == str(tmp_path / "src")
    assert Workspace(path="").path == ""


def test_all_problems_come_at_once_in_the_order_of_the_document(whole: dict[str, Any], problems: Problems) -> None:
    whole["maxContainer"] = 3
    whole["blocks"]["lint"]["timeoutMs"] = "x"
    whole["blocks"]["tests"]["retry"] = {"attempts": 3}
    whole["blocks"]["x y"] = {"command": []}
    whole["lanes"].append("lintt")
    whole["failureMode"] = "lenien"
    whole["container"]["env"] = {"1": 3}
    whole["container"]["user"] = None
    del whole["name"]
    env_name = (
        "a variable's name is letters, digits or '_', does not begin with a digit, and not with 'WARMLANE_', got '1'"
    )
    block_id = (
        "a block id is 1 to 64 letters, digits, '_', '-' or '.', not beginning with '-' or '.', and is not 'inputs'"
    )
    assert problems(whole) == [
        "$.failureMode: expected one of 'strict', 'lenient', got 'lenien'; did you mean 'lenient'?",
        f"$.container.env.1: {env_name}",
        "$.container.env.1: expected a string, got a number; put it in quotes",
        "$.container.user: expected a string, got null",
        "$.blocks.lint.timeoutMs: expected a number, got a string",
        "$.blocks.tests.retry: this version of Warmlane does not have 'retry' yet",
        f"$.blocks['x y']: {block_id}, got 'x y'",
        "$.blocks['x y']: stands in no lane, and would never run",
        "$.blocks['x y'].command: must not be empty",
        "$.lanes[4]: there is no block 'lintt'; did you mean 'lint'?",
        "$.maxContainer: unknown key; did you mean 'maxContainers'?",
        "$.name: is required, and missing",
    ]


EMPTY: dict[str, Any] = {"command": ["true"]}
DAY_31 = 31 * 24 * 3600 * 1000
WRONG_IN_PLAN: list[tuple[dict[str, Any], str]] = [
    ({"name": 5}, "$.name: expected a string, got a number; put it in quotes"),
    ({"name": ""}, "$.name: must be 1 to 200 characters without line breaks or control characters, got ''"),
    ({"name": "a\nb"}, r"$.name: must be 1 to 200 characters without line breaks or control characters, got 'a\nb'"),
    ({"name": ["a"]}, "$.name: expected a string, got a list"),
    ({"maxContainers": 0}, "$.maxContainers: must be from 1 to 1000, got 0"),
    ({"maxContainers": 10**30}, "$.maxContainers: must be from 1 to 1000, got a number of more than 30 digits"),
    ({"maxContainers": 10**5000}, "$.maxContainers: is a number of more than 4000 digits"),
    ({"maxContainers": True}, "$.maxContainers: expected a whole number, got a boolean"),
    ({"maxContainers": 2.0}, "$.maxContainers: expected a whole number, got 2.0"),
    ({"maxContainers": "2"}, "$.maxContainers: expected a whole number, got a string"),
    ({"timeoutMs": 0}, "$.timeoutMs: must be more than 0 and at most 30 days, got 0"),
    ({"timeoutMs": DAY_31}, f"$.timeoutMs: must be more than 0 and at most 30 days, got {DAY_31}"),
    ({"timeoutMs": float("nan")}, "$.timeoutMs: must be a finite number, and nan is not one"),
    ({"timeoutMs": 1e400}, "$.timeoutMs: must be a finite number, and inf is not one"),
    ({"timeoutMs": True}, "$.timeoutMs: expected a number, got a boolean"),
    ({"timeoutMs": None}, "$.timeoutMs: expected a number, got null"),
    ({"dormancyTimeoutMs": -1}, "$.dormancyTimeoutMs: must be from 0 to 30 days, got -1"),
    (
        {"parallelismModel": "threads"},
        "$.parallelismModel: expected one of 'multi-container', 'single-container', got 'threads'",
    ),
    ({"failureMode": 1}, "$.failureMode: expected one of 'strict', 'lenient', got a number"),
    ({"blocks": {}}, "$.blocks: must not be empty"),
    ({"blocks": []}, "$.blocks: expected an object, got a list"),
    ({"lanes": []}, "$.lanes: must not be empty"),
    ({"lanes": "a"}, "$.lanes: expected a list, got a string"),
    ({"lanes": [3]}, "$.lanes[0]: expected a string or an object, got a number"),
    ({"lanes": [{"blocks": []}]}, "$.lanes[0].blocks: must not be empty"),
    ({"lanes": [{"blocks": "a"}]}, "$.lanes[0].blocks: expected a list, got a string"),
    ({"lanes": [{}]}, "$.lanes[0].blocks: is required, and missing"),
    ({"lanes": [{"blocks": ["a"], "when": "x"}]}, "$.lanes[0].when: this version of Warmlane does not have 'when' yet"),
    ({"needs": {}}, "$.needs: this version of Warmlane does not have 'needs' yet"),
    ({"max_containers": 3}, "$.max_containers: unknown key; did you mean 'maxContainers'?"),
    ({"container": "python"}, "$.container: expected an object, got a string"),
    ({"container": {"image": "a b"}}, "$.container.image: must be the name of an image, without whitespace, got 'a b'"),
    ({"container": {"image": ""}}, "$.container.image: must be the name of an image, without whitespace, got ''"),
    (
        {"container": {"user": "a:b:c"}},
        "$.container.user: must be a user: a name or number, or 'user:group', got 'a:b:c'",
    ),
    ({"container": {"user": "-x"}}, "$.container.user: must be a user: a name or number, or 'user:group', got '-x'"),
    ({"container": {"env": {"A": 3.1}}}, "$.container.env.A: expected a string, got a number; put it in quotes"),
    ({"container": {"env": {"A": "\0"}}}, r"$.container.env.A: must not hold a NUL character, got '\x00'"),
    (
        {"container": {"workspace": ""}},
        "$.container.workspace: must be the path of a folder, 1 to 4096 characters without NUL, got ''",
    ),
    (
        {"container": {"workspace": {"path": "/a", "mode": "w"}}},
        "$.container.workspace.mode: expected one of 'ro', 'rw', got 'w'; did you mean 'rw'?",
    ),
    ({"container": {"port": 65536}}, "$.container.port: must be a port, 1 to 65535, got 65536"),
    ({"container": {"transport": "udp"}}, "$.container.transport: expected one of 'tcp', 'unix', got 'udp'"),
    (
        {"inputs": {"a-b": {}}},
        "$.inputs.a-b: an input's name is 1 to 64 letters, digits or '_', and does not begin with a digit, got 'a-b'",
    ),
    (
        {"inputs": {"a": {"type": "str"}}},
        "$.inputs.a.type: expected one of 'string', 'number', 'integer', 'boolean', 'array', 'object', got 'str'; did you mean 'string'?",
    ),
]
WRONG_IN_BLOCK: list[tuple[dict[str, Any], str]] = [
    ({}, "$.blocks.a: a block has exactly one of 'command', 'python' and 'request', got none of them"),
    (
        {**EMPTY, "python": "a:b"},
        "$.blocks.a: a block has exactly one of 'command', 'python' and 'request', got 'command' and 'python'",
    ),
    ({"command": "ruff check"}, "$.blocks.a.command: expected a list, got a string"),
    ({"command": ["a", 1]}, "$.blocks.a.command[1]: expected a string, got a number; put it in quotes"),
    (
        {"command": ["a", "\0"]},
        r"$.blocks.a.command[1]: must be shorter than 128 KiB and not hold a NUL character, got '\x00'",
    ),
    (
        {"python": "checks"},
        "$.blocks.a.python: must be 'module:function', such as 'checks:report' or 'tools.checks:report', got 'checks'",
    ),
    (
        {"request": {"method": "get"}, "container": {"port": 80}},
        "$.blocks.a.request.method: must be an HTTP method in capitals, such as GET or POST, got 'get'",
    ),
    (
        {"request": {"path": "x"}, "container": {"port": 80}},
        "$.blocks.a.request.path: must be a path that begins with '/', percent-encoded where needed, got 'x'",
    ),
    (
        {"request": {"headers": {"A": "b\r\nC: d"}}, "container": {"port": 80}},
        r"$.blocks.a.request.headers.A: must be printable ASCII on one line, got 'b\r\nC: d'",
    ),
    ({**EMPTY, "timeout": 5}, "$.blocks.a.timeout: unknown key; did you mean 'timeoutMs'?"),
    ({**EMPTY, "from": {"x": 1}}, "$.blocks.a.from.x: expected a string, got a number; put it in quotes"),
    ({**EMPTY, "input": {"x": {1, 2}}}, "$.blocks.a.input.x: expected plain JSON, got a Python set"),
    ({**EMPTY, "input": {"x": {3: 4}}}, "$.blocks.a.input.x: keys must be strings, and 3 is none"),
    (
        {**EMPTY, "input": {"x": "\ud800"}},
        "$.blocks.a.input.x: holds half of a character (a lone surrogate), which no text file can carry",
    ),
    ({**EMPTY, "input": {"\ud800": 1}}, "$.blocks.a.input: has a key with half of a character (a lone surrogate)"),
    ({**EMPTY, "input": {True: 1}}, "$.blocks.a.input: keys must be strings, and true is none"),
    ({**EMPTY, "input": {None: 1}}, "$.blocks.a.input: keys must be strings, and null is none"),
    ({**EMPTY, "input": {"x": 10**5000}}, "$.blocks.a.input.x: is a number of more than 4000 digits"),
    *(
        ({key: {}}, f"$.blocks.a.{key}: this version of Warmlane does not have '{key}' yet")
        for key in ("map", "gate", "delay")
    ),
    *(
        ({**EMPTY, key: {}}, f"$.blocks.a.{key}: this version of Warmlane does not have '{key}' yet")
        for key in ("needs", "when", "retry")
    ),
]


@pytest.mark.parametrize(("change", "sentence"), WRONG_IN_PLAN)
def test_a_wrong_plan_gets_its_sentence(
    change: Mapping[str, Any], sentence: str, small: dict[str, Any], problems: Problems
) -> None:
    assert problems({**small, **change}) == [sentence]


@pytest.mark.parametrize(("block", "sentence"), WRONG_IN_BLOCK)
def test_a_wrong_block_gets_its_sentence(
    block: Mapping[str, Any], sentence: str, small: dict[str, Any], problems: Problems
) -> None:
    assert problems({**small, "blocks": {"a": block}}) == [sentence]


@pytest.mark.parametrize(
    ("document", "got"), [([], "a list"), (None, "null"), ("x", "a string"), (3, "a number"), (True, "a boolean")]
)
def test_a_document_that_is_no_object_is_refused(document: Any, got: str, problems: Problems) -> None:
    assert problems(document) == [f"$: expected an object, got {got}"]


def test_an_object_that_says_nothing_is_told_what_a_plan_needs(problems: Problems) -> None:
    assert problems({}) == [f"$.{key}: is required, and missing" for key in ("name", "blocks", "lanes")]


@pytest.mark.parametrize("levels", [28, 29, 100_000])
def test_nesting_has_a_limit(levels: int, small: dict[str, Any], problems: Problems) -> None:
    """32 levels with the document itself: `input` is the fourth."""
    value: Any = 0
    for _ in range(levels):
        value = [value]
    small["blocks"]["a"]["input"] = {"x": value}
    deep = f"$.blocks.a.input.x{'[0]' * 28}: is nested deeper than 32 levels"
    assert problems(small) == ([] if levels == 28 else [deep])


def test_a_flood_of_problems_is_cut(small: dict[str, Any]) -> None:
    """And each sentence is short, however long the word that it quotes."""
    small |= {f"k{number}": 0 for number in range(5000)} | {"n" * 100_000: 1}
    with pytest.raises(PlanError) as caught:
        read_plan(small)
    assert len(caught.value.problems) == 101
    assert str(caught.value.problems[-1]) == "$: and 4901 more problems"
    assert max(len(str(problem)) for problem in caught.value.problems) < 300


def test_the_error_names_its_source(tmp_path: Any) -> None:
    path = tmp_path / "plan.json"
    path.write_text('{"name": 1}')
    with pytest.raises(PlanError) as caught:
        load_plan(path)
    assert str(caught.value).startswith(f"{path} is not valid: $.name: expected a string")


def is_plan_or_problems(document: Any) -> bool:
    """Does reading give a plan, or else problems that can be printed on a line each?"""
    try:
        return isinstance(read_plan(document), WorkflowPlan)
    except PlanError as error:
        return bool(error.problems) and all(str(problem).isprintable() for problem in error.problems)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
KEYS = st.sampled_from(
    [
        "name",
        "blocks",
        "lanes",
        "inputs",
        "container",
        "command",
        "python",
        "request",
        "from",
        "input",
        "timeoutMs",
        "image",
        "env",
        "workspace",
        "path",
        "mode",
        "failureMode",
        "type",
        "default",
        "a",
        "b",
        "needs",
        "port",
    ]
)
plan_like = st.recursive(
    json_values | st.sampled_from(["a", "b", "strict", "a:b", "inputs.a", "a.b"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=6),
    max_leaves=25,
)


@given(plan_like | json_values)
def test_no_document_raises_anything_but_a_plan_error(document: Any) -> None:
    assert is_plan_or_problems(document)


@given(st.data())
def test_no_change_to_a_good_document_raises_anything_but_a_plan_error(data: st.DataObject) -> None:
    """Anything in the place of anything: the faults that lie just beside what is right."""
    document: dict[str, Any] = {
        "name": "n",
        "inputs": {"i": {"type": "integer", "default": 1}},
        "container": {"env": {"A": "b"}, "workspace": {"path": "/a"}},
        "blocks": {"a": {"command": ["x"]}, "b": {"python": "m:f", "from": {"y": "a.z"}}},
        "lanes": ["a", {"blocks": ["b"], "failureMode": "lenient"}],
    }
    node: Any = document
    while True:
        keys = list(node) if isinstance(node, dict) else list(range(len(node)))
        key = data.draw(st.sampled_from(keys))
        if not isinstance(node[key], dict | list) or data.draw(st.booleans()):
            break
        node = node[key]
    node[key] = data.draw(plan_like)
    assert is_plan_or_problems(document)
