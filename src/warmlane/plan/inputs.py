"""The inputs of one run: what the caller gives, against what the plan declares. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from warmlane.errors import PlanError
from warmlane.plan.documents import parse_json
from warmlane.plan.model import REQUIRED, Input, InputType, WorkflowPlan
from warmlane.plan.paths import Finding, hint, problems_in_order
from warmlane.plan.plain import kind, quote
from warmlane.plan.values import DocumentError, walk

_TYPES: Mapping[InputType, tuple[type, ...]] = {
    "string": (str,),
    "number": (int, float),
    "integer": (int,),
    "boolean": (bool,),
    "array": (list, tuple),
    "object": (Mapping,),
}

_EXPECTED: Mapping[InputType, str] = {
    "string": "a string",
    "number": "a number",
    "integer": "a whole number",
    "boolean": "true or false",
    "array": "a list",
    "object": "an object",
}


def misfit(declared: Input, value: Any) -> str | None:
    """Why `value` is not of the declared type, or None if it is."""
    fits = isinstance(value, _TYPES[declared.type]) and (declared.type == "boolean" or not isinstance(value, bool))
    got = repr(value) if declared.type == "integer" and isinstance(value, float) else kind(value)
    return None if fits else f"expected {_EXPECTED[declared.type]}, got {got}"


def bind_inputs(plan: WorkflowPlan, given: Mapping[str, Any]) -> dict[str, Any]:
    """All inputs of the plan in declared order, from what is given and the defaults.

    Raises PlanError with every input that is unknown, missing, of another type, or not JSON.
    """
    return _bind(plan, given, [])


def bind_words(plan: WorkflowPlan, words: Iterable[str]) -> dict[str, Any]:
    """`bind_inputs` for a command line: each word is `name=value`.

    The value is taken as it stands if the input is a string, else as JSON. Raises PlanError.
    """
    given: dict[str, Any] = {}
    findings: list[Finding] = []
    for word in words:
        name, equals, text = word.partition("=")
        path = ("inputs", name)
        if not equals:
            findings.append((path, f"expected name=value, got {quote(word)}"))
        elif name in given:
            findings.append((path, "is given twice"))
        else:
            declared = plan.inputs.get(name)
            given[name] = text
            if declared is not None and declared.type != "string":
                try:
                    given[name] = parse_json(text)
                except DocumentError:
                    findings.append((path, f"expected {_EXPECTED[declared.type]} as JSON, got {quote(text)}"))
    return _bind(plan, given, findings)


def _bind(plan: WorkflowPlan, given: Mapping[str, Any], findings: list[Finding]) -> dict[str, Any]:
    told = {path for path, _ in findings}
    for name, value in given.items():
        path = ("inputs", name)
        if name not in plan.inputs:
            findings.append((path, f"the plan has no such input{hint(name, plan.inputs)}"))
        elif path not in told:
            wrong = misfit(plan.inputs[name], value)
            findings += [(path, wrong)] if wrong else walk(value, path)
    for name, declared in plan.inputs.items():
        if declared.default is REQUIRED and name not in given and ("inputs", name) not in told:
            findings.append((("inputs", name), "must be given, for it has no default"))
    if findings:
        order = {"inputs": {**dict.fromkeys(plan.inputs), **given}}
        raise PlanError(problems_in_order(findings, order), source="the input")
    return {name: given.get(name, declared.default) for name, declared in plan.inputs.items()}
