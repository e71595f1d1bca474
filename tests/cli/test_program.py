"""The program around its commands: help, validation, and how errors look."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from warmlane import __main__ as program
from warmlane._version import __version__
from warmlane.cli.commands import cli
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


def test_version(start: Callable[..., Any]) -> None:
    assert start("--version").end() == (0, f"warmlane {__version__}\n", "")


def test_a_valid_plan_is_said_to_be_so_in_one_line(start: Callable[..., Any], plan_file: Callable[..., Path]) -> None:
    path = plan_file({"a": SAY, "b": SAY})
    assert start("validate", path).end() == (0, f"{path}: ok, 1 lane, 2 blocks\n", "")


def test_validation_prints_every_problem_with_its_path(
    start: Callable[..., Any], plan_file: Callable[..., Path]
) -> None:
    code, out, err = start("validate", plan_file({"a": {"command": "true"}}, maxContainer=3)).end()
    assert (code, err) == (2, "")
    assert [line.partition(": ")[0] for line in sorted(out.splitlines())] == ["$.blocks.a.command", "$.maxContainer"]


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
        (["run", "p.json", "--repeat", "0"], "--repeat"),
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
        (SystemExit(1), 1, False),
        (BrokenPipeError(), 1, False),
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


def test_a_reader_of_the_schema_may_leave(start: Callable[..., Any]) -> None:
    read, write = os.pipe()
    os.close(read)
    try:
        assert start("schema", stdout=write).end() == (0, "", "")
    finally:
        os.close(write)


def test_closed_standard_streams_are_no_trouble(plan_file: Callable[..., Path]) -> None:
    shell = f"exec {sys.executable} -m warmlane validate {plan_file({'a': SAY})} <&- >&- 2>&-"
    assert subprocess.run(["sh", "-c", shell], check=False).returncode == 0
