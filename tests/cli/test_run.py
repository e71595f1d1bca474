"""`warmlane run` from outside: what it prints, and the code it ends with."""

from __future__ import annotations

import json
import signal
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

SAY = {"command": ["python3", "-c", "print('said')"]}
FAIL = {"command": ["python3", "-c", "print('about to fail'); raise SystemExit(7)"]}
OUTPUT = {"command": ["python3", "-c", "import os; open(os.environ['WARMLANE_OUTPUT'], 'w').write('{\"n\": 42}')"]}


def test_a_run_that_completes_says_what_happened(start: Callable[..., Any], plan_file: Callable[..., Path]) -> None:
    code, out, err = start("run", plan_file({"say": SAY, "count": OUTPUT}), "--runtime", "process").end()
    assert (code, err) == (0, "")
    assert "say | said" in out
    assert "trial completed" in out
    assert '-> {"n":42}' in out
    assert "blocks found a container ready" in out


def test_a_failed_run_ends_with_1_and_names_the_failure(
    start: Callable[..., Any], plan_file: Callable[..., Path]
) -> None:
    code, out, err = start("run", plan_file({"bad": FAIL}), "--runtime", "process").end()
    assert (code, err) == (1, "")
    assert "trial failed" in out
    assert "7" in next(line for line in out.splitlines() if line.startswith("  bad"))


def test_lenient_failures_are_named_and_the_run_completes(
    start: Callable[..., Any], plan_file: Callable[..., Path]
) -> None:
    plan = plan_file({"bad": FAIL, "say": SAY}, failureMode="lenient")
    code, out, _ = start("run", plan, "--runtime", "process").end()
    assert code == 0
    assert "trial completed" in out
    assert "  bad  failed" in out


def test_json_is_one_message_of_the_monitor_a_line(start: Callable[..., Any], plan_file: Callable[..., Path]) -> None:
    plan = plan_file({"say": SAY, "bad": FAIL}, failureMode="lenient", lanes=["say", "bad"])
    code, out, err = start("run", plan, "--runtime", "process", "--json").end()
    assert (code, err) == (0, "")
    messages = [json.loads(line) for line in out.splitlines()]
    assert {frozenset(message) for message in messages} == {
        frozenset({"channel", "seq", "at", "executionId", "payload"})
    }
    seqs = [message["seq"] for message in messages]
    assert seqs == list(range(seqs[0], seqs[0] + len(seqs)))
    of = {message["channel"]: message["payload"] for message in messages}
    assert {
        "execution:started",
        "execution:lane-start",
        "execution:block-start",
        "execution:block-log",
        "execution:block-complete",
        "execution:block-error",
        "execution:lane-complete",
        "execution:complete",
        "execution:pool-status",
        "container:state-change",
    } <= set(of)
    assert of["execution:started"]["lanes"] == [["say"], ["bad"]]
    assert [result["blockId"] for result in of["execution:complete"]["results"]] == ["say", "bad"]
    assert of["execution:block-error"]["reason"] == "error"
    assert of["container:state-change"]["toState"] == "terminated"


def test_the_second_run_of_a_session_wakes_what_the_first_left_dormant(
    start: Callable[..., Any], plan_file: Callable[..., Path]
) -> None:
    plan = plan_file({"say": SAY})
    code, out, _ = start("run", plan, "--runtime", "process", "--json", "--repeat", 2).end()
    assert code == 0
    causes = [
        message["payload"]["start"]["cause"]
        for message in map(json.loads, out.splitlines())
        if message["channel"] == "execution:block-start"
    ]
    assert len(causes) == 2
    assert causes[1] in ("cooling", "wake")


def test_inputs_reach_the_blocks(start: Callable[..., Any], plan_file: Callable[..., Path]) -> None:
    read = "import json, os; print(json.load(open(os.environ['WARMLANE_INPUT'])))"
    plan = plan_file(
        {"show": {"command": ["python3", "-c", read], "from": {"n": "inputs.count"}}},
        inputs={"count": {"type": "integer"}},
    )
    code, out, _ = start("run", plan, "--runtime", "process", "--input", "count=5").end()
    assert code == 0
    assert "show | {'n': 5}" in out


@pytest.mark.parametrize("words", [[], ["--input", "count=many"], ["--input", "other=1", "--input", "count=1"]])
def test_wrong_inputs_end_with_2_before_anything_starts(
    start: Callable[..., Any], plan_file: Callable[..., Path], words: list[str]
) -> None:
    plan = plan_file({"say": SAY}, inputs={"count": {"type": "integer"}})
    code, out, err = start("run", plan, "--runtime", "process", *words).end()
    assert (code, out) == (2, "")
    assert err.startswith("warmlane: ")
    assert "Traceback" not in err


