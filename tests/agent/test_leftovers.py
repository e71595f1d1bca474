"""In a container, what blocks leave is gone before the next one, and HOME is theirs; on the host, it is the user's."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Wait = Callable[[Callable[[], Any]], None]


@pytest.fixture
def contained(launch: Callable[..., Any], folder: Path) -> Any:
    """An agent whose scratch and `own` are nobody else's."""
    (folder / "own").mkdir()
    (folder / "own" / "first").touch()
    return launch(transient=[str(folder / "scratch"), str(folder / "own")])


def seen(agent: Any) -> list[str]:
    """What a block finds in both, its own directory apart."""
    looks = "import os; print(*os.listdir('../..'), *os.listdir('../../../own'))"
    (line,) = agent.script(looks).text()
    return sorted(name for name in line.split() if not name.startswith("wl-"))


def test_a_block_finds_nothing_of_the_one_before(contained: Any) -> None:
    for _ in range(20):
        contained.run("sh", "-c", "cd ../..; mkdir -p left/deep ../own/.left; touch left/deep/x file ../own/y")
        assert seen(contained) == ["first"]
    assert sorted(os.listdir(contained.folder / "own")) == ["first"]


def test_a_block_that_comes_before_the_agent_has_heard_of_the_end_finds_nothing_either(contained: Any) -> None:
    early = contained.connect()
    contained.health()  # so that the other is accepted, too, and is looked at before what supervisors say
    first = contained.start("sh", "-c", "touch ../../left; mkfifo ../../pipe; echo here; read x < ../../pipe || true")
    first.until("here")
    contained.process.send_signal(signal.SIGSTOP)
    try:
        (contained.folder / "scratch" / "pipe").write_text("go on\n")
        first.end()
        contained.send_block("ls", "../..", on=early)
    finally:
        contained.process.send_signal(signal.SIGCONT)
    (own,) = contained.stream(early).end().text()
    assert own.startswith("wl-")


def test_nothing_is_touched_on_the_host_itself(agent: Any) -> None:
    agent.run("sh", "-c", "touch ../../left")
    agent.run("true")
    assert agent.left() == ["left"]


def test_what_resists_is_removed_and_no_link_is_followed(contained: Any, wait_until: Wait) -> None:
    (contained.folder / "kept").mkdir()
    (contained.folder / "kept" / "file").touch()
    contained.run(
        "sh",
        "-c",
        "home=$(dirname $PWD); cd ../..; ln -s ../kept link; mkdir closed; ln -s ../../kept closed/link;"
        "mkfifo pipe; chmod 0 closed; mv $home moved; ln -s ../kept $home",
    )
    wait_until(lambda: contained.left() == [])
    assert os.listdir(contained.folder / "kept") == ["file"]


def test_what_a_block_has_made_stays_as_long_as_another_one_runs(contained: Any, wait_until: Wait) -> None:
    other = contained.start("sh", "-c", "echo here; sleep 60", run="other")
    other.until("here")
    contained.run("sh", "-c", "touch ../../left")
    assert seen(contained) == ["first", "left"]
    contained.ask("DELETE", "/blocks/other")
    wait_until(lambda: contained.left() == [])


def test_it_is_gone_when_the_end_of_a_block_is_confirmed(contained: Any) -> None:
    stream = contained.start("sh", "-c", "touch ../../left; echo here; sleep 60", run="long")
    stream.until("here")
    contained.ask("DELETE", "/blocks/long")
    assert contained.left() == []


def test_what_a_block_leaves_whose_supervisor_was_killed_is_gone_with_it(contained: Any, wait_until: Wait) -> None:
    supervisor = contained.start("sh", "-c", "touch ../../left; echo $PPID; sleep 60").message()["text"]
    os.kill(int(supervisor), signal.SIGKILL)
    wait_until(lambda: contained.health()["runs"] == 0)
    assert contained.left() == []


def test_a_module_stays_warm(contained: Any) -> None:
    contained.module("m", "import os, tempfile\nimported_by = os.getpid()\ndef f(): return imported_by")
    assert len({contained.run(python="m:f").exit["output"] for _ in range(3)}) == 1


def test_a_module_that_makes_files_when_it_is_imported_has_them_in_each_block(contained: Any) -> None:
    contained.module(
        "m",
        "import os\npath = os.environ['WARMLANE_WORKSPACE'] + '/../scratch/made'\n"
        "open(path, 'w').close()\n"
        "def f(): return os.path.exists(path)",
    )
    assert [contained.run(python="m:f").exit["output"] for _ in range(3)] == [True] * 3


HOME = "import os; from pathlib import Path\ndef f(): return [os.environ['HOME'], os.getcwd(), str(Path.home())]"


def test_home_is_the_working_directory(contained: Any) -> None:
    home, folder, _ = contained.run("sh", "-c", "echo $HOME; pwd; touch ~/.file; echo").text()
    assert home == folder
    contained.module("m", HOME)
    for _ in range(2):
        found = contained.run(python="m:f").exit["output"]
        assert len(set(found)) == 1
        assert found[0] != home


def test_home_is_what_the_plan_says(launch: Callable[..., Any], folder: Path) -> None:
    agent = launch(transient=[str(folder / "scratch")], env={"HOME": "/elsewhere"})
    assert agent.run("sh", "-c", "echo $HOME").text() == ["/elsewhere"]


def test_home_is_the_users_on_the_host_itself(agent: Any) -> None:
    assert agent.run("sh", "-c", "echo $HOME").text() == [os.environ["HOME"]]
