"""Whether it was the kernel that killed, for memory: read from the files of either version of cgroups."""

from __future__ import annotations

from pathlib import Path

import pytest

from warmlane.agent.warmlane_agent.memory import MemoryKills

FILES = {
    "version 1": ("9:name=systemd:/x\n4:memory:/ours\n", "memory", "memory.oom_control", "memory.limit_in_bytes"),
    "version 2": ("0::/ours\n", ".", "memory.events", "memory.max"),
    "both": ("4:memory:/ours\n0::/x\n", "memory", "memory.oom_control", "memory.limit_in_bytes"),
}


@pytest.mark.parametrize("version", FILES)
@pytest.mark.parametrize("place", ["ours", "."], ids=["own path", "mounted as the root"])
def test_kills_are_counted_and_the_limit_is_told(tmp_path: Path, version: str, place: str) -> None:
    said, kind, counter, limit = FILES[version]
    (tmp_path / "self").write_text(said)
    folder = tmp_path / "root" / kind / place
    folder.mkdir(parents=True)
    (folder / counter).write_text("low 0\noom 7\nunder_oom 0\noom_kill 3\n")
    (folder / limit).write_text(f"{64 << 20}\n")
    kills = MemoryKills(str(tmp_path / "self"), str(tmp_path / "root"))
    assert kills.count() == 3
    assert kills.sentence() == "killed by the kernel: it exceeded the container's memory limit of 64 MiB"


@pytest.mark.parametrize("limit", ["max\n", "9223372036854771712\n", None])
def test_without_a_limit_it_was_the_whole_machine(tmp_path: Path, limit: str | None) -> None:
    (tmp_path / "self").write_text("0::/\n")
    (tmp_path / "memory.events").write_text("oom_kill 1\n")
    if limit:
        (tmp_path / "memory.max").write_text(limit)
    kills = MemoryKills(str(tmp_path / "self"), str(tmp_path))
    assert kills.count() == 1
    assert kills.sentence() == "killed by the kernel: out of memory"


def test_without_cgroups_nothing_is_known(tmp_path: Path) -> None:
    assert MemoryKills(str(tmp_path / "none"), str(tmp_path)).count() == 0
    (tmp_path / "self").write_text("4:memory:/ours\n")
    assert MemoryKills(str(tmp_path / "self"), str(tmp_path)).count() == 0
    (tmp_path / "memory").mkdir()
    (tmp_path / "memory" / "memory.oom_control").write_text("oom_kill_disable 0\n")
    assert MemoryKills(str(tmp_path / "self"), str(tmp_path)).count() == 0