def test_what_only_the_runtime_knows_of_a_plan_is_told_of_every_block(
    start: Callable[..., Any], plan_file: Callable[..., Path]
) -> None:
    path = plan_file({"a.1": SAY, "b": {**SAY, "container": {"env": {"A": "1"}}}}, container={"user": "nobody-else"})
    code, out, err = start("run", path, "--runtime", "process").end()
    said = "a local process cannot run as user 'nobody-else'; remove container.user or use Docker"
    assert (code, out) == (2, "")
    assert err.splitlines() == [
        f"warmlane: {path} is not valid:",
        f"  $.blocks['a.1']: {said}",
        f"  $.blocks.b: {said}",
    ]


def test_without_docker_auto_takes_processes_and_says_so(
    start: Callable[..., Any], plan_file: Callable[..., Path]
) -> None:
    code, out, err = start("run", plan_file({"say": SAY})).end()
    assert code == 0
    assert "say | said" in out
    (notice,) = err.splitlines()
    assert "local processes" in notice
    assert "no-docker.sock" in notice


def test_without_docker_auto_says_so_in_json_too(start: Callable[..., Any], plan_file: Callable[..., Path]) -> None:
    """As the first of all events, once; and to the person, once."""
    code, out, err = start("run", plan_file({"say": SAY}), "--json").end()
    assert code == 0
    first, *others = map(json.loads, out.splitlines())
    assert first["channel"] == "session:notice"
    assert "session:notice" not in [other["channel"] for other in others]
    assert err == f"warmlane: {first['payload']['text']}\n"


def test_without_docker_asking_for_it_ends_with_5(start: Callable[..., Any], plan_file: Callable[..., Path]) -> None:
    code, out, err = start("run", plan_file({"say": SAY}), "--runtime", "docker").end()
    assert (code, out) == (5, "")
    (line,) = err.splitlines()
    assert line.startswith("warmlane: runtime 'docker' is not available: nothing answers at unix://")
    assert line.endswith("; start Docker, or point DOCKER_HOST to it, or use '--runtime process'")


def test_a_monitor_port_in_use_ends_with_2_before_anything_starts(
    start: Callable[..., Any], plan_file: Callable[..., Path]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        code, out, err = start(
            "run", plan_file({"say": SAY}), "--runtime", "process", "--json", "--monitor", address
        ).end()
    assert code == 2
    assert out == ""
    (line,) = err.splitlines()
    assert line.startswith(f"warmlane: the monitor cannot listen on {address}: ")


def test_a_monitor_is_announced_with_its_address(start: Callable[..., Any], plan_file: Callable[..., Path]) -> None:
    arguments = ("--runtime", "process", "--monitor", "127.0.0.1:0")
    code, _, err = start("run", plan_file({"say": SAY}), *arguments).end()
    assert code == 0
    assert "ws://127.0.0.1:" in err


def test_what_a_block_prints_cannot_steer_the_terminal(
    start: Callable[..., Any], plan_file: Callable[..., Path]
) -> None:
    hostile = "\x1b[2J\x9b31m[bold]not markup[/bold]\x07"
    plan = plan_file({"say": {"command": ["python3", "-c", f"print({hostile!r})"]}})
    _, out, _ = start("run", plan, "--runtime", "process").end()
    assert "say | \\x1b[2J\\x9b31m[bold]not markup[/bold]\\x07" in out
    _, out, _ = start("run", plan, "--runtime", "process", "--json").end()
    assert not set(out) & {"\x1b", "\x9b", "\x07"}
    assert hostile in [json.loads(line)["payload"].get("text") for line in out.splitlines()]


def test_all_that_a_block_prints_comes_through(start: Callable[..., Any], plan_file: Callable[..., Path]) -> None:
    plan = plan_file({"say": {"command": ["python3", "-c", "for n in range(30000): print(n, '-' * 60)"]}})
    code, out, _ = start("run", plan, "--runtime", "process").end()
    assert code == 0
    numbers = [int(line.split()[2]) for line in out.splitlines() if line.startswith("say | ")]
    assert numbers == list(range(30000))


def test_a_monitor_whose_reader_leaves_ends_quietly(start: Callable[..., Any], plan_file: Callable[..., Path]) -> None:
    plan = plan_file({"wait": {"command": ["python3", "-c", "import time\nwhile True: print('.'); time.sleep(0.01)"]}})
    run = start("run", plan, "--runtime", "process", "--json", "--monitor", "127.0.0.1:0")
    url = run.line("ws://", run.err).split("'")[1].split()[-1]
    monitor = start("monitor", url)
    monitor.line("wait | .")
    monitor.out.close()
    monitor.process.stdout = None
    code, _, err = monitor.end()
    assert (code, err) == (0, "")
    run.signal(signal.SIGTERM)
    assert run.end()[0] == 3
