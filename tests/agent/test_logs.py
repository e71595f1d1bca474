"""What blocks print comes through whole, whatever it is, and costs bounded memory on the way."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from warmlane.agent.warmlane_agent.lines import PIECE, Lines

MIB = 1024 * 1024


def test_lines_come_from_both_streams(agent: Any) -> None:
    ended = agent.run("sh", "-c", "echo out; echo err >&2; echo; printf end")
    assert ended.text() == ["out", "", "end"]
    assert ended.text("stderr") == ["err"]


def test_lines_come_as_they_are_printed(agent: Any) -> None:
    stream = agent.start("sh", "-c", "echo first; read -r line < fifo", run="r")
    assert stream.message() == {"log": "stdout", "text": "first"}
    stream.close()


def test_a_line_of_ten_megabytes_comes_in_pieces(agent: Any) -> None:
    size = 10_000_000
    ended = agent.run("sh", "-c", f"echo before; head -c {size} /dev/zero | tr '\\0' x; echo; echo after")
    assert [len(text) for text in ended.text()] == [6, size, 5]
    assert all(len(line["text"]) <= PIECE for line in ended.lines)
    assert [line.get("partial", False) for line in ended.lines] == [False] + [True] * 9 + [False, False]


def test_megabytes_come_whole_and_in_order(agent: Any) -> None:
    count = 300_000
    ended = agent.run("seq", str(count))
    assert ended.text() == [str(number) for number in range(1, count + 1)]


def test_a_slow_reader_loses_nothing_and_costs_little(agent: Any) -> None:
    stream = agent.start("sh", "-c", "head -c 50000000 /dev/zero | tr '\\0' x | fold -w 1000")
    time.sleep(0.3)  # nothing is read, so that all buffers on the way fill up
    supervisors = agent.below()
    sizes = [int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096 for pid in supervisors]
    assert max(sizes) < 40 * MIB
    assert sum(len(line["text"]) for line in stream.end().lines) == 50_000_000


def test_what_is_not_utf_8_is_shown(agent: Any) -> None:
    ended = agent.run("printf", r"ok \377\300\200 \342\202 \360\237\230 \355\240\200 \000 \342\202\254")
    assert ended.text() == [r"ok \xff\xc0\x80 \xe2\x82 \xf0\x9f\x98 \xed\xa0\x80 " + "\0 €"]


def test_what_a_grandchild_prints_before_the_end_is_not_lost(agent: Any) -> None:
    for _ in range(10):
        ended = agent.run("sh", "-c", "(for i in 1 2 3; do echo $i; done; printf last) & wait $!; printf more >&2")
        assert (ended.text(), ended.text("stderr")) == (["1", "2", "3", "last"], ["more"])


# The pieces by themselves.


def texts(lines: Lines, *chunks: bytes) -> list[tuple[str, bool]]:
    import json

    said = b"".join([*map(lines.feed, chunks), lines.last()]).splitlines()
    messages = [json.loads(line) for line in said]
    return [(message["text"], message.get("partial", False)) for message in messages]


def test_a_character_is_never_cut() -> None:
    for character in "üß€😀":
        for before in range(6):
            text = "a" * (PIECE - before) + character * 3
            data = text.encode()
            found = texts(Lines("stdout"), data[: PIECE - 2], data[PIECE - 2 :], b"\n")
            assert "".join(piece for piece, _ in found) == text
            assert [partial for _, partial in found] == [True, False]


def test_what_is_no_character_is_cut_anywhere() -> None:
    data = b"\x80" * (PIECE + 10)
    found = texts(Lines("stdout"), data)
    assert "".join(piece for piece, _ in found) == r"\x80" * len(data)


def test_a_line_of_exactly_a_piece_is_not_partial() -> None:
    assert texts(Lines("stdout"), b"x" * PIECE, b"\n") == [("x" * PIECE, False)]
    assert texts(Lines("stdout"), b"x" * PIECE) == [("x" * PIECE, False)]


def test_every_way_of_cutting_the_bytes_says_the_same() -> None:
    data = "eins\n\nzwei ü€😀\r\nrest".encode()
    for at in range(len(data)):
        found = texts(Lines("stdout"), data[:at], data[at:])
        assert found == [("eins", False), ("", False), ("zwei ü€😀\r", False), ("rest", False)]
