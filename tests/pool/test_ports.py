"""The book of ports: whose they are, and in what order they are given."""

from __future__ import annotations

import socket

import pytest

from warmlane.errors import NoFreePortError
from warmlane.pool.ports import PortBook
from warmlane.runtimes.loopback import port_is_free


def test_no_port_is_given_twice_and_the_least_recently_used_comes_first() -> None:
    book = PortBook(range(1, 4), is_free=lambda _port: True)
    assert [book.claim() for _ in range(3)] == [1, 2, 3]
    book.free(2)
    book.free(1)
    assert book.taken == {3}
    assert [book.claim(), book.claim()] == [2, 1]


def test_foreign_ports_are_skipped_and_come_back() -> None:
    foreign = {1, 2}
    book = PortBook(range(1, 4), is_free=lambda port: port not in foreign)
    assert book.claim() == 3
    with pytest.raises(NoFreePortError) as caught:
        book.claim()
    assert (caught.value.first, caught.value.last, caught.value.ours) == (1, 3, 1)
    foreign.clear()
    assert {book.claim(), book.claim()} == {1, 2}


def test_refused_ports_are_left_to_others() -> None:
    book = PortBook(range(1, 3), is_free=lambda _port: True)
    assert book.claim(besides={1}) == 2
    with pytest.raises(NoFreePortError):
        book.claim(besides={1})
    assert book.claim() == 1


def test_freeing_what_is_nobodys_is_our_bug() -> None:
    with pytest.raises(KeyError):
        PortBook(range(1, 3), is_free=lambda _port: True).free(1)


def test_probe_tells_a_held_port() -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        held.listen()
        port = held.getsockname()[1]
        assert not port_is_free(port)
    assert port_is_free(port)
