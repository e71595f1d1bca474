"""A suite is run, and what failed once more: what is unsteady is named, and too much of it is a failure."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

TOOL = Path(__file__).resolve().parent.parent.parent / "tools" / "twice.py"
SUITE = """
import pathlib, pytest

@pytest.mark.parametrize("number", range({unsteady}))
def test_unsteady(number):
    seen = pathlib.Path(__file__).with_name(f"seen{{number}}")
    if not seen.exists():
        seen.touch()
        raise AssertionError("too early")

def test_good():
    pass

def test_other():
    assert {good}, "it is broken"
"""


@pytest.mark.parametrize(
    ("unsteady", "good", "code"), [(0, True, 0), (3, True, 0), (4, True, 1), (0, False, 1), (2, False, 1)]
)
def test_judged_twice(tmp_path: Path, unsteady: int, good: bool, code: int) -> None:
    (tmp_path / "test_it.py").write_text(SUITE.format(unsteady=unsteady, good=good))
    assert run(tmp_path) == code
    assert said(tmp_path, "unsteady") == [f"test_it::test_unsteady[{number}]" for number in range(unsteady)]
    for_good = [] if good else ["test_it::test_other: AssertionError: it is broken / assert False"]
    too_many = ["4 tests passed only the second time, more than 3"] if unsteady > 3 else []
    assert said(tmp_path, "failed") == for_good + too_many


def test_a_suite_that_does_not_come_to_its_end_has_failed(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text("import os\ndef test_it():\n    os._exit(7)\n")
    assert run(tmp_path) == 7
    (line,) = said(tmp_path, "failed")
    assert line.endswith("exit code 7 without a report of failed tests")


def test_nor_has_one_passed_that_breaks_off_the_second_time(tmp_path: Path) -> None:
    again = "import os, pathlib\ndef test_it():\n    seen = pathlib.Path('seen')\n    seen.exists() and os._exit(7)\n"
    (tmp_path / "test_it.py").write_text(f"{again}    seen.touch()\n    assert not 'once'\n")
    assert run(tmp_path) == 1
    assert said(tmp_path, "failed") == ["test_it::test_it: AssertionError: assert not 'once'"]


def run(folder: Path) -> int:
    plain = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    command = [sys.executable, "-P", "-m", "pytest", f"--rootdir={folder}", "test_it.py"]
    done = subprocess.run([sys.executable, TOOL, folder, *command], cwd=folder, env=plain, check=False)
    return done.returncode


def said(folder: Path, name: str) -> list[str]:
    file = folder / name
    return file.read_text().splitlines() if file.exists() else []
