"""Whether the process that owns a container is known to be dead."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from warmlane.runtimes import owner
from warmlane.runtimes.owner import owner_is_dead, owner_label

PRINT_LABEL = "from warmlane.runtimes.owner import owner_label; print(owner_label())"


def label_of_the_dead() -> str:
    """The label of a process that has ended and been waited for."""
    return subprocess.run(
        [sys.executable, "-c", PRINT_LABEL], capture_output=True, text=True, check=True
    ).stdout.strip()


def changed(label: str, **parts: str) -> str:
    names = ("pid", "start", "boot", "namespace", "machine")
    return ".".join(parts.get(name, part) for name, part in zip(names, label.split("."), strict=True))


def test_a_process_is_not_dead_to_itself_and_its_label_stays_the_same() -> None:
    assert owner_label() == owner_label()
    assert not owner_is_dead(owner_label())


def test_a_process_that_ended_is_dead() -> None:
    assert owner_is_dead(label_of_the_dead())


def test_a_process_that_runs_is_not_dead_to_another_process_until_it_ends() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", PRINT_LABEL + "; import sys; sys.stdout.flush(); sys.stdin.read()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        label = process.stdout.readline().strip()
        assert not owner_is_dead(label)
        process.kill()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert owner_is_dead(label), "a zombie runs nothing any more"
    assert owner_is_dead(label)


def test_a_pid_that_was_given_to_another_process_since_then_says_dead() -> None:
    assert owner_is_dead(changed(owner_label(), start="1"))


def test_an_owner_in_another_pid_namespace_is_unknown() -> None:
    assert not owner_is_dead(changed(label_of_the_dead(), namespace="4026530000"))


def test_an_owner_before_the_last_boot_of_this_machine_is_dead(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(owner, "_machine", lambda: "0123456789abcdef")
    assert owner_is_dead(changed(owner_label(), boot="00000000-0000-0000-0000-000000000000"))


def test_an_owner_on_another_or_an_unnamed_machine_is_unknown() -> None:
    elsewhere = changed(label_of_the_dead(), boot="00000000-0000-0000-0000-000000000000")
    assert not owner_is_dead(changed(elsewhere, machine="feedfeedfeedfeed"))
    assert not owner_is_dead(changed(elsewhere, machine="-"))


@pytest.mark.parametrize("part", ["start", "boot", "namespace"])
def test_a_label_with_an_unreadable_part_is_unknown(part: str) -> None:
    assert not owner_is_dead(changed(label_of_the_dead(), **{part: "-"}))


@pytest.mark.parametrize(
    "label",
    ["", "x", "1.2.3.4", "1.2.3.4.5.6", "-1.2.3.4.5", "0.2.3.4.5", "a.b.c.d.e", "....", "٣.2.3.4.5"],
)
def test_what_is_no_label_of_ours_is_unknown(label: str) -> None:
    assert not owner_is_dead(label)


def test_a_pid_beyond_all_bounds_is_dead_or_unknown_but_no_crash() -> None:
    assert owner_is_dead(changed(owner_label(), pid="4194305")) is not Path("/proc/4194305").exists()
    assert not owner_is_dead(changed(owner_label(), pid="9" * 40))


def test_an_unreadable_proc_makes_unknown_of_everyone(monkeypatch: pytest.MonkeyPatch) -> None:
    """A label that was written without /proc, or one that is read without it."""
    label = label_of_the_dead()
    monkeypatch.setattr(owner, "_pid_namespace", lambda: "-")
    monkeypatch.setattr(owner, "_boot", lambda: "-")
    assert not owner_is_dead(label)
    assert not owner_is_dead(owner_label())
