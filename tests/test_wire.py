"""Names, units and values on their way to JSON."""

import json
import math
from typing import Any

import attrs
import pytest
from attrs import field, frozen

from warmlane.wire import MOMENT, SECONDS, camel, encode, iso, milliseconds, to_wire, wire_name


@frozen(kw_only=True)
class Inner:
    time_spent: float | None = field(default=None, metadata=SECONDS)


@frozen(kw_only=True)
class Outer:
    from_: str = "here"
    block_id: str = "b"
    created_at: float | None = field(default=None, metadata=MOMENT)
    inner: Inner = Inner()
    many: tuple[Inner, ...] = ()
    output: Any = None


@pytest.mark.parametrize(
    ("python", "document"),
    [
        ("name", "name"),
        ("max_containers", "maxContainers"),
        ("from_", "from"),
        ("dormancy_timeout_x", "dormancyTimeoutX"),
        ("a1_b2", "a1B2"),
    ],
)
def test_names_are_camel_case_in_documents(python: str, document: str) -> None:
    assert camel(python) == document


def test_durations_carry_their_unit_in_the_name_and_moments_do_not() -> None:
    assert wire_name(attrs.fields(Inner).time_spent) == "timeSpentMs"
    assert wire_name(attrs.fields(Outer).created_at) == "createdAt"
    assert wire_name(attrs.fields(Outer).from_) == "from"


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(None, None), (0.0, 0.0), (1.5, 1500.0), (0.0000004, 0.0), (0.1 + 0.2, 300.0), (1e-6, 0.001), (2, 2000)],
)
def test_durations_are_milliseconds_to_the_microsecond(seconds: float | None, expected: float | None) -> None:
    assert milliseconds(seconds) == expected


@pytest.mark.parametrize(
    ("moment", "expected"),
    [
        (None, None),
        (0.0, "1970-01-01T00:00:00.000Z"),
        (1771754400.123, "2026-02-22T10:00:00.123Z"),
        (1771754400, "2026-02-22T10:00:00.000Z"),
    ],
)
def test_moments_are_iso_8601_in_utc(moment: float | None, expected: str | None) -> None:
    assert iso(moment) == expected


def test_classes_become_documents_with_their_names_and_units_all_the_way_down() -> None:
    value = Outer(created_at=1.0, inner=Inner(time_spent=0.25), many=(Inner(), Inner(time_spent=2.0)))
    assert to_wire(value) == {
        "from": "here",
        "blockId": "b",
        "createdAt": "1970-01-01T00:00:01.000Z",
        "inner": {"timeSpentMs": 250.0},
        "many": [{"timeSpentMs": None}, {"timeSpentMs": 2000.0}],
        "output": None,
    }


@pytest.mark.parametrize(
    "output",
    [
        "text",
        7,
        2**70,
        -0.5,
        True,
        [],
        {},
        {"snake_case": {"from_": [1, "two", None, {"deep_key": False}]}},
        "ümlaut \u2028 \U0001f600 \x00",
    ],
    ids=repr,
)
def test_what_blocks_return_goes_through_untouched(output: Any) -> None:
    """Their keys are theirs: nothing is renamed, rounded or reshaped in them."""
    assert to_wire(Outer(output=output))["output"] == output
    assert json.loads(encode(to_wire(Outer(output=output))))["output"] == output


def test_json_is_one_compact_line_in_its_own_letters() -> None:
    assert encode({"a": [1, None], "b": "ü\n"}) == '{"a":[1,null],"b":"ü\\n"}'


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_json_cannot_say_is_refused(value: float) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        encode({"value": value})
