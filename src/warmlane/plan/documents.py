"""Files and texts as plain values: JSON, YAML and TOML, all held to what JSON can say. Knows nothing of plans.

Raises `DocumentError` with one sentence, and nothing else, whatever the bytes are, in time that is about
proportional to their number. Depth, NaN and doubled keys are left to `values.walk`, which can say where they are.
"""

from __future__ import annotations

import json
import os
import re
import stat
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from warmlane.plan.plain import quote
from warmlane.plan.values import DEEPEST, TOO_DEEP, TOO_LONG, DocumentError, object_of

LARGEST = 1024 * 1024
"""Bytes. A plan of a thousand blocks has about a tenth of it."""


def load(path: Path) -> Any:
    """The values of a file, by its suffix."""
    parse = PARSERS.get(path.suffix.lower())
    if parse is None:
        raise DocumentError(f"the file's name must end in {', '.join(PARSERS)}; got {quote(path.name)}")
    text = _text(_bytes(path))
    if not text.strip():
        raise DocumentError("the file is empty")
    return parse(text)


def _bytes(path: Path) -> bytes:
    try:
        # Opening a named pipe would wait for a writer.
        mode = os.stat(path).st_mode
        data = b""
        if stat.S_ISREG(mode):
            with open(path, "rb") as file:
                data = file.read(LARGEST + 1)
    except FileNotFoundError:
        raise DocumentError("there is no such file") from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise DocumentError(str(reason)) from None
    if not stat.S_ISREG(mode):
        raise DocumentError("it is a folder, not a file" if stat.S_ISDIR(mode) else "it is not a regular file")
    if len(data) > LARGEST:
        raise DocumentError(f"the file is larger than {LARGEST // 1024} KiB, the most that a plan may have")
    return data


def _text(data: bytes) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DocumentError(f"the file is not UTF-8 (byte {error.start} is 0x{data[error.start]:02x})") from None


def parse_json(text: str) -> Any:
    """The values of a JSON text. NaN and Infinity come through as floats, doubled keys as `values.Doubled`."""
    try:
        return json.loads(text, object_pairs_hook=object_of)
    except json.JSONDecodeError as error:
        raise DocumentError(f"not JSON: line {error.lineno}, column {error.colno}: {error.msg}") from None
    except RecursionError:
        raise DocumentError(TOO_DEEP) from None
    except ValueError:
        raise DocumentError(TOO_LONG) from None


def parse_toml(text: str) -> Any:
    """The values of a TOML text; dates come through as Python's."""
    # tomllib takes quadratic time for a key of many parts.
    if _LONG_KEY.search(_TOML_STRING.sub("s", text)):
        raise DocumentError(TOO_DEEP)
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise DocumentError(f"not TOML: {error}") from None
    except RecursionError:
        raise DocumentError(TOO_DEEP) from None
    except ValueError:
        raise DocumentError(TOO_LONG) from None


_TOML_STRING = re.compile(r"""#[^\n]*|\"{3}(?:[^\\]|\\.)*?\"{3}|'{3}.*?'{3}|"(?:[^"\\\n]|\\.)*"|'[^'\n]*'""", re.DOTALL)
_LONG_KEY = re.compile(rf"(?<![\w-])(?:[\w-]++[ \t]*+\.[ \t]*+){{{DEEPEST}}}")


def parse_yaml(text: str) -> Any:
    """The values of a YAML text: see `yamltext`."""
    from warmlane.plan.yamltext import parse  # PyYAML takes 20 ms to import

    return parse(text)


PARSERS: Mapping[str, Callable[[str], Any]] = {
    ".json": parse_json,
    ".yaml": parse_yaml,
    ".yml": parse_yaml,
    ".toml": parse_toml,
}
