"""The schema and the reader judge the same documents alike, and the schema explains itself."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from warmlane.plan import model
from warmlane.plan.anatomy import fields_of
from warmlane.plan.schema import plan_schema
from warmlane.plan.shape import shape

VALIDATOR = Draft202012Validator(plan_schema())

STRANGE = ["", "x", "a:b", "strict", "a b", "\0", 0, 1, -1, 2.5, 10**30, True, None, [], ["a"], [1], {}, {"a": "b"}]


def places(node: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place in a document."""
    yield path
    items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, value in items:
        yield from places(value, (*path, key))


def changed(document: Any, path: tuple[Any, ...], change: Any) -> Any:
    """A copy in which `change(holder, key)` has been done at a place."""
    wrapped = {"root": copy.deepcopy(document)}
    node: Any = wrapped
    for key in ("root", *path)[:-1]:
        node = node[key]
    change(node, ("root", *path)[-1])
    return wrapped.get("root")


def agree(document: Any) -> bool:
    """Do both accept it, or both refuse it?"""
    plan, findings = shape(document, ())
    assert (plan is None) == bool(findings)
    return VALIDATOR.is_valid(document) == (plan is not None)


def test_the_schema_is_one() -> None:
    Draft202012Validator.check_schema(plan_schema())
    assert json.loads(json.dumps(plan_schema())) == plan_schema()


def test_both_agree_on_every_single_change_of_a_document(whole: dict[str, Any]) -> None:
    """Each place with another value, without it, and with a key beside it that has no business there."""
    assert VALIDATOR.is_valid(whole)
    for path in places(whole):
        for value in STRANGE:
            document = changed(whole, path, lambda holder, key, value=value: holder.__setitem__(key, value))
            assert agree(document), (path, value)
        if path:
            assert agree(changed(whole, path, lambda holder, key: holder.__delitem__(key))), path
            document = changed(whole, path, lambda holder, _key: isinstance(holder, dict) and holder.update(zzz="m:f"))
            assert agree(document), path


@pytest.mark.parametrize("key", ["needs", "when", "map", "gate", "delay", "retry"])
def test_both_refuse_what_is_not_built_yet(key: str, small: dict[str, Any]) -> None:
    for holder in (small, small["blocks"]["a"]):
        holder[key] = {}
        assert not VALIDATOR.is_valid(small)
        assert agree(small)
        del holder[key]


@given(st.data())
def test_both_agree_on_two_changes(
    data: st.DataObject,
) -> None:
    document: Any = {
        "name": "n",
        "blocks": {"a": {"request": {"path": "/"}, "container": {"workspace": {"path": "/a"}}}, "b": {"python": "m:f"}},
        "lanes": ["a", {"blocks": ["b"]}],
    }
    for _ in range(2):
        path = data.draw(st.sampled_from(list(places(document))))
        value = data.draw(st.sampled_from(STRANGE))
        document = changed(document, path, lambda holder, key, value=value: holder.__setitem__(key, value))
    assert agree(document)


def test_every_key_says_what_it_is_for() -> None:
    schema = plan_schema()
    for holder in (schema, *schema["$defs"].values()):
        assert all(entry.get("description") for entry in holder["properties"].values())
    classes = [cls for cls in vars(model).values() if isinstance(cls, type) and attrs.has(cls)]
    described = {cls.__name__ for cls in classes if cls.__module__ == model.__name__} - {"WorkflowPlan"}
    assert described == set(schema["$defs"])
    assert all(fields_of(cls) for cls in classes)


def test_durations_are_milliseconds_to_the_schema_and_seconds_to_python() -> None:
    schema = plan_schema()
    holders = {"WorkflowPlan": schema, **schema["$defs"]}
    said = {
        (cls, key): entry["description"]
        for cls, holder in holders.items()
        for key, entry in holder["properties"].items()
        if key.endswith("Ms")
    }
    assert set(said) == {("Block", "timeoutMs"), ("WorkflowPlan", "timeoutMs"), ("WorkflowPlan", "dormancyTimeoutMs")}
    assert all(text.endswith(" In milliseconds.") for text in said.values())
    assert all("milliseconds" not in str(fields_of(getattr(model, cls))) for cls in holders)
    assert model.Block.__doc__ is not None
    assert "`timeout` is in seconds" in model.Block.__doc__
    assert model.WorkflowPlan.__doc__ is not None
    assert "`dormancy_timeout` are in seconds" in " ".join(model.WorkflowPlan.__doc__.split())
