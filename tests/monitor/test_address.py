"""What people may type to say where a monitor is."""

from __future__ import annotations

import pytest

from warmlane.errors import WatchError
from warmlane.monitor.address import monitor_url
from warmlane.monitor.door import is_loopback


@pytest.mark.parametrize(
    "text",
    [
        "127.0.0.1:8080",
        "http://127.0.0.1:8080",
        "http://127.0.0.1:8080/",
        "ws://127.0.0.1:8080",
        "ws://127.0.0.1:8080/ws",
    ],
)
def test_all_ways_to_say_it_mean_the_same(text: str) -> None:
    assert monitor_url(text) == "ws://127.0.0.1:8080/ws"


def test_a_path_and_an_ipv6_address_stay() -> None:
    assert monitor_url("http://[::1]:8080/other") == "ws://[::1]:8080/other"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("localhost", "a host and a port are needed"),
        ("", "a host and a port are needed"),
        (":8080", "a host and a port are needed"),
        ("ftp://localhost:1", "'ftp' is not spoken"),
        ("wss://localhost:1/ws", "'wss' is not spoken"),
        ("localhost:99999", "the port must be a number"),
        ("localhost:http", "the port must be a number"),
        ("[::1:80", "that is no address"),
    ],
)
def test_what_is_no_address_is_one_sentence(text: str, said: str) -> None:
    with pytest.raises(WatchError, match=said) as error:
        monitor_url(text)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "ours"),
    [
        ("localhost", True),
        ("LocalHost", True),
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("[::1]", True),
        ("0.0.0.0", False),
        ("::", False),
        ("10.0.0.1", False),
        ("127.1", False),
        ("2130706433", False),
        ("localhost.evil.example", False),
        ("", False),
    ],
)
def test_only_names_that_can_mean_nothing_else_are_loopback(name: str, ours: bool) -> None:
    assert is_loopback(name) is ours
