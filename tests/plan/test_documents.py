"""Files: three formats that mean the same, and every bad file with its one sentence, in bounded time."""

from __future__ import annotations

import json
import os
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from warmlane.errors import PlanError
from warmlane.plan.documents import LARGEST, parse_json, parse_toml, parse_yaml
from warmlane.plan.read import load_plan, read_plan
from warmlane.plan.values import DocumentError

JSON = '{"name": "n", "blocks": {"a": {"command": ["echo", "ü"], "timeoutMs": 1500}}, "lanes": ["a"]}'
YAML = """
# a comment
name: n
blocks:
  a: {command: [echo, ü], timeoutMs: 1500}
lanes: [a]
"""
TOML = """
name = "n"
lanes = ["a"]
[blocks.a]
command = ["echo", "ü"]
timeoutMs = 1500
"""


def sentence_of(path: Path) -> str:
    """What loading this file says: one problem, of the whole file or at the root."""
    began = time.perf_counter()
    with pytest.raises(PlanError) as caught:
        load_plan(path)
    assert time.perf_counter() - began < 20  # under a second on an idle machine; what is not linear takes minutes
    (problem,) = caught.value.problems
    assert str(problem).isprintable()
    return str(problem).removeprefix("$: ")


def written(folder: Path, name: str, content: str | bytes) -> Path:
    """A file with this content."""
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


@pytest.mark.parametrize(("name", "text"), [("p.json", JSON), ("p.yaml", YAML), ("p.YML", YAML), ("p.toml", TOML)])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_all_formats_mean_the_same(name: str, text: str, mark: str, tmp_path: Path) -> None:
    assert load_plan(str(written(tmp_path, name, mark + text))) == read_plan(json.loads(JSON))


def test_a_workspace_is_taken_from_the_folder_of_the_plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "plans").mkdir()
    written(tmp_path / "plans", "p.yaml", YAML + "container: {workspace: ../src}")
    workspace = load_plan("plans/p.yaml").container.workspace
    assert workspace is not None
    assert workspace.path == str(tmp_path / "src")


def in_json(value: str) -> str:
    """A plan with this text in the place of a constant."""
    return f'{{"name": "n", "blocks": {{"a": {{"command": ["x"], "input": {{"v": {value}}}}}}}, "lanes": ["a"]}}'


def in_yaml(value: str) -> str:
    """The same in YAML."""
    return f"name: n\nlanes: [a]\nblocks:\n  a:\n    command: [x]\n    input:\n      v: {value}\n"


def in_toml(value: str) -> str:
    """The same in TOML."""
    return f'name = "n"\nlanes = ["a"]\n[blocks.a]\ncommand = ["x"]\ninput.v = {value}\n'


