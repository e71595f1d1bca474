"""What the picture looks like."""

from __future__ import annotations

import io
from typing import Any

from attrs import evolve
from rich.console import Console

from warmlane.monitor.render import render
from warmlane.monitor.view import BlockView, ExecutionView, LogLine, View


def shown(view: View, width: int = 120) -> list[str]:
    console = Console(file=io.StringIO(), width=width, color_system=None)
    with console.capture() as capture:
        console.print(render(view, width))
    return [line.rstrip() for line in capture.get().splitlines()]


def test_a_whole_run(story: list[dict[str, Any]]) -> None:
    view = View()
    for message in story:
        view.apply(message)
    assert shown(view) == [
        "session s-1 on docker  containers: 1 running (at most 10), 2 waiting  50% found ready  7 events missed",
        "",
        "✗ release [s-1-e1] failed in 3.25 s",
        "0  ✓ lint    succeeded  1.50 s  wake, 12 ms",
        "   ✗ tests   failed     1.50 s  error: exit code 3 (cold, 300 ms, 1.50 s in line)",
        "1  - report  skipped            earlier-failure",
        "",
        " container  state              block  image  port  since     uses",
        " wl-c1      running (cooling)  lint   img:1  9100  00:00:02  3",
        "",
        "lint all [bold]well[/] \\x1b[2J",
        "tests three failed",
    ]


def test_a_pull_and_a_run_under_way(story: list[dict[str, Any]]) -> None:
    view = View()
    for message in (*story[:3], *story[6:9]):
        view.apply(message)
    lines = shown(view)
    assert "image img:1: downloading 50%" in lines
    assert "▶ release [s-1-e1] running" in lines
    assert "   ▶ tests   running    cold, 300 ms, 1.50 s in line, attempt 2" in lines
    assert "1  · report  waiting" in lines


def test_an_empty_picture_says_what_is_not_known() -> None:
    assert shown(View()) == ["session ? on ?  containers: none"]


def test_a_narrow_terminal_gets_what_matters_most(story: list[dict[str, Any]]) -> None:
    view = View()
    for message in story[:6]:
        view.apply(message)
    lines = shown(view, 60)
    assert " container  state              block  since     uses" in lines
    assert all(len(line) <= 60 for line in lines)


def test_long_parts_are_cut_and_say_so(story: list[dict[str, Any]]) -> None:
    view = View()
    view.apply(story[0])
    view.containers = {f"c{number}": view.containers["c1"] for number in range(100)}
    execution = ExecutionView("e1", plan_name="wide")
    execution.place(0, [f"b{number}" for number in range(1000)])
    view.executions = {f"e{number}": evolve(execution, id=f"e{number}") for number in range(30)}
    view.log.extend([LogLine("b", "stdout", "x" * 10_000)] * 100)
    lines = shown(view)
    assert lines.count("... and 976 more blocks") == 3
    assert " ... and 84 more" in lines
    assert len(lines) < 120


def test_blocks_whose_lane_is_not_known_are_shown(story: list[dict[str, Any]]) -> None:
    view = View(executions={"e1": ExecutionView("e1", blocks={"b": BlockView("b", status="succeeded", duration=5.0)})})
    lines = shown(view)
    assert "▶ a plan that began before we watched [e1] running" in lines
    assert "?  ✓ b  succeeded  5.0 ms" in lines
