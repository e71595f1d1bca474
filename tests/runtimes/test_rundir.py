"""Run directories: who can reach them, what is left of them, and whose they are."""

from __future__ import annotations

import errno
import json
import os
import socket
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from warmlane.errors import RuntimeUnavailableError
from warmlane.runtimes.rundir import RunDirs, left_behind, note, sessions, sweep


@pytest.fixture(autouse=True)
def base(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Each test has a base of its own, short enough for sockets."""
    with tempfile.TemporaryDirectory(prefix="wl") as folder:
        monkeypatch.setenv("XDG_RUNTIME_DIR", folder)
        yield Path(folder) / "warmlane"


def mode(path: Path) -> int:
    return path.lstat().st_mode & 0o7777


def test_only_the_container_gets_in(base: Path) -> None:
    """The base is closed to others, the directory itself open to whatever user the container has."""
    dirs = RunDirs("s1", "me")
    tcp = dirs.make("one", {"listen": "tcp://127.0.0.1:9100", "token": "t"})
    unix = dirs.make("two", {"listen": "unix:///run/warmlane/agent.sock"})
    assert json.loads((tcp / "agent.json").read_text()) == {"listen": "tcp://127.0.0.1:9100", "token": "t"}
    assert tcp == base / "s1" / "one"
    assert [mode(path) for path in (base, dirs.path, tcp, tcp / "agent.json", unix)] == [
        0o700,
        0o700,
        0o755,
        0o644,
        0o1777,
    ]


def test_modes_do_not_depend_on_the_umask() -> None:
    before = os.umask(0o077)
    try:
        path = RunDirs("s1", "me").make("one", {"listen": "unix://x"})
    finally:
        os.umask(before)
    assert (mode(path), mode(path / "agent.json")) == (0o1777, 0o644)


def test_everything_is_gone_after_drop_and_close(base: Path) -> None:
    dirs = RunDirs("s1", "me")
    path = dirs.make("one", {})
    (path / "deep").mkdir()
    (path / "deep" / "file").touch()
    (path / "deep").chmod(0)
    dirs.drop("one")
    assert not path.exists()
    dirs.drop("one")
    dirs.close()
    assert list(base.iterdir()) == []


def test_close_keeps_what_was_not_dropped(base: Path) -> None:
    """A container that is not confirmed gone must stay findable."""
    dirs = RunDirs("s1", "me")
    path = dirs.make("one", {})
    dirs.close()
    assert [(s.session_id, s.owner, s.containers) for s in sessions()] == [("s1", "me", (path,))]


def test_what_is_left_is_nobody_s_from_the_end_of_its_session_on_and_until_it_is_gone(base: Path) -> None:
    """The neighbour, whose session goes on, keeps what is its own."""
    RunDirs("s0", "me").make("zero", {})
    dirs = RunDirs("s1", "me")
    dirs.make("one", {})
    dirs.make("two", {})
    assert left_behind() == set()
    dirs.close()
    assert left_behind() == {("me", "one"), ("me", "two")}
    dirs.close()
    assert [(s.session_id, s.owner, s.ended) for s in sessions()] == [("s0", "me", False), ("s1", "me", True)]
    for name in ("one", "two"):
        RunDirs("sweeper", "them").drop(name)
    assert left_behind() == set()
    assert [path.name for path in base.iterdir()] == ["s0"]


def test_a_session_that_has_ended_makes_nothing_more_nor_does_one_of_its_name(base: Path) -> None:
    """Else it would look abandoned from its first moment on."""
    dirs = RunDirs("s1", "me")
    dirs.make("one", {})
    dirs.close()
    for again in (dirs, RunDirs("s1", "me")):
        with pytest.raises(FileExistsError, match="has ended"):
            again.make("two", {})


def test_an_end_that_cannot_be_written_down_is_not_known(monkeypatch: pytest.MonkeyPatch) -> None:
    dirs = RunDirs("s1", "me")
    dirs.make("one", {})

    def refuse(_self: Path, _target: Path) -> None:
        raise OSError(errno.EROFS, "read-only")

    monkeypatch.setattr(Path, "rename", refuse)
    dirs.close()
    assert left_behind() == set()
    assert [(s.owner, s.ended) for s in sessions()] == [("me", False)]


@pytest.mark.parametrize("hidden", ["s1", "s1/.ended"])
def test_what_nobody_shows_us_is_not_known(hidden: str, base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("s1", "s2"):
        dirs = RunDirs(name, "me")
        dirs.make(f"{name}-1", {})
        dirs.close()
    closed = base / hidden

    def forbid(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(self: Path, *more: Any, **named: Any) -> Any:
            if self == closed:
                raise PermissionError(errno.EACCES, "no")
            return real(self, *more, **named)

        return call

    monkeypatch.setattr(Path, "iterdir", forbid(Path.iterdir))
    monkeypatch.setattr(Path, "read_text", forbid(Path.read_text))
    assert left_behind() == {("me", "s2-1")}
    sweep(lambda _owner: True, lambda _path: True)
    assert [path.name for path in base.iterdir()] == ["s1"]


def test_drop_does_not_follow_links(base: Path, tmp_path: Path) -> None:
    (tmp_path / "precious").touch()
    dirs = RunDirs("s1", "me")
    (dirs.make("one", {}) / "link").symlink_to(tmp_path)
    dirs.drop("one")
    assert (tmp_path / "precious").exists()


def test_drop_reaches_other_sessions(base: Path) -> None:
    """The collector removes by name what a dead session left, and with its last container the session."""
    left = RunDirs("dead", "them")
    left.make("one", {})
    left.make("two", {})
    mine = RunDirs("mine", "me")
    mine.drop("one")
    assert [s.session_id for s in sessions()] == ["dead"]
    mine.drop("two")
    assert sessions() == []


def test_notes_go_with_the_last_container_that_they_tell_of(base: Path) -> None:
    dirs = RunDirs("s1", "me")
    dirs.make("one", {})
    dirs.make("two", {})
    note("s1", "it rains")
    note("s1", "it pours")
    notes = (base / "s1" / "reaper.log").read_text().splitlines()
    assert [line.partition(" ")[2] for line in notes] == ["it rains", "it pours"]
    assert [len(session.containers) for session in sessions()] == [2]
    RunDirs("s2", "other").drop("one")
    assert (base / "s1" / "reaper.log").exists()
    RunDirs("s2", "other").drop("two")
    assert list(base.iterdir()) == []


def test_notes_that_nobody_can_take_are_lost(base: Path, tmp_path: Path) -> None:
    """Whoever writes them has work to do."""
    note("s1", "there is no such session")
    assert list(base.iterdir()) == []
    base.rmdir()
    base.symlink_to(tmp_path)
    note("s1", "there is no safe place")
    assert list(tmp_path.iterdir()) == []


def test_a_session_that_makes_nothing_needs_no_space(base: Path) -> None:
    """So that what others have left can be removed where there is none."""
    RunDirs("mine", "me").close()
    assert list(base.iterdir()) == []


def test_sweep_spares_the_living() -> None:
    RunDirs("empty", "dead").make("none", {}).joinpath("agent.json").unlink()
    sessions()[0].containers[0].rmdir()
    gone = RunDirs("gone", "dead").make("one", {})
    there = RunDirs("there", "dead").make("two", {})
    RunDirs("alive", "alive").make("three", {})
    RunDirs("unknown", "").make("four", {})
    for name, owner in {"left": "alive", "left-by-the-dead": "dead"}.items():
        dirs = RunDirs(name, owner)
        dirs.make(name, {})
        dirs.close()
    sweep(lambda owner: owner != "alive", lambda path: path == gone or path.name.startswith("left"))
    assert [s.session_id for s in sessions()] == ["alive", "left", "there", "unknown"]
    assert there.exists()


def test_what_a_killed_engine_was_just_making_is_swept_when_it_is_old(base: Path) -> None:
    RunDirs("s1", "me")
    young, old = base / ".new-1", base / ".new-2"
    for path in (young, old):
        path.mkdir()
    os.utime(old, (0, 0))
    sweep(lambda _owner: True, lambda _path: True)
    assert list(base.iterdir()) == [young]


def test_a_base_of_somebody_else_is_refused(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    base.mkdir()
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    with pytest.raises(RuntimeUnavailableError, match="another user"):
        RunDirs("s1", "me")


def test_a_base_that_is_a_link_is_refused(base: Path, tmp_path: Path) -> None:
    base.symlink_to(tmp_path)
    with pytest.raises(RuntimeUnavailableError, match="cannot be used"):
        RunDirs("s1", "me")
    assert list(tmp_path.iterdir()) == []


def test_an_open_base_is_closed(base: Path) -> None:
    base.mkdir(mode=0o777)
    base.chmod(0o777)
    RunDirs("s1", "me")
    assert mode(base) == 0o700


def test_a_long_base_is_not_taken(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Sockets must be bindable whatever the runtime directory is called."""
    deep = tmp_path / ("x" * 80)
    deep.mkdir()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(deep))
    dirs = RunDirs(f"s{os.getpid()}", "me")
    try:
        path = dirs.make("warmlane-0123456789ab-10", {})
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(str(path / "agent.sock"))
        dirs.drop("warmlane-0123456789ab-10")
    finally:
        dirs.close()
    assert list(deep.iterdir()) == []


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", ".hidden", "a\0", "x" * 100])
def test_names_that_are_no_names_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="name"):
        RunDirs("s1", "me").make(name, {})
