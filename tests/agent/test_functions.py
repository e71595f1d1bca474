"""Python blocks: the warm parent that they are forked from, and what their functions may do."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from typing import Any

Wait = Callable[[Callable[[], Any]], None]

WELL = {"code": 0, "signal": None, "error": None, "fault": None}


def value_of(agent: Any, target: str, **more: Any) -> Any:
    """What a function that must end well returns."""
    ended = agent.run(python=target, **more)
    assert {key: ended.exit[key] for key in WELL} == WELL, ended
    return ended.exit["output"]


def error_of(agent: Any, target: str, **more: Any) -> str:
    """The sentence for a function that must not."""
    ended = agent.run(python=target, **more)
    assert (ended.exit["code"], ended.exit["fault"], ended.exit["output"]) == (1, "error", None), ended
    said: str = ended.exit["error"]
    return said


def test_a_function_gets_the_input_if_it_takes_one(agent: Any) -> None:
    agent.module(
        "m",
        """
import functools
def none(): return 'none'
def one(value): return ['one', value]
def default(value=5): return ['default', value]
def star(*values): return ['star', list(values)]
def keyword(*, value=5): return ['keyword', value]
def keywords(**values): return ['keywords', values]
class Class:
    @staticmethod
    def static(value): return ['static', value]
    @classmethod
    def of_class(cls): return 'class'
    def __call__(self, value): return ['call', value]
instance = Class()
partial = functools.partial(lambda a, b: [a, b], 1)
def decorated(function):
    @functools.wraps(function)
    def wrapper(*args): return ['wrapped', function(*args)]
    return wrapper
