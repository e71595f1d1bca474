"""Which interpreters are here is found by trying them, and told."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import pythons


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Nobody's home and nothing on PATH."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path / "none"))
    pythons.find_python.cache_clear()
    yield tmp_path
    pythons.find_python.cache_clear()


def place(home: Path, version: str, does: str) -> Path:
    program = home / ".pyenv" / "versions" / f"{version}.1" / "bin" / f"python{version}"
    program.parent.mkdir(parents=True)
    program.write_text(f"#!/bin/sh\n{does}\n")
    program.chmod(0o755)
    return program


def test_one_that_works_is_found_and_one_that_does_not_is_only_installed(home: Path) -> None:
    good, bad = place(home, "3.9", "exit 0"), place(home, "3.10", "exit 1")
    assert pythons.find_python("3.9") == str(good)
    assert pythons.find_python("3.10") is None
    assert pythons.installed("3.10") == [str(bad)]
    assert pythons.installed("3.8") == []
    assert pythons.describe() == f"3.9 ({good}); not here: 3.8, 3.10, 3.11, 3.12, 3.13"


def test_none_is_told_too() -> None:
    assert pythons.describe() == "none; not here: 3.8, 3.9, 3.10, 3.11, 3.12, 3.13"
