"""The program around its commands: help, validation, and how errors look."""

from __future__ import annotations

import errno
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from warmlane import __main__ as program
from warmlane._version import __version__
from warmlane.cli import exits
from warmlane.cli.commands import cli
from warmlane.cli.stdout import StdoutError
from warmlane.errors import LeftBehindError

SAY = {"command": ["true"]}


def test_help_imports_nothing_heavy_and_costs_little() -> None:
    code = """
import sys
sys.argv = ["warmlane", "--help"]
from warmlane.__main__ import main
try:
    main()
finally:
    import resource
    used = resource.getrusage(resource.RUSAGE_SELF)
    heavy = sorted({"trio", "docker", "httpx", "rich", "attrs", "cattrs", "yaml"} & set(sys.modules))
    print(used.ru_utime + used.ru_stime, *heavy, file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    seconds, *heavy = done.stderr.split()
    assert "Run the blocks of a workflow" in done.stdout
    assert heavy == []
    assert float(seconds) < 0.25


def test_without_a_command_there_is_help_on_stderr_and_2(start: Callable[..., Any]) -> None:
    code, out, err = start().end()
    assert (code, out) == (2, "")
    assert err.startswith("Usage: warmlane [OPTIONS] COMMAND")
    assert err == start("--help").end()[1]


def test_gc_says_of_itself_where_it_looks(start: Callable[..., Any]) -> None:
    _, out, _ = start("gc", "--help").end()
    assert "'auto' looks at local processes and, if it answers, at Docker." in " ".join(out.split())


def test_version(start: Callable[..., Any]) -> None:
    assert start("--version").end() == (0, f"warmlane {__version__}\n", "")


def test_a_valid_plan_is_said_to_be_so_in_one_line(start: Callable[..., Any], plan_file: Callable[..., Path]) -> None:
    path = plan_file({"a": SAY, "b": SAY})
    assert start("validate", path).end() == (0, f"{path}: ok, 1 lane, 2 blocks\n", "")


def test_validation_prints_every_problem_with_its_path(
    start: Callable[..., Any], plan_file: Callable[..., Path]
) -> None:
    path = plan_file({"a": {"command": "true"}}, maxContainer=3)
    code, out, err = start("validate", path).end()
    assert (code, err) == (2, "")
    assert out.splitlines() == [
        f"{path}: $.blocks.a.command: expected a list, got a string",
        f"{path}: $.maxContainer: unknown key; did you mean 'maxContainers'?",
    ]


@pytest.mark.parametrize("command", [["validate"], ["run", "--runtime", "process"]])
@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff\xfe\x00",
        b"[" * 100_000,
        b'{"a": NaN}',
        b'{"name": "x", "name": "y"}',
        b"null",
        b'{"name": "\\u001b[2J", "blocks": {"\\u001b]0;x\\u0007": 1}, "lanes": 5}',
        None,
    ],
)
def test_hostile_plans_end_with_2_and_sentences(
    start: Callable[..., Any], tmp_path: Path, command: list[str], content: bytes | None
) -> None:
    path = tmp_path / "plan.json"
    if content is not None:
        path.write_bytes(content)
    code, out, err = start(*command, path).end()
    assert code == 2
    assert out or err.startswith("warmlane: ")
    assert "Traceback" not in err
    assert "\x1b" not in out + err


def test_a_file_that_is_not_there_is_one_sentence(start: Callable[..., Any], tmp_path: Path) -> None:
    path = tmp_path / "nosuch.json"
    assert start("run", path).end() == (2, "", f"warmlane: cannot read {path}: there is no such file\n")
    assert start("validate", path).end() == (2, f"{path}: there is no such file\n", "")


def test_a_folder_is_no_plan(start: Callable[..., Any], tmp_path: Path) -> None:
    code, _, err = start("run", tmp_path).end()
    assert code == 2
    assert err.startswith("warmlane: ")


def test_the_schema_is_a_schema(start: Callable[..., Any]) -> None:
    code, out, err = start("schema").end()
    assert (code, err) == (0, "")
    schema = json.loads(out)
    jsonschema.validators.validator_for(schema).check_schema(schema)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["rn"], "No such command 'rn'"),
        (["run"], "Missing argument 'PLAN'"),
        (["run", "p.json", "--repeat", "0"], "'--repeat': '0' is not a whole number from 1 on"),
        (["run", "p.json", "--repeat", "x"], "'--repeat': 'x' is not a whole number from 1 on"),
        (["simulate", "p.json", "--seed", "-1"], "'-1' is not a whole number from 0 on"),
        (["monitor", "foo"], "'foo': a host and a port are needed"),
        (["monitor", "wss://127.0.0.1:1"], "'wss' is not spoken by a monitor"),
        (["run", "p.json", "--runtime", "podman"], "'podman'"),
        (["run", "p.json", "--ports", "9-1"], "not a range of ports"),
        (["run", "p.json", "--monitor", "8040"], "not an address"),
    ],
)
def test_wrong_usage_ends_with_2_and_one_line(
    capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    assert program.run(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    (line,) = err.splitlines()
    assert line.startswith("warmlane: ")
    assert said in line


@pytest.mark.parametrize(
    ("error", "code", "traceback"),
    [
        (ZeroDivisionError(), 70, True),
        (ExceptionGroup("", [LeftBehindError(["a"])]), 1, False),
        (ExceptionGroup("", [LeftBehindError(["a"]), ZeroDivisionError()]), 70, True),
        (KeyboardInterrupt(), 3, False),
        (BaseExceptionGroup("", [KeyboardInterrupt()]), 3, False),
        (StdoutError(OSError(errno.ENOSPC, "full")), 1, False),
        (ExceptionGroup("", [StdoutError(OSError(errno.EPIPE, "gone"))]), 0, False),
    ],
)
def test_only_our_own_bugs_show_a_traceback(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: BaseException,
    code: int,
    traceback: bool,
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(cli, "main", fail)
    assert program.run([]) == code
    assert ("Traceback" in capsys.readouterr().err) == traceback


PRINTING = ["--help", "--version", "schema"]


@pytest.mark.parametrize("word", PRINTING)
def test_a_reader_may_leave(start: Callable[..., Any], word: str) -> None:
    read, write = os.pipe()
    os.close(read)
    try:
        assert start(word, stdout=write).end() == (0, "", "")
    finally:
        os.close(write)


@pytest.mark.parametrize("word", PRINTING)
def test_a_full_disk_is_no_bug(start: Callable[..., Any], word: str) -> None:
    with open("/dev/full", "wb") as full:
        code, _, err = start(word, stdout=full.fileno()).end()
    assert (code, err) == (1, "warmlane: cannot write to stdout: No space left on device\n")


def test_that_nobody_reads_changes_nothing_in_what_was_found(
    start: Callable[..., Any], plan_file: Callable[..., Path]
) -> None:
    read, write = os.pipe()
    os.close(read)
    try:
        assert start("validate", plan_file({"a": {}}), stdout=write).end() == (2, "", "")
    finally:
        os.close(write)


def test_readme_help_and_code_tell_of_the_same_exit_codes() -> None:
    codes = {code for name, code in vars(exits).items() if name.isupper() and isinstance(code, int)}
    words = {0: "completed", 1: "failed", 2: "usage", 3: "aborted", 5: "no runtime", 70: "a bug in Warmlane"}
    said = " ".join((cli.help or "").partition("Exit codes: ")[2].split()).rstrip(".").split(", ")
    told = {int(code): text for code, text in (part.split(" ", 1) for part in said)}
    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    written = {int(code): text for code, text in re.findall(r"^\| (\d+) \| (.*) \|$", readme, re.MULTILINE)}
    assert codes == set(words) == set(told) == set(written)
    for code, word in words.items():
        assert word in told[code]
        assert word in written[code]


def test_closed_standard_streams_are_no_trouble(plan_file: Callable[..., Path]) -> None:
    shell = f"exec {sys.executable} -m warmlane validate {plan_file({'a': SAY})} <&- >&- 2>&-"
    assert subprocess.run(["sh", "-c", shell], check=False).returncode == 0