DEEP = "it is nested deeper than 32 levels"
BAD_FILES: list[tuple[str, str | bytes, str]] = [
    ("p.txt", JSON, "the file's name must end in .json, .yaml, .yml, .toml; got 'p.txt'"),
    ("plan", JSON, "the file's name must end in .json, .yaml, .yml, .toml; got 'plan'"),
    ("p.json", "", "the file is empty"),
    ("p.yaml", " \n\n", "the file is empty"),
    ("p.yaml", "# nothing\n", "expected an object, got null"),
    ("p.json", "[]", "expected an object, got a list"),
    ("p.yaml", "- a", "expected an object, got a list"),
    ("p.yaml", "word", "expected an object, got a string"),
    ("p.json", b'{"name": "\xff"}', "the file is not UTF-8 (byte 10 is 0xff)"),
    ("p.json", JSON.encode("utf-16"), "the file is not UTF-8 (byte 0 is 0xff)"),
    ("p.json", "{", "not JSON: line 1, column 2: Expecting property name enclosed in double quotes"),
    ("p.json", "{'a': 1}", "not JSON: line 1, column 2: Expecting property name enclosed in double quotes"),
    ("p.json", JSON + "x", f"not JSON: line 1, column {len(JSON) + 1}: Extra data"),
    ("p.toml", "name = ", "not TOML: Invalid value (at end of document)"),
    ("p.toml", "a = 1\na = 2", "not TOML: Cannot overwrite a value (at end of document)"),
    ("p.yaml", "a: b: c", "not YAML: line 1, column 5: mapping values are not allowed in this context"),
    ("p.yaml", "a: [", "not YAML: line 2, column 1: did not find expected node content"),
    ("p.yaml", YAML + "---\n" + YAML, "line 7, column 1: the file holds more than one document"),
    ("p.yaml", in_yaml("&x [1]"), "line 7, column 10: anchors (&x) are not allowed in a plan"),
    ("p.yaml", in_yaml("*x"), "line 7, column 10: aliases (*x) are not allowed in a plan; write the value out"),
    (
        "p.yaml",
        in_yaml("!!python/object/apply:os.system [id]"),
        "line 7, column 10: tags (tag:yaml.org,2002:python/object/apply:os.system) are not allowed in a plan",
    ),
    ("p.yaml", in_yaml("!x 1"), "line 7, column 10: tags (!x) are not allowed in a plan"),
    ("p.yaml", in_yaml("{1: 2}"), "line 7, column 11: keys must be strings, and '1' is none; put it in quotes"),
    ("p.yaml", in_yaml("{true: 2}"), "line 7, column 11: keys must be strings, and 'true' is none; put it in quotes"),
    ("p.yaml", in_yaml("{[1]: 2}"), "line 7, column 11: keys must be strings"),
    ("p.yaml", in_yaml("1" * 5000), "line 7, column 10: a number has too many digits"),
    ("p.json", in_json("1" * 5000), "a number has too many digits"),
    ("p.toml", in_toml("1" * 5000), "a number has too many digits"),
    ("p.json", '{"a":' * 100_000, DEEP),
    ("p.json", "[" * 100_000, DEEP),
    ("p.json", "[" * 100_000 + "]" * 100_000, DEEP),
    ("p.yaml", "[" * 100_000, f"line 1, column 33: {DEEP}"),
    ("p.yaml", "{a: " * 100_000, f"line 1, column 129: {DEEP}"),
    ("p.yaml", "- " * 100_000, f"line 1, column 65: {DEEP}"),
    ("p.toml", "a = " + "[" * 100_000, DEEP),
    ("p.toml", "a." * 100_000 + "a = 1", DEEP),
    ("p.toml", '"x=".' * 100_000 + "a = 1", DEEP),
    ("p.toml", "# '''\n" + "a . " * 100_000 + "a = 1", DEEP),
    ("p.toml", '"' * LARGEST, "not TOML: Expected '=' after a key in a key/value pair (at line 1, column 3)"),
    ("p.toml", "'''" * 300_000, "not TOML: Expected '=' after a key in a key/value pair (at line 1, column 3)"),
    ("p.toml", "a" * LARGEST, "not TOML: Expected '=' after a key in a key/value pair (at end of document)"),
    ("p.toml", "a " * 500_000, "not TOML: Expected '=' after a key in a key/value pair (at line 1, column 3)"),
    ("p.json", " " * LARGEST + "{}", "the file is larger than 1024 KiB, the most that a plan may have"),
]


@pytest.mark.parametrize(("name", "content", "sentence"), BAD_FILES)
def test_a_bad_file_gets_its_sentence(name: str, content: str | bytes, sentence: str, tmp_path: Path) -> None:
    assert sentence_of(written(tmp_path, name, content)) == sentence


BAD_VALUES: list[tuple[str, str, list[str]]] = [
    ("p.json", in_json("NaN"), ["$.blocks.a.input.v: must be a finite number, and nan is not one"]),
    ("p.json", in_json("-Infinity"), ["$.blocks.a.input.v: must be a finite number, and -inf is not one"]),
    ("p.json", in_json("1e400"), ["$.blocks.a.input.v: must be a finite number, and inf is not one"]),
    ("p.yaml", in_yaml("1e400"), ["$.blocks.a.input.v: must be a finite number, and inf is not one"]),
    ("p.toml", in_toml("inf"), ["$.blocks.a.input.v: must be a finite number, and inf is not one"]),
    ("p.toml", in_toml("2024-01-01"), ["$.blocks.a.input.v: expected plain JSON, got a Python date"]),
    (
        "p.json",
        in_json(r'"\ud800"'),
        ["$.blocks.a.input.v: holds half of a character (a lone surrogate), which no text file can carry"],
    ),
    (
        "p.json",
        in_json('{"x": 1, "y": 2, "x": 3}').replace('"name": "n"', '"name": "n", "name": "m"'),
        ["$.name: the key appears twice in its object", "$.blocks.a.input.v.x: the key appears twice in its object"],
    ),
    ("p.yaml", YAML + "name: m", ["$.name: the key appears twice in its object"]),
    ("p.yaml", in_yaml("{x: 1, 'x': 2}"), ["$.blocks.a.input.v.x: the key appears twice in its object"]),
]


