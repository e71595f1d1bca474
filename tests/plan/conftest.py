"""A plan that uses every key, and the sentences that come of changing it."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from warmlane.errors import PlanError
from warmlane.plan.read import read_plan

WHOLE: dict[str, Any] = {
    "name": "release-check",
    "inputs": {"ref": {"type": "string", "default": "main", "description": "a branch"}, "depth": {"type": "integer"}},
    "parallelismModel": "multi-container",
    "failureMode": "strict",
    "maxContainers": 4,
    "dormancyTimeoutMs": 1500,
    "timeoutMs": 90000,
    "container": {
        "image": "python:3.12-slim",
        "env": {"LANG": "C"},
        "user": "1000:1000",
        "workspace": {"path": "/src", "mode": "rw"},
        "transport": "tcp",
    },
    "blocks": {
        "fetch": {"command": ["python3", "fetch.py"], "timeoutMs": 60000, "input": {"deep": [1, {"a": None}]}},
        "lint": {"command": ["ruff", "check", "."], "container": {"env": {"CI": "1"}, "workspace": "/other"}},
        "tests": {"python": "checks.unit:run_tests"},
        "report": {"python": "checks:report", "from": {"lint": "lint", "passed": "tests.passed", "ref": "inputs.ref"}},
        "ask": {
            "request": {"method": "POST", "path": "/ask?x=1", "headers": {"X-A": "b"}, "body": {"q": 1}},
            "container": {"image": "service:1", "port": 8000},
        },
    },
    "lanes": ["fetch", {"blocks": ["lint", "tests"], "failureMode": "lenient"}, "report", "ask"],
}


@pytest.fixture
def whole() -> dict[str, Any]:
    """A document with every key, of the test's own."""
    return copy.deepcopy(WHOLE)


@pytest.fixture
def small() -> dict[str, Any]:
    """The least that is a plan."""
    return {"name": "small", "blocks": {"a": {"command": ["true"]}}, "lanes": ["a"]}


@pytest.fixture
def problems() -> Callable[[Any], list[str]]:
    """What reading a document says: nothing, or `path: sentence` for each problem."""

    def said(document: Any) -> list[str]:
        try:
            read_plan(document, folder="/")
        except PlanError as error:
            return [str(problem) for problem in error.problems]
        return []

    return said
