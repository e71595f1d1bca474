"""However a block ends, or is ended, no process of it is left; and when the agent ends, nothing at all is."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Wait = Callable[[Callable[[], Any]], None]

DAEMON = """
import os, signal, sys, time
there, tell = os.pipe()
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        for number in set(signal.valid_signals()) - {signal.SIGKILL, signal.SIGSTOP, 32, 33}:
            signal.signal(number, signal.SIG_IGN)
        print('daemon', os.getpid(), flush=True)
        os.write(tell, b'.')
        time.sleep(1000)
    os._exit(0)
os.read(there, 1)
"""
"""A process that has left its session, its parent and every signal behind, and holds the pipes open. What comes after
this runs when the daemon is there. It sleeps until it is killed, and not for ever if the test fails."""

BOMB = """
import os, sys, time
print('bomb', flush=True)
deadline = time.monotonic() + 30
for _ in range(7):  # 128 processes, in as many groups as there are
    os.fork()
    os.setsid() if os.getpid() % 2 else None
while time.monotonic() < deadline:
    pid = os.fork()  # and each of them goes on forking
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
"""

RUNNER = """
import os, time
print('runner', flush=True)
deadline = time.monotonic() + 30
while time.monotonic() < deadline:
    if os.fork():
        os._exit(0)  # never the same pid for longer than a moment
    os.setsid()
"""

PIPE = 64 * 1024
"""What the first of the buffers holds, in bytes."""


def gone(pid: int) -> bool:
    return not Path(f"/proc/{pid}").exists()


def fills_all_buffers(agent: Any) -> Callable[[], bool]:
    """Whether a block that writes without end has come to a stop: to be asked until it has.

    That is so when it has not written anything since the last few looks, and neither it nor anybody on the way from it
    to us was able to run in any of them.
    """
    looks: list[tuple[int, set[str]]] = []

    def stands_still() -> bool:
        everyone = [Path(f"/proc/{pid}") for pid in (agent.process.pid, *agent.below())]
        try:
            written = sum(int((process / "io").read_text().split()[3]) for process in everyone[1:])  # "wchar: 123"
            states = {(process / "stat").read_text().rpartition(")")[2].split()[0] for process in everyone}
        except OSError:
            return False  # one of those that start it has just ended
        looks.append((written, states))
        return written >= PIPE and looks[-5:] == [(written, {"S"})] * 5

    return stands_still


def test_what_a_block_leaves_running_is_killed(agent: Any, wait_until: Wait) -> None:
    """Its end is its own process's end: a daemon that holds its pipes open delays nothing."""
    began = time.monotonic()
    ended = agent.script(DAEMON)
    assert time.monotonic() - began < 5
    assert ended.exit["code"] == 0
    (line,) = ended.text()
    assert gone(int(line.split()[1]))
    wait_until(lambda: not agent.below())


def test_a_block_is_ended_by_sigterm(agent: Any) -> None:
    stream = agent.start("sh", "-c", "trap 'echo bye; exit 7' TERM; echo ready; while :; do sleep 0.01; done", run="r")
    stream.until("ready")
    assert agent.ask("DELETE", "/blocks/r") == (200, {"gone": True})
    ended = stream.end()
    assert ended.text() == ["bye"]
    assert ended.exit["code"] == 7
    assert agent.left() == []


def test_a_shell_does_not_go_on_when_its_command_is_ended(agent: Any) -> None:
    stream = agent.start("sh", "-c", "echo ready; sleep 1000; echo next", run="r")
    stream.until("ready")
    agent.ask("DELETE", "/blocks/r")
    ended = stream.end()
    assert (ended.text(), ended.exit["signal"]) == ([], 15)


def test_who_ignores_sigterm_is_killed_after_the_grace(agent: Any) -> None:
    stream = agent.start(
        "sh", "-c", "trap '' TERM; echo ready; while :; do sleep 1; done", run="r", terminate_grace=0.4
    )
    stream.until("ready")
    began = time.monotonic()
    agent.ask("DELETE", "/blocks/r")
    assert 0.4 <= time.monotonic() - began < 2
    assert stream.end().exit["signal"] == 9


def test_a_stopped_block_is_ended(agent: Any) -> None:
    for handles in ("", "trap 'exit 7' TERM;"):
        stream = agent.start("sh", "-c", f"{handles} echo ready; kill -STOP $$; sleep 1000", run="r")
        stream.until("ready")
        agent.ask("DELETE", "/blocks/r")
        assert stream.end().exit["code"] == (7 if handles else None)


def test_a_block_that_hides_is_ended(agent: Any, wait_until: Wait) -> None:
    stream = agent.start(agent.python, "-c", DAEMON + "time.sleep(1000)", run="r", terminate_grace=0.1)
    pid = int(stream.message()["text"].split()[1])
    agent.ask("DELETE", "/blocks/r")
    assert gone(pid)
    wait_until(lambda: not agent.below())


@pytest.mark.parametrize("script", [BOMB, RUNNER], ids=["bomb", "runner"])
def test_a_block_that_forks_without_end_is_ended(agent: Any, script: str, wait_until: Wait) -> None:
    stream = agent.start(agent.python, "-c", script, run="r", terminate_grace=0.1)
    stream.message()
    began = time.monotonic()
    assert agent.ask("DELETE", "/blocks/r") == (200, {"gone": True})
    assert time.monotonic() - began < 10
    wait_until(lambda: not agent.below())