@decorated
def without(): return 'without'
builtin = dict
""",
    )
    given = {"a": ["ü", 1, None]}
    for name, expected in {
        "none": "none",
        "one": ["one", given],
        "default": ["default", given],
        "star": ["star", [given]],
        "keyword": ["keyword", 5],
        "keywords": ["keywords", {}],
        "Class.static": ["static", given],
        "Class.of_class": "class",
        "instance": ["call", given],
        "partial": [1, given],
        "without": ["wrapped", "without"],
        "builtin": given,
    }.items():
        assert value_of(agent, f"m:{name}", value=given) == expected, name


def test_none_is_no_output(agent: Any) -> None:
    agent.module("m", "import os\ndef f(): pass\ndef g(): open(os.environ['WARMLANE_OUTPUT'], 'w').write('[1]')")
    assert value_of(agent, "m:f") is None
    assert value_of(agent, "m:g") == [1], "it has written its output itself"


def test_the_module_is_imported_once_for_all(agent: Any) -> None:
    agent.module("m", "import os\nprint('importing')\nmade_by = os.getpid()\ndef f(): print('f'); return made_by")
    first = agent.run(python="m:f")
    second = agent.run(python="m:f")
    assert first.text() == ["importing", "f"]
    assert second.text() == ["f"]
    assert first.exit["output"] == second.exit["output"]


def test_blocks_of_one_module_do_not_see_each_other(agent: Any) -> None:
    agent.module(
        "m", "import os\nseen = []\ndef f(x): seen.append(x); os.chdir('/'); os.environ['X'] = 'x'; return seen"
    )
    assert [value_of(agent, "m:f", value=number) for number in range(3)] == [[0], [1], [2]]


def test_a_changed_file_is_imported_anew(agent: Any) -> None:
    agent.module("helper", "value = 1")
    agent.module("m", "import helper\ndef f(): return helper.value")
    assert value_of(agent, "m:f") == 1
    agent.module("helper", "value = 2")
    assert value_of(agent, "m:f") == 2
    agent.module("m", "import helper\ndef f(): return -helper.value")
    assert value_of(agent, "m:f") == -2
    (agent.folder / "workspace" / "m.py").unlink()
    assert error_of(agent, "m:f") == "ModuleNotFoundError: No module named 'm'"
    agent.module("m", "def f(): return 'back'")
    assert value_of(agent, "m:f") == "back"


def test_a_replaced_parent_lets_its_blocks_end(agent: Any, wait_until: Wait) -> None:
    go = agent.folder / "go"
    os.mkfifo(go)
    agent.module("m", f"def f():\n print('ready')\n open({str(go)!r}).close()\n return 'old'")
    stream = agent.start(python="m:f")
    stream.until("ready")
    agent.module("m", "def f(): return 'new'")
    assert value_of(agent, "m:f") == "new"
    go.open("w").close()
    assert stream.end().exit["output"] == "old"
    wait_until(lambda: len(agent.below()) == 1)


def test_few_parents_are_kept(agent: Any, wait_until: Wait) -> None:
    for number in range(12):
        agent.module(f"m{number}", f"def f(): return {number}")
        assert value_of(agent, f"m{number}:f") == number
    wait_until(lambda: len(agent.below()) == 8)
    assert value_of(agent, "m0:f") == 0


def test_the_workspace_comes_first_and_nothing_is_written_there(agent: Any) -> None:
    agent.module("colorsys", "def f(): import sys; return [__file__, sys.path[0]]")
    workspace = agent.folder / "workspace"
    assert value_of(agent, "colorsys:f") == [str(workspace / "colorsys.py"), str(workspace)]
    assert [path.name for path in workspace.iterdir()] == ["colorsys.py"]


def test_packages_and_pythonpath_are_found(launch: Callable[..., Any], folder: Any) -> None:
    (folder / "extra").mkdir()
    (folder / "extra" / "other.py").write_text("def f(): return 'other'")
    agent = launch(env={"PYTHONPATH": str(folder / "extra")})
    (folder / "workspace" / "package").mkdir()
    (folder / "workspace" / "package" / "__init__.py").touch()
    (folder / "workspace" / "package" / "part.py").write_text("from . import __name__ as n\ndef f(): return n")
    assert value_of(agent, "package.part:f") == "package"
    assert value_of(agent, "other:f") == "other"


def test_installed_packages_are_found_and_ours_are_not(agent: Any) -> None:
    agent.module(
        "m", "import sys\ndef f(): return [path for path in sys.path if 'packages' in path or 'warmlane' in path]"
    )
    paths = value_of(agent, "m:f")
    assert paths
    assert all(path.endswith("-packages") for path in paths), "some Pythons have several"


def test_a_function_is_in_an_ordinary_program(agent: Any) -> None:
    agent.module(
        "m",
        """
import multiprocessing, os, pathlib, signal, subprocess, sys, tempfile, threading
def double(x): return 2 * x
def f(x):
    with multiprocessing.get_context('fork').Pool(2) as pool:
        doubled = pool.map(double, x)
    thread = threading.Thread(target=doubled.append, args=['thread']); thread.start(); thread.join()
    main = sys.modules['__main__']
    return [
        doubled, subprocess.run(['echo', 'hi'], stdout=subprocess.PIPE).stdout.decode(), sys.stdin.read(),
        main.__name__, hasattr(main, '__file__'), sys.argv,
        pathlib.Path.cwd().parent == pathlib.Path(tempfile.gettempdir()).parent,
        signal.getsignal(signal.SIGTERM) == signal.SIG_DFL, signal.getsignal(signal.SIGCHLD) == signal.SIG_DFL,
        sorted(map(int, os.listdir('/proc/self/fd')))[:4],
    ]
