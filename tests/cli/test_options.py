"""What the command line takes for ports and addresses."""

from __future__ import annotations

import click
import pytest

from warmlane.cli.options import Address, Ports


@pytest.mark.parametrize(
    ("word", "ports"), [("9100-9199", range(9100, 9200)), ("9100", range(9100, 9101)), ("1-65535", range(1, 65536))]
)
def test_ports_include_both_ends(word: str, ports: range) -> None:
    assert Ports().convert(word, None, None) == ports


@pytest.mark.parametrize("word", ["", "9100-", "-9100", "9200-9100", "0-10", "65535-65536", "a-b", "1-2-3", "٩-٩"])
def test_what_is_no_range_of_ports_is_refused(word: str) -> None:
    with pytest.raises(click.UsageError, match="not a range of ports"):
        Ports().convert(word, None, None)


@pytest.mark.parametrize(
    ("word", "address"),
    [("127.0.0.1:80", ("127.0.0.1", 80)), ("localhost:0", ("localhost", 0)), ("[::1]:8040", ("::1", 8040))],
)
def test_an_address_is_host_and_port(word: str, address: tuple[str, int]) -> None:
    assert Address().convert(word, None, None) == address


@pytest.mark.parametrize("word", ["", "8040", ":8040", "localhost", "localhost:", "::1:80", "h:65536", "a b:1", "h:x"])
def test_what_is_no_address_is_refused(word: str) -> None:
    with pytest.raises(click.UsageError, match="not an address"):
        Address().convert(word, None, None)
