"""Blocks that misbehave: each ends in one clear sentence, and leaves nothing behind."""

from __future__ import annotations

from typing import Any

import pytest
import trio

pytestmark = pytest.mark.usefixtures("bounded")

FORKS = r"""
import os, time
for _ in range(5):
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            time.sleep(600)
        os._exit(0)
print("parent is done")
"""

OUTCOMES = {
    "ok": ("true", "succeeded", None, None),
    "code": ("exit 3", "failed", "error", "exit code 3"),
    "killed": ("kill -SEGV $$", "failed", "signal", "SIGSEGV"),
    "missing": ({"command": ["no-such-program"]}, "failed", "error", "no-such-program"),
    "not-json": ("echo '{' > $WARMLANE_OUTPUT", "failed", "bad-output", "JSON"),
    "not-a-number": ("echo NaN > $WARMLANE_OUTPUT", "failed", "bad-output", "NaN"),
    "too-large": ("yes | head -c 3000000 | tr -d '\\n' > $WARMLANE_OUTPUT", "failed", "bad-output", "1 MiB"),
    "a-folder": ("mkdir $WARMLANE_OUTPUT", "failed", "bad-output", None),
    "a-pipe": ("mkfifo $WARMLANE_OUTPUT", "failed", "bad-output", None),
    "no-module": ({"python": "no_such_module:function"}, "failed", "error", "no_such_module"),
    "patient": ({"command": ["sleep", "60"], "timeoutMs": 300}, "failed", "timeout", "300 ms"),
    "stubborn": (
        {"command": ["sh", "-c", "trap '' TERM; sleep 60 & wait; wait; sleep 60"], "timeoutMs": 300},
        "failed",
        "timeout",
        "300 ms",
    ),
    "daemons": ({"command": ["python3", "-c", FORKS]}, "succeeded", None, None),
}

LOOKS = """
import glob, json, os
found = {"here": os.listdir("."), "ours": [], "ipc": [], "processes": []}
for folder in ("/tmp", "/dev", "/dev/shm", "/dev/mqueue", "/run/warmlane"):
    found["ours"] += glob.glob(folder + "/.left*")
if os.environ["KIND"] == "docker":
    for kind in ("shm", "sem", "msg"):
        found["ipc"] += open("/proc/sysvipc/" + kind).read().splitlines()[1:]
for path in glob.glob("/proc/[0-9]*/cmdline"):
    try:
        with open(path) as file:
            found["processes"] += [path] * (file.read() == "sleep\\x00" + "600.1234\\x00")
    except OSError:
        pass
json.dump(found, open(os.environ["WARMLANE_OUTPUT"], "w"))
"""
LEAVES = (
    LOOKS
    + """
import subprocess
open("left", "w").close()
subprocess.Popen(["sleep", "600.1234"], start_new_session=True)
"""
)
LEAVES_IN_CONTAINER = (
    LEAVES
    + """
import ctypes
for folder in ("/tmp", "/dev/shm", "/dev/mqueue", "/run/warmlane"):
    if os.access(folder, os.W_OK):
        open(folder + "/.left", "w").close()
os.makedirs("/tmp/.left.d/deep")
os.chmod("/tmp/.left.d", 0)
libc = ctypes.CDLL(None)
assert min(libc.shmget(7, 4096, 0o1600), libc.semget(7, 1, 0o1600), libc.msgget(7, 0o1600)) >= 0
"""
)
NOTHING_LEFT: dict[str, Any] = {"here": [], "ours": [], "ipc": [], "processes": []}


async def test_each_bad_end_has_its_reason_and_a_sentence(place: Any, stage: Any) -> None:
    async with stage(place, output_limit=1024 * 1024) as it:
        plan = it.plan(
            {name: case[0] for name, case in OUTCOMES.items()},
            [{"blocks": list(OUTCOMES)}],
            failureMode="lenient",
            maxContainers=3,
        )
        report = await it.session.run(plan)
        assert report.status == "completed"
        for name, (_, status, reason, words) in OUTCOMES.items():
            result = report[name]
            assert (result.status, result.reason) == (status, reason), (name, result.error)
            if words is not None:
                assert result.error is not None
                assert words in result.error, (name, result.error)
                assert "\n" not in result.error
        for end in report.receipt.containers:
            await it.until("container:state-change", name=end.name, toState="dormant")


async def test_output_lines_of_any_size_and_encoding_come_through_whole(place: Any, stage: Any) -> None:
    prints = (
        "import sys; out = sys.stdout.buffer; out.write(b'x' * 5_000_000 + b'\\n'); out.write(b'bad \\xff byte\\n');"
        "out.write('grüße €\\n'.encode()); [out.write(b'line %d\\n' % n) for n in range(20_000)];"
        "out.write(b'no newline')"
    )
    async with stage(place) as it:
        await it.session.run(it.plan({"a": {"command": ["python3", "-c", prints]}}, ["a"]))
        lines, text = [], ""
        for message in it.messages("execution:block-log"):
            text += message["payload"]["text"]
            if not message["payload"]["partial"]:
                lines.append(text)
                text = ""
        assert lines[0] == "x" * 5_000_000
        assert lines[1:3] == ["bad \\xff byte", "grüße €"]
        assert lines[3:] == [f"line {n}" for n in range(20_000)] + ["no newline"]


async def test_an_output_up_to_the_limit_comes_through_whole(place: Any, stage: Any) -> None:
    writes = "import json, os; json.dump('x' * (16 * 1024 * 1024 - 2), open(os.environ['WARMLANE_OUTPUT'], 'w'))"
    async with stage(place) as it:
        report = await it.session.run(it.plan({"a": {"command": ["python3", "-c", writes]}}, ["a"]))
        assert report["a"].error is None
        assert len(report.outputs["a"]) == 16 * 1024 * 1024 - 2


async def test_a_reused_container_has_nothing_of_the_block_before(place: Any, stage: Any) -> None:
    kind, container, daemon = place
    leaves = LEAVES_IN_CONTAINER if kind == "docker" else LEAVES
    async with stage((kind, container | {"env": {"KIND": kind}}, daemon)) as it:
        blocks = {"a": {"command": ["python3", "-c", leaves]}, "b": {"command": ["python3", "-c", LOOKS]}}
        used: set[str | None] = set()
        for lanes in (["a", "b"], ["a"], ["b"]):  # in the same execution, and in later ones
            report = await it.session.run(it.plan({name: blocks[name] for name in lanes}, lanes))
            assert report.outputs == dict.fromkeys(lanes, NOTHING_LEFT), report.failures
            used |= {result.container_id for result in report.results}
        assert len(used) == 1


async def test_a_run_cancelled_from_outside_goes_on_as_cancelled_when_all_has_settled(place: Any, stage: Any) -> None:
    async with stage(place) as it:
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(it.session.run, it.plan({"a": "sleep 60"}, ["a"]))
                await it.until("execution:block-start", blockId="a")
                scope.cancel()
        assert scope.cancelled_caught
        ended = it.messages("execution:aborted")[0]["payload"]
        assert ended["results"][0]["reason"] == "aborted"
        assert [container["ended"] for container in ended["receipt"]["containers"]] == ["dormant"]
        assert it.paused(ended["receipt"]["containers"][0]["name"])