""",
    )
    said = value_of(agent, "m:f", value=[1, 2])
    assert said == [[2, 4, "thread"], "hi\n", "", "__main__", False, ["m"], True, True, True, [0, 1, 2, 3]]


def test_our_descriptors_are_not_the_functions(agent: Any) -> None:
    """In a warm process as in a cold one."""
    text = "import os{}\ndef f(): return sorted(map(int, os.listdir('/proc/self/fd')))"
    agent.module("warm", text.format(""))
    agent.module(
        "cold", text.format(", threading, time\nthreading.Thread(target=time.sleep, args=[1000], daemon=True).start()")
    )
    for module in ("warm", "cold"):
        for _ in range(2):
            assert value_of(agent, f"{module}:f") == [0, 1, 2, 3], "the last is the one that it looks with"


def test_an_exception_is_printed_and_told(agent: Any) -> None:
    agent.module(
        "m",
        """
class Mine(Exception): pass
def f(): g()
def g(): raise ValueError('text')
def notes():
    error = ValueError('first\\nsecond')
    error.__notes__ = ['a note']
    raise error
def silent(): raise RuntimeError
def mine(): raise Mine('x' * 10_000)
def interrupt(): raise KeyboardInterrupt
def unsayable():
    class Bad(Exception):
        def __str__(self): raise TypeError
    raise Bad
def recursion(): recursion()
""",
    )
    ended = agent.run(python="m:f")
    assert ended.exit["error"] == "ValueError: text"
    printed = ended.text("stderr")
    assert printed[0] == "Traceback (most recent call last):"
    assert printed[-1] == "ValueError: text"
    assert not [line for line in printed if "warmlane_agent" in line], "our own frames are nobody's business"
    assert error_of(agent, "m:notes") == "ValueError: first second"
    assert error_of(agent, "m:silent") == "RuntimeError"
    assert len(error_of(agent, "m:mine")) == 4000
    assert error_of(agent, "m:interrupt") == "KeyboardInterrupt"
    assert "Bad: <" in error_of(agent, "m:unsayable")
    assert error_of(agent, "m:recursion").startswith("RecursionError: ")


def test_an_import_that_fails_is_told(agent: Any) -> None:
    agent.module("bad_syntax", "def f(:")
    agent.module("bad_import", "print('so far')\nimport no_such_module\ndef f(): pass")
    agent.module("exits", "import sys\nprint('so far')\nsys.exit(4)")
    agent.module("dies", "import os\nos.kill(os.getpid(), 11)")
    for _ in range(2):
        assert error_of(agent, "no_module:f") == "ModuleNotFoundError: No module named 'no_module'"
        assert error_of(agent, "bad_syntax:f").startswith("SyntaxError: ")
        ended = agent.run(python="bad_import:f")
        assert ended.exit["error"] == "ModuleNotFoundError: No module named 'no_such_module'"
        assert ended.text() == ["so far"]
        assert ended.text("stderr")[-1] == ended.exit["error"]
        ended = agent.run(python="exits:f")
        assert (ended.exit["code"], ended.exit["error"], ended.text()) == (4, "exit code 4", ["so far"])
        assert agent.run(python="dies:f").exit["signal"] == 11


def test_a_module_that_was_mended_works(agent: Any) -> None:
    agent.module("m", "import nothing_like_it")
    error_of(agent, "m:f")
    agent.module("m", "def f(): return 1")
    assert value_of(agent, "m:f") == 1


def test_what_cannot_be_called_is_said_to_be_so(agent: Any) -> None:
    agent.module("m", "value = 5\nasync def coroutine(): pass\nasync def generator(): yield")
    assert error_of(agent, "m:nothing") == "module 'm' has no function 'nothing'"
    assert error_of(agent, "m:value") == "'m:value' is not a function"
    assert error_of(agent, "m:coroutine") == "'m:coroutine' is a coroutine function; give a plain one that runs it"
    assert error_of(agent, "m:generator") == "'m:generator' is a coroutine function; give a plain one that runs it"


def test_what_is_not_json_is_a_bad_output(agent: Any) -> None:
    agent.module(
        "m",
        """
def nan(): return [float('nan')]
def infinite(): return float('inf')
def thing(): return {'a': object()}
def generator(): yield 1
def keys(): return {(1, 2): 3}
def surrogate(): return '\\ud800'
def loop():
    value = []
    value.append(value)
    return value
