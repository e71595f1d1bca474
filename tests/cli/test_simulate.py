"""`warmlane simulate`: a user's plan in bad weather, without anything being executed."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from warmlane.__main__ import run
from warmlane.engine.block import BlockRun

PLAN = {"name": "p", "blocks": {"a": {"command": ["touch", "{}"]}, "b": {"command": ["true"]}}, "lanes": ["a", "b"]}


@pytest.fixture
def plan(tmp_path: Path) -> Path:
    path = tmp_path / "plan.json"
    document = json.dumps(PLAN).replace("{}", str(tmp_path / "executed"))
    path.write_text(document)
    return path


def test_counts_what_could_happen(plan: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["simulate", str(plan), "--seeds", "40"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("40 sessions on a simulated host: ")
    rows = [row.split("  ") for row in out.split("\n\n")[1].splitlines()[1:]]
    assert {"completed", "aborted"} <= {row[0] for row in rows}
    assert all(0 <= int(row[-1]) < 40 for row in rows), "each row names a seed"
    assert "no promise was broken" in out
    assert not (plan.parent / "executed").exists()


def test_one_seed_is_told_in_full_and_comes_out_the_same(plan: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["simulate", str(plan), "--seeds", "1", "--seed", "7"]) == 0
    first = capsys.readouterr().out
    assert "run 1: " in first
    assert run(["simulate", str(plan), "--seeds", "1", "--seed", "7"]) == 0
    assert capsys.readouterr().out.split("run 1: ")[1] == first.split("run 1: ")[1]


def test_broken_promise_is_exit_code_1_with_its_seed(
    plan: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def gives_up(self: BlockRun, lease: Any) -> None:
        """The container is never given back."""

    monkeypatch.setattr(BlockRun, "_end", gives_up)
    assert run(["simulate", str(plan), "--seeds", "20", "--seed", "100"]) == 1
    out = capsys.readouterr().out
    told = re.search(
        r"^seed (\d+) broke a promise; this is a bug in Warmlane:\n.* has ended and holds \[", out, re.MULTILINE
    )
    assert told is not None, out
    assert 100 <= int(told[1]) < 120
    assert run(["simulate", str(plan), "--seeds", "1", "--seed", told[1]]) == 1
    assert f"\nseed {told[1]} broke a promise; " in capsys.readouterr().out


def test_bad_plan_and_missing_input(plan: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bad = tmp_path / "bad.json"
    bad.write_text(json.dumps({**PLAN, "lanes": ["c"]}))
    assert run(["simulate", str(bad)]) == 2
    bad.write_text(json.dumps({**PLAN, "inputs": {"ref": {"type": "string"}}}))
    assert run(["simulate", str(bad)]) == 2
    assert run(["simulate", str(bad), "--input", "ref=main", "--seeds", "2"]) == 0
    assert run(["simulate", str(plan), "--seeds", "0"]) == 2
