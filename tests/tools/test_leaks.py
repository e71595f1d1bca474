"""The check that tests rest on: what was left is named, and what ends by itself is waited for."""

import os
import subprocess
import threading
from pathlib import Path

import pytest
import trio

import leaks
from leaks import Holdings, leaks_since
from warmlane.runtimes.owner import owner_label
from warmlane.runtimes.rundir import RunDirs


@pytest.fixture(autouse=True)
def impatience(monkeypatch: pytest.MonkeyPatch) -> None:
    """What stays is there to stay; no need to wait for long."""
    monkeypatch.setattr(leaks, "_PATIENCE_SECONDS", 0.1)


def test_nothing_is_nothing() -> None:
    assert leaks_since(Holdings.now()) == []


def test_a_thread_is_named() -> None:
    before, end = Holdings.now(), threading.Event()
    thread = threading.Thread(target=end.wait, name="forgotten")
    thread.start()
    try:
        (left,) = leaks_since(before)
        assert left.startswith("thread 'forgotten'")
    finally:
        end.set()
        thread.join()


async def test_an_idle_thread_of_trio_is_none() -> None:
    before = Holdings.now()
    await trio.to_thread.run_sync(os.getpid)
    assert leaks_since(before) == []


def test_a_child_is_named() -> None:
    before = Holdings.now()
    with subprocess.Popen(["sleep", "100"]) as child:
        try:
            assert leaks_since(before) == [f"process {child.pid}: sleep 100"]
        finally:
            child.kill()
    assert leaks_since(before) == []


def test_a_process_whose_parent_has_ended_is_named() -> None:
    before = Holdings.now()
    script = "sleep 100 >/dev/null 2>&1 & echo $!"
    parent = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True)
    pid = int(parent.stdout)
    try:
        assert leaks_since(before) == [f"process {pid}: sleep 100"]
    finally:
        os.kill(pid, 9)


def test_a_file_descriptor_is_named(tmp_path: Path) -> None:
    before = Holdings.now()
    descriptor = os.open(tmp_path, os.O_RDONLY)
    try:
        assert leaks_since(before) == [f"file descriptor {descriptor}: {tmp_path}"]
    finally:
        os.close(descriptor)


def test_a_run_directory_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    before = Holdings.now()
    directories = RunDirs("lost", owner_label())
    directories.make("c", {})
    assert "run directory of session lost" in leaks_since(before)
    directories.drop("c")
    directories.close()
    assert leaks_since(before) == []


def test_what_is_just_ending_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leaks, "_PATIENCE_SECONDS", 30)
    before, end = Holdings.now(), threading.Event()
    thread = threading.Thread(target=end.wait)
    thread.start()
    looked = threading.Timer(0.05, end.set)
    looked.start()
    assert leaks_since(before) == []
    assert not thread.is_alive()