def large(): return 'x' * 9_999
def limit(): return 'x' * 9_998
""",
    )
    for name, said in {
        "nan": "Out of range float values are not JSON compliant",
        "infinite": "Out of range float values are not JSON compliant",
        "thing": "Object of type object is not JSON serializable",
        "generator": "Object of type generator is not JSON serializable",
        "keys": "keys must be str, int, float, bool or None, not tuple",
        "surrogate": "not valid UTF-8",
        "loop": "Circular reference detected",
    }.items():
        ended = agent.run(python=f"m:{name}")
        assert (ended.exit["code"], ended.exit["fault"]) == (0, "bad-output"), name
        assert ended.exit["error"].startswith(f"its output is not JSON: {said}"), name
    assert agent.run(python="m:large").exit["error"] == "its output is too large: 10001 bytes, the limit is 9.766 KiB"
    assert len(value_of(agent, "m:limit")) == 9_998


def test_the_exit_of_a_function_is_honoured(agent: Any) -> None:
    agent.module(
        "m",
        """
import os, sys
def exits(code): sys.exit(code)
def at_once(code): print('lost', end=''); os._exit(code)
def says(): sys.exit('some words')
def kills(): os.kill(os.getpid(), 9)
""",
    )
    for code, expected in ((0, 0), (3, 3), (None, 0), (-1, 255), (256, 0), (True, 1)):
        assert agent.run(python="m:exits", value=code).exit["code"] == expected
    assert agent.run(python="m:exits", value=3).exit["error"] == "exit code 3"
    assert agent.run(python="m:at_once", value=5).exit["code"] == 5
    ended = agent.run(python="m:says")
    assert (ended.exit["code"], ended.text("stderr")) == (1, ["some words"])
    assert agent.run(python="m:kills").exit["error"] == "killed by SIGKILL"


def test_what_a_function_prints_is_flushed(agent: Any) -> None:
    agent.module(
        "m",
        """
import logging, os, sys
logging.basicConfig(stream=sys.stdout, format='%(message)s', level='INFO')
def f():
    print('printed')
    logging.info('logged ü \\ud800')
    os.write(1, b'written\\n')
    sys.stdout.write('partial')
    print('err', file=sys.stderr)
def closes(): sys.stdout.close(); sys.stderr = None
""",
    )
    ended = agent.run(python="m:f")
    assert ended.text() == ["printed", r"logged ü \ud800", "written", "partial"]
    assert ended.text("stderr") == ["err"]
    assert agent.run(python="m:closes").exit["code"] == 0


def test_a_module_that_starts_threads_is_not_kept_warm(agent: Any, wait_until: Wait) -> None:
    agent.module(
        "m",
        """
