"""What a run looks like: to a program, in a log, on a terminal."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import trio

from warmlane.cli.face import Face
from warmlane.cli.faces import JsonFace, PlainFace
from warmlane.cli.live import LiveFace
from warmlane.cli.outlet import Outlet
from warmlane.events import BlockLog, Envelope, Event, PullProgress
from warmlane.plan.model import WorkflowPlan
from warmlane.plan.read import read_plan
from warmlane.testing import fails, open_fake_session, prints, sleeps

HOSTILE = "\x1b[2J\x9b31m[bold]x[/bold] :smile:\x07"


def plan() -> WorkflowPlan:
    """Three lanes, of which the second has a failure that is collected."""
    return read_plan(
        {
            "name": "trial",
            "failureMode": "lenient",
            "blocks": {name: {"command": ["x"]} for name in ("say", "bad", "rest", "last")},
            "lanes": ["say", {"blocks": ["bad", "rest"]}, "last"],
        }
    )


async def events_of_a_run() -> list[Envelope]:
    """All events of a simulated session with one run in it."""
    blocks = {"say": prints([HOSTILE], {"n": 1}), "bad": fails("it is bad"), "rest": sleeps(1)}
    async with open_fake_session(blocks) as (session, _):
        with session.events(after=0, whole=True) as feed:
            await session.run(plan())
            events: list[Envelope] = []
            while (envelope := feed.receive_nowait()) is not None:
                events.append(envelope)
            return events


@pytest.fixture
def printed(tmp_path: Path) -> Callable[[type[Face], list[Envelope]], str]:
    """Shows events with a face, and returns what came out."""

    def printed(face: type[Face], events: list[Envelope]) -> str:
        with open(tmp_path / "out", "w+b") as out, open(tmp_path / "err", "w+b") as err:
            trio.run(_show, face, events, Outlet(out.fileno()), Outlet(err.fileno()))
            return (tmp_path / "out").read_text(encoding="utf-8")

    return printed


async def _show(kind: type[Face], events: list[Envelope], out: Outlet, err: Outlet) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(out.pump)
        with kind(out, err) as face:
            for envelope in events:
                face.take(envelope)
        await out.flush()
        nursery.cancel_scope.cancel()


@pytest.fixture
def run() -> list[Envelope]:
    """The events of a run."""
    return trio.run(events_of_a_run, clock=trio.testing.MockClock(autojump_threshold=0))


def envelope(event: Event, seq: int = 1) -> Envelope:
    return Envelope(seq=seq, at=0.0, execution_id="e", event=event)


def test_plain_lines_tell_the_run_and_sum_it_up(
    printed: Callable[[type[Face], list[Envelope]], str], run: list[Envelope]
) -> None:
    lines = printed(PlainFace, run).splitlines()
    assert lines[0] == "trial started: 4 blocks in 3 lanes"
    assert lines[1].startswith("say started in ")
    assert "(cold, " in lines[1]
    assert lines[2] == "say | \\x1b[2J\\x9b31m[bold]x[/bold] :smile:\\x07"
    assert any(line.startswith("bad failed after ") and line.endswith("(error): it is bad") for line in lines)
    begin = lines.index(next(line for line in lines if line.startswith("trial completed in ")))
    assert [line.split()[:2] for line in lines[begin + 1 : begin + 5]] == [
        ["say", "succeeded"],
        ["bad", "failed"],
        ["rest", "succeeded"],
        ["last", "succeeded"],
    ]
    assert lines[begin + 1].endswith('-> {"n":1}')
    assert lines[-1] == "  3 of 4 blocks found a container ready, 1 cold"


def test_json_is_the_messages_of_the_monitor(
    printed: Callable[[type[Face], list[Envelope]], str], run: list[Envelope]
) -> None:
    text = printed(JsonFace, run)
    assert [json.loads(line) for line in text.splitlines()] == [envelope.message for envelope in run]
    assert not set(text) & {"\x1b", "\x9b", "\x07"}


def test_on_a_terminal_the_picture_goes_and_the_lines_stay(
    printed: Callable[[type[Face], list[Envelope]], str], run: list[Envelope]
) -> None:
    text = printed(LiveFace, run)
    assert "say | \\x1b[2J\\x9b31m[bold]x[/bold] :smile:\\x07\n" in text
    assert "trial completed in " in text
    assert "✗ bad" in text
    assert text.endswith("\x1b[1A\x1b[2K")  # the last thing is that the picture is wiped
    assert "\x1b[?25h" in text  # and the cursor is back


def test_a_terminal_gets_all_lines_however_many(printed: Callable[[type[Face], list[Envelope]], str]) -> None:
    events = [
        envelope(BlockLog(block_id="b", container_id="c", stream="stdout", text=f"{number} {'-' * 200}"), number)
        for number in range(12_000)
    ]
    text = printed(LiveFace, events)
    assert [int(line.split()[2]) for line in text.splitlines() if "b | " in line] == list(range(12_000))


def test_a_pull_is_told_when_it_comes_to_something_new(printed: Callable[[type[Face], list[Envelope]], str]) -> None:
    steps = [("Downloading", 1), ("Downloading", 2), ("Extracting", 2), ("Extracting", 3)]
    events = [envelope(PullProgress(image="i", status=status, current=current, total=4)) for status, current in steps]
    assert printed(PlainFace, events).splitlines() == ["image i: Downloading 25%", "image i: Extracting 50%"]
