"""Command blocks: what they find, what becomes of their output, and how they can end."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

MIB = 1024 * 1024


def output(agent: Any, shell: str, **more: Any) -> Any:
    """What a shell command that must end well leaves as its output."""
    ended = agent.run("sh", "-c", shell, **more)
    assert (ended.exit["code"], ended.exit["error"], ended.exit["fault"]) == (0, None, None)
    return ended.exit["output"]


def bad_output(agent: Any, shell: str, *words: str, **more: Any) -> str:
    """The sentence for a command whose output is no good."""
    ended = agent.run("sh", "-c", shell, *words, **more)
    assert (ended.exit["code"], ended.exit["fault"], ended.exit["output"]) == (0, "bad-output", None)
    said: str = ended.exit["error"]
    return said


def test_a_block_ends_well(agent: Any) -> None:
    ended = agent.run("true")
    assert ended.lines == []
    assert ended.exit == {"code": 0, "signal": None, "error": None, "fault": None, "output": None}


def test_a_block_finds_its_environment(agent: Any) -> None:
    said = dict(line.split("=", 1) for line in agent.run("env").text() if line.startswith(("WARMLANE_", "TMPDIR")))
    scratch, workspace = agent.folder / "scratch", agent.folder / "workspace"
    home = Path(said["TMPDIR"]).parent
    assert home.parent == scratch
    assert {key: said[key] for key in said if said[key] != os.environ.get(key)} == {  # others are the suite's
        "WARMLANE_EXECUTION_ID": "e1",
        "WARMLANE_BLOCK_ID": "b1",
        "WARMLANE_ATTEMPT": "1",
        "WARMLANE_INPUT": str(home / "input.json"),
        "WARMLANE_OUTPUT": str(home / "output.json"),
        "WARMLANE_WORKSPACE": str(workspace),
        "TMPDIR": str(home / "tmp"),
    }


def test_the_environment_of_its_configuration_is_the_blocks(launch: Any) -> None:
    agent = launch(env={"GREETING": "grüß dich", "EMPTY": ""}, workspace=None)
    text = agent.run("env").text()
    assert {"GREETING=grüß dich", "EMPTY="} <= set(text)
    assert not [line for line in text if line.startswith("WARMLANE_WORKSPACE=")]


def test_input_becomes_output(agent: Any) -> None:
    value: Any = {
        "text": 'ü\n\u2028"',
        "numbers": [1, -2.5, 1e300, 2**70],
        "none": None,
        "yes": True,
        "deep": {"a": [{}]},
    }
    assert output(agent, "cat $WARMLANE_INPUT > $WARMLANE_OUTPUT", value=value) == value


def test_input_may_be_large(agent: Any) -> None:
    assert output(agent, "wc -c < $WARMLANE_INPUT > $WARMLANE_OUTPUT", value="x" * 20 * MIB) == 20 * MIB + 2


def test_output_may_be_written_over_many_lines(agent: Any) -> None:
    assert output(agent, r"""printf '\n{\n\r\n\t"a": [\n1\n]\n}\n\n' > $WARMLANE_OUTPUT""") == {"a": [1]}


def test_output_goes_up_to_its_limit(agent: Any) -> None:
    """By default 16 MiB; a byte more is too much."""
    limit = 16 * MIB
    write = "(printf '\"'; head -c {} /dev/zero | tr '\\0' x; printf '\"') > $WARMLANE_OUTPUT"
    assert output(agent, write.format(limit - 2), output_limit=limit) == "x" * (limit - 2)
    said = bad_output(agent, write.format(limit - 1), output_limit=limit)
    assert said == "its output is too large: 16777217 bytes, the limit is 16 MiB"


def test_output_that_is_huge_is_not_read(agent: Any) -> None:
    said = bad_output(agent, "truncate -s 1T $WARMLANE_OUTPUT")
    assert said == "its output is too large: 1099511627776 bytes, the limit is 9.766 KiB"


def test_output_that_is_not_json_is_said_to_be_none(agent: Any) -> None:
    for written, said in {
        "": "Expecting value",
        "hello": "Expecting value",
        "{'a': 1}": "Expecting property name",
        "[1, 2] 3": "Extra data",
        "NaN": "JSON has no NaN",
        "[Infinity]": "JSON has no Infinity",
        "[-Infinity]": "JSON has no -Infinity",
        "[1e999]": "Out of range float values are not JSON compliant",
        r'"\\ud800"': "not valid UTF-8",
        r'"\0377"': "not valid UTF-8",
    }.items():
        found = bad_output(agent, 'printf %b "$0" > $WARMLANE_OUTPUT', written)
        assert found.startswith(f"its output is not JSON: {said}"), (written, found)


def test_output_that_is_nested_without_end_is_refused(agent: Any) -> None:
    script = "import os; open(os.environ['WARMLANE_OUTPUT'], 'w').write('[' * 200_000 + ']' * 200_000)"
    ended = agent.script(script, output_limit=MIB)
    assert ended.exit["error"] == "its output is not JSON: nested too deeply"


def test_tricks_with_the_output_file_hang_and_leak_nothing(agent: Any) -> None:
    secret = agent.folder / "secret.json"
    secret.write_text('"leaked"')
    for trick, said in {
        "mkfifo $WARMLANE_OUTPUT": "not a regular file",
        "mkdir $WARMLANE_OUTPUT": "not a regular file",
        f"ln -s {secret} $WARMLANE_OUTPUT": "cannot be read",
        "ln -s /dev/zero $WARMLANE_OUTPUT": "cannot be read",
        "ln -s nowhere $WARMLANE_OUTPUT": "cannot be read",
    }.items():
        assert said in bad_output(agent, trick), trick
    elsewhere = f"cd ..; mv $PWD {agent.folder}/gone; ln -s {agent.folder} $OLDPWD/..; true"
    assert agent.run("sh", "-c", elsewhere).exit["output"] is None
    assert agent.left() == []


def test_the_exit_code_is_told(agent: Any) -> None:
    ended = agent.run("sh", "-c", "echo '[1]' > $WARMLANE_OUTPUT; exit 3")
    assert ended.exit == {"code": 3, "signal": None, "error": "exit code 3", "fault": "error", "output": None}


def test_the_signal_is_told(agent: Any) -> None:
    for name, number in {"SEGV": 11, "KILL": 9, "TERM": 15, "40": 40}.items():
        ended = agent.run("sh", "-c", f"kill -{name} $$")
        said = "killed by signal 40" if number == 40 else f"killed by SIG{name}"
        assert ended.exit == {"code": None, "signal": number, "error": said, "fault": "signal", "output": None}


def test_a_command_that_cannot_be_run_is_said_so(agent: Any) -> None:
    plain = agent.folder / "plain"
    plain.write_text("no program")
    bad = agent.folder / "bad"
    bad.write_text("#!/nowhere/python\n")
    bad.chmod(0o755)
    for command, code, said in [
        ("no-such-command", 127, "command not found"),
        ("/nowhere/at-all", 127, "command not found"),
        (str(bad), 127, "command not found"),
        (str(plain), 126, "Permission denied"),
        ("/", 126, "Permission denied"),
        ("a\0b", 126, "embedded null "),
    ]:
        ended = agent.run(command)
        assert (ended.exit["code"], ended.exit["fault"]) == (code, "error"), command
        assert ended.exit["error"].startswith(f"cannot run '{command}': ")
        assert said in ended.exit["error"]
        assert ended.lines == []


def test_arguments_are_passed_as_they_are(agent: Any) -> None:
    words = ["a b", "", "*", "$HOME", "ü", "-x", "'\""]
    assert agent.run("printf", "%s\\n", *words).text() == words


def test_the_working_directory_is_fresh_and_gone_afterwards(agent: Any) -> None:
    first, second = (agent.run("sh", "-c", "pwd; ls -A; touch here").text() for _ in range(2))
    assert len(first) == len(second) == 1
    assert first != second
    assert agent.left() == []


def test_whatever_a_block_leaves_in_its_directories_is_removed(agent: Any) -> None:
    (agent.folder / "precious").write_text("kept")
    ended = agent.run(
        "sh",
        "-c",
        f"""
        mkdir -p a/b/c "$TMPDIR/t/u"; touch a/b/c/file "$TMPDIR/t/u/file" '