import os, threading, time
threading.Thread(target=time.sleep, args=[1000], daemon=True).start()
print('importing')
def f(): return threading.active_count()
""",
    )
    for _ in range(2):
        ended = agent.run(python="m:f")
        assert (ended.text(), ended.exit["output"]) == (["importing"], 2)
    wait_until(lambda: not agent.below())


def test_a_module_that_starts_processes_is_not_kept_warm(agent: Any, wait_until: Wait) -> None:
    """And what it started for nothing is ended."""
    agent.module("m", "import subprocess\nchild = subprocess.Popen(['sleep', '1000'])\ndef f(): return child.poll()")
    for _ in range(2):
        assert value_of(agent, "m:f") is None
    wait_until(lambda: not agent.below())


def test_a_block_can_be_ended_while_its_module_is_imported(agent: Any, wait_until: Wait) -> None:
    agent.module("slow", "import subprocess, time\nsubprocess.Popen(['sleep', '1000'])\ntime.sleep(1000)")
    agent.send_block(python="slow:f", run="deleted")
    wait_until(lambda: len(agent.below()) == 2)
    assert agent.ask("DELETE", "/blocks/deleted") == (200, {"gone": True})
    assert agent.below() == []
    agent.send_block(python="slow:f", run="hung-up").close()
    wait_until(lambda: agent.health()["runs"] == 0)
    wait_until(lambda: not agent.below())


def test_one_of_two_that_wait_for_an_import_can_be_ended(agent: Any, wait_until: Wait) -> None:
    go = agent.folder / "go"
    os.mkfifo(go)
    agent.module("slow", f"open({str(go)!r}).close()\ndef f(): return 1")
    doomed = agent.send_block(python="slow:f", run="doomed")
    other = agent.send_block(python="slow:f", run="other")
    assert agent.ask("DELETE", "/blocks/doomed") == (200, {"gone": True})
    go.open("w").close()
    assert doomed.recv(1) == b""
    assert agent.stream(other).end().exit["output"] == 1


def test_health_answers_while_a_module_is_imported(agent: Any) -> None:
    agent.module("slow", "import time\ntime.sleep(1000)")
    sock = agent.send_block(python="slow:f")
    began = time.monotonic()
    assert agent.health()["runs"] == 1
    assert time.monotonic() - began < 1
    sock.close()


def test_a_parent_that_is_killed_is_replaced(agent: Any, wait_until: Wait) -> None:
    agent.module("m", "def f(): return 1")
    assert value_of(agent, "m:f") == 1
    wait_until(lambda: len(agent.below()) == 1)
    (zygote,) = agent.below()
    agent.run("kill", "-9", str(zygote))
    assert value_of(agent, "m:f") == 1
    wait_until(lambda: len(agent.below()) == 1 and zygote not in agent.below())


def test_a_block_that_its_parent_never_read_runs_all_the_same(agent: Any, wait_until: Wait) -> None:
    zygote = given_to_a_parent_that_sleeps(agent, wait_until)
    block = agent.send_block(python="m:f")
    assert agent.health()["runs"] == 1
    os.kill(zygote, signal.SIGKILL)
    assert agent.stream(block).end().exit["output"] == 1


def test_a_block_that_its_parent_never_read_can_be_ended(agent: Any, wait_until: Wait) -> None:
    zygote = given_to_a_parent_that_sleeps(agent, wait_until)
    block = agent.send_block(python="m:f", run="r")
    ending = agent.send("DELETE", "/blocks/r")
    assert agent.health()["runs"] == 1
    os.kill(zygote, signal.SIGKILL)
    with block, ending:
        assert b'{"gone": true}' in b"".join(iter(lambda: ending.recv(4096), b""))
        assert block.recv(1) == b"", "nothing was started"


def given_to_a_parent_that_sleeps(agent: Any, wait_until: Wait) -> int:
    """The warm parent of `m:f`, which takes no block until it is killed."""
    agent.module("m", "def f(): return 1")
    assert value_of(agent, "m:f") == 1
    wait_until(lambda: len(agent.below()) == 1)
    (zygote,) = agent.below()
    os.kill(zygote, signal.SIGSTOP)
    return int(zygote)


def test_what_hides_from_a_function_is_ended(agent: Any, wait_until: Wait) -> None:
    agent.module(
        "m",
        """
import os, time
def f():
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            time.sleep(1000)
        os._exit(0)
    os.wait()
    time.sleep(1000)
""",
    )
    agent.start(python="m:f", run="r")
    wait_until(lambda: len(agent.below()) == 4)
    assert agent.ask("DELETE", "/blocks/r") == (200, {"gone": True})
    wait_until(lambda: len(agent.below()) == 1)


def test_many_blocks_of_one_module_run_side_by_side(agent: Any) -> None:
    agent.module("m", "import time\ndef f(x): time.sleep(0.2); return x")
    streams = [agent.start(python="m:f", value=number) for number in range(20)]
    assert [stream.end().exit["output"] for stream in streams] == list(range(20))
    assert agent.left() == []