@pytest.mark.parametrize(("name", "text", "sentences"), BAD_VALUES)
def test_a_bad_value_is_named_by_its_path(name: str, text: str, sentences: list[str], tmp_path: Path) -> None:
    with pytest.raises(PlanError) as caught:
        load_plan(written(tmp_path, name, text))
    assert [str(problem) for problem in caught.value.problems] == sentences


def test_what_is_no_readable_file_says_so(tmp_path: Path) -> None:
    (tmp_path / "folder.json").mkdir()
    os.mkfifo(tmp_path / "pipe.json")
    (tmp_path / "loop.json").symlink_to("loop.json")
    assert sentence_of(tmp_path / "missing.json") == "there is no such file"
    assert sentence_of(tmp_path / "folder.json") == "it is a folder, not a file"
    assert sentence_of(tmp_path / "pipe.json") == "it is not a regular file"
    assert sentence_of(tmp_path / "loop.json") == "Too many levels of symbolic links"
    assert sentence_of(Path("/proc/self/mem.json")) == "there is no such file"
    assert sentence_of(Path("a\0.json"))  # in Python's words, each version its own


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("no", "no"),
        ("on", "on"),
        ("2024-01-01", "2024-01-01"),
        ("1:30", "1:30"),
        ("022", "022"),
        ("0x1F", "0x1F"),
        ("1_000", "1_000"),
        (".5", ".5"),
        (".inf", ".inf"),
        ("=", "="),
        ("<<", "<<"),
        ("true", True),
        ("null", None),
        ("~", None),
        ("", None),
        ("-1", -1),
        ("1.5e3", 1500.0),
        ("'1'", "1"),
        ('"true"', "true"),
        ("|\n  a\n  b\n", "a\nb\n"),
        ("{<<: 1}", {"<<": 1}),
    ],
)
def test_yaml_means_what_json_would_mean(text: str, value: Any) -> None:
    parsed = parse_yaml(f"a: {text}")
    assert parsed == {"a": value}
    assert type(parsed["a"]) is type(value)


def test_yaml_without_libyaml_reads_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("warmlane.plan.yamltext._LOADER", yaml.SafeLoader)
    assert parse_yaml(YAML) == json.loads(JSON)
    with pytest.raises(DocumentError, match="line 1, column 33"):
        parse_yaml("[" * 100_000)
    with pytest.raises(DocumentError, match="special characters are not allowed"):
        parse_yaml("a: \x07")


# What YAML lacks: long keys, and characters above the first 65536 escaped as two halves, as JSON does.
words = st.text(st.characters(max_codepoint=0xFFFF, exclude_categories=["Cs"]), max_size=20)
json_documents = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | words,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(words, inner, max_size=4),
    max_leaves=10,
)


@given(json_documents)
def test_json_comes_back(value: Any) -> None:
    """Through the JSON parser, and, since YAML is a superset, through the YAML parser."""
    text = json.dumps(value)
    assert parse_json(text) == value
    assert parse_yaml(text) == value


@pytest.mark.parametrize("parse", [parse_json, parse_yaml, parse_toml])
@given(text=st.text() | st.text(alphabet="[]{}:,-&*!|>'\"%@`#?=. \n\ta1", max_size=40))
def test_no_text_raises_anything_but_a_document_error(parse: Any, text: str) -> None:
    with suppress(DocumentError):
        parse(text)