def test_hanging_up_ends_the_block(agent: Any, wait_until: Wait) -> None:
    stream = agent.start("sh", "-c", "trap '' TERM; echo $$; while :; do sleep 0.01; done", terminate_grace=0.1)
    pid = int(stream.message()["text"])
    stream.close()
    wait_until(lambda: gone(pid))
    wait_until(lambda: agent.health()["runs"] == 0)
    assert agent.left() == []


def test_hanging_up_ends_a_block_whose_output_nobody_reads(agent: Any, wait_until: Wait) -> None:
    stream = agent.start("cat", "/dev/zero")
    wait_until(fills_all_buffers(agent))
    stream.close()
    wait_until(lambda: agent.health()["runs"] == 0)
    wait_until(lambda: not agent.below())


def test_ending_a_block_whose_output_nobody_reads_is_quick(agent: Any, wait_until: Wait) -> None:
    stream = agent.start("cat", "/dev/zero", run="r")
    wait_until(fills_all_buffers(agent))
    began = time.monotonic()
    assert agent.ask("DELETE", "/blocks/r") == (200, {"gone": True})
    assert time.monotonic() - began < 3
    stream.close()


def test_what_is_printed_while_it_ends_comes_through(agent: Any) -> None:
    script = "trap 'seq 50000; exit 0' TERM; echo ready; while :; do sleep 0.01; done"
    stream = agent.start("sh", "-c", script, run="r", terminate_grace=20)
    stream.until("ready")
    with agent.send("DELETE", "/blocks/r"):
        ended = stream.end()
    assert ended.text() == [str(number) for number in range(1, 50_001)]


def test_ending_what_is_unknown_or_over_is_success(agent: Any) -> None:
    assert agent.ask("DELETE", "/blocks/r") == (200, {"gone": True})
    agent.run("true", run="r")
    assert agent.ask("DELETE", "/blocks/r") == (200, {"gone": True})


def test_many_may_end_the_same_block(agent: Any, wait_until: Wait) -> None:
    stream = agent.start("sh", "-c", "trap '' TERM; echo ready; sleep 1000", run="r")
    stream.until("ready")
    enders = [agent.send("DELETE", "/blocks/r") for _ in range(5)]
    for sock in enders:
        assert b'{"gone": true}' in sock.recv(1000)
    wait_until(lambda: not agent.below())


def test_a_block_whose_supervisor_is_killed_is_hunted(agent: Any, wait_until: Wait) -> None:
    """By the block itself, who may do so."""
    go = agent.folder / "go"
    os.mkfifo(go)
    kills = f"open({str(go)!r}).close(); os.kill(os.getppid(), 9); time.sleep(1000)"
    stream = agent.start(agent.python, "-c", DAEMON + kills)
    pid = int(stream.message()["text"].split()[1])
    go.open("w").close()
    with pytest.raises(EOFError):
        stream.message()
    wait_until(lambda: gone(pid))
    wait_until(lambda: not agent.below())
    assert agent.health()["runs"] == 0
    assert agent.run("true").exit["code"] == 0


def test_who_waits_for_a_hunted_block_is_told_when_it_is_gone(agent: Any) -> None:
    stream = agent.start(agent.python, "-c", DAEMON + "time.sleep(1000)", run="r", terminate_grace=30)
    pid = int(stream.message()["text"].split()[1])
    supervisor = agent.below()[0]
    os.kill(supervisor, signal.SIGSTOP)
    with agent.send("DELETE", "/blocks/r") as sock:
        os.kill(supervisor, signal.SIGKILL)
        assert b'{"gone": true}' in sock.recv(1000)
    assert gone(pid)


def test_the_agents_end_is_the_end_of_all(agent: Any, wait_until: Wait) -> None:
    """On SIGTERM at once, without a grace."""
    agent.module("warm", "def f(): pass")
    agent.run(python="warm:f")
    stream = agent.start(agent.python, "-c", DAEMON + "time.sleep(1000)", terminate_grace=30)
    pid = int(stream.message()["text"].split()[1])
    everyone = [*agent.below(), pid]
    began = time.monotonic()
    agent.process.terminate()
    assert agent.process.wait(10) == 0
    assert time.monotonic() - began < 2
    assert all(map(gone, everyone))
    assert not Path(agent.address).exists()


def test_the_end_of_its_lifeline_is_the_agents_end(agent: Any) -> None:
    stream = agent.start("sh", "-c", "echo ready; sleep 1000")
    stream.until("ready")
    everyone = agent.below()
    agent.process.stdin.close()
    assert agent.process.wait(10) == 0
    assert all(map(gone, everyone))


def test_an_agent_without_a_lifeline_does_not_look_at_its_input(launch: Callable[..., Any]) -> None:
    agent = launch(lifeline=False)
    agent.process.stdin.close()
    assert agent.health()["status"] == "ok"
    agent.process.terminate()


def test_blocks_end_when_their_agent_is_killed(agent: Any, wait_until: Wait) -> None:
    """It cannot do anything about them any more; their supervisors do."""
    agent.module("warm", "import time\ndef f():\n print('ready', flush=True)\n time.sleep(1000)")
    streams = [
        agent.start(agent.python, "-c", DAEMON + "time.sleep(1000)", terminate_grace=30),
        agent.start(python="warm:f", terminate_grace=30),
    ]
    for stream in streams:
        stream.message()
    everyone = agent.below()
    agent.process.kill()
    agent.process.wait(10)
    wait_until(lambda: all(map(gone, everyone)))
    agent.process.returncode = 0  # it did not end by itself