'; ln -s {agent.folder} link; ln -s nowhere dangling
        mkfifo fifo; mkdir locked; touch locked/file; chmod 000 locked a/b/c/file; chmod 500 a/b
        cd ..; chmod 000 work tmp
        """,
    )
    assert ended.exit["code"] == 0, ended
    assert agent.left() == []
    assert (agent.folder / "precious").exists()


def test_directories_too_deep_for_a_path_are_removed(agent: Any) -> None:
    script = "import os\nfor _ in range(300): os.mkdir('x' * 50); open('f', 'w').close(); os.chdir('x' * 50)"
    assert agent.script(script).exit["code"] == 0
    assert agent.left() == []


def test_a_block_inherits_nothing(agent: Any) -> None:
    """Descriptors but the first three, an ignored or blocked signal, a terminal, an input."""
    script = """
import json, os, signal, sys
print(json.dumps({
    'fds': sorted(os.listdir('/proc/self/fd')),
    'stdin': sys.stdin.read(),
    'leader': os.getsid(0) == os.getpid() == os.getpgid(0),
}))
"""
    lines = agent.run("sh", "-c", "ls /proc/self/fd; grep -E 'Sig(Blk|Ign)' /proc/self/status; cat").text()
    assert lines[:4] == ["0", "1", "2", "3"], "the fourth is the one that ls looks with"
    assert [signals_in(line) for line in lines[4:]] == [set(), set()]
    said = json.loads(agent.script(script).text()[0])
    assert said["fds"] == ["0", "1", "2", "3"]
    assert said["stdin"] == ""
    assert said["leader"]


def test_a_broken_pipe_kills_as_it_should(agent: Any) -> None:
    """A shell pipeline relies on SIGPIPE."""
    ended = agent.run("sh", "-c", "yes | head -n 1")
    assert ended.text() == ["y"]
    assert ended.text("stderr") == []


def test_blocks_run_side_by_side(agent: Any, wait_until: Callable[[Callable[[], bool]], None]) -> None:
    go = agent.folder / "go"
    script = f"echo $0; while [ ! -e {go} ]; do sleep 0.01; done; echo $0"
    streams = [agent.start("sh", "-c", script, str(number)) for number in range(10)]
    assert agent.health()["runs"] == 10
    go.touch()
    for number, stream in enumerate(streams):
        assert stream.end().text() == [str(number)] * 2
    wait_until(lambda: not agent.below())


def test_a_place_without_room_is_said_to_be_one(launch: Any) -> None:
    agent = launch(scratch="/proc/nowhere")
    ended = agent.run("true")
    assert (ended.exit["code"], ended.exit["fault"]) == (None, "error")
    assert ended.exit["error"].startswith("it could not be started: ")
    assert agent.run(python="json:loads").exit["error"].startswith("it could not be started: ")


def test_what_the_agent_inherits_ignored_is_not_the_blocks(launch: Any) -> None:
    """As under nohup."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        agent = launch()
    finally:
        signal.signal(signal.SIGHUP, before)
    (line,) = agent.run("grep", "SigIgn", "/proc/self/status").text()
    assert signals_in(line) == set()


def signals_in(line: str) -> set[int]:
    """Of a line of `/proc/PID/status`, without 32 and 33: the C library's own, ignored after its `posix_spawn`."""
    mask = int(line.split("\t")[1], 16)
    return {number + 1 for number in range(64) if mask >> number & 1} - {32, 33}
