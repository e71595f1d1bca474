"""The types of the model, taken apart: what the reader, the describer and the schema need of an annotation."""

from __future__ import annotations

from collections.abc import Mapping
from types import NoneType
from typing import Annotated, Any, Literal, get_args, get_origin

import attrs


def fields_of(cls: type[Any]) -> tuple[attrs.Attribute[Any], ...]:
    """The fields of a class of the model, with their types as objects, notes included."""
    attrs.resolve_types(cls, include_extras=True)
    return tuple(attrs.fields(cls))


def notes_of(type_: Any) -> tuple[Any, ...]:
    """What `Annotated` says beside the type."""
    return get_args(type_)[1:] if is_annotated(type_) else ()


def is_annotated(type_: Any) -> bool:
    """`Annotated[...]`?"""
    origin: Any = get_origin(type_)
    return origin is Annotated


def is_choice(type_: Any) -> bool:
    """`Literal[...]`?"""
    origin: Any = get_origin(type_)
    return origin is Literal


def is_optional(type_: Any) -> bool:
    """`X | None`?"""
    return NoneType in get_args(type_)


def is_mapping(type_: Any) -> bool:
    """`Mapping[K, V]`?"""
    origin: Any = get_origin(type_)
    return origin is Mapping


def is_list(type_: Any) -> bool:
    """`tuple[X, ...]`?"""
    origin: Any = get_origin(type_)
    return origin is tuple


def without_none(type_: Any) -> Any:
    """The X of `X | None`."""
    (bare,) = (option for option in get_args(type_) if option is not NoneType)
    return bare


def bare(type_: Any) -> Any:
    """The type without notes and without None."""
    while is_annotated(type_) or is_optional(type_):
        type_ = get_args(type_)[0] if is_annotated(type_) else without_none(type_)
    return type_
