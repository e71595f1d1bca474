"""What single words on the command line mean: numbers, ports, addresses."""

from __future__ import annotations

import re
from typing import Any

import click

_HIGHEST_PORT = 65535


class AtLeast(click.ParamType[int]):
    """A whole number, from `lowest` to 999999999."""

    name = "n"

    def __init__(self, lowest: int) -> None:
        self._lowest = lowest

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if not re.fullmatch(r"[0-9]{1,9}", str(value)) or int(value) < self._lowest:
            self.fail(f"'{value}' is not a whole number from {self._lowest} on", param, ctx)
        return int(value)


class Ports(click.ParamType[range]):
    """`FIRST-LAST`, both included, or one port."""

    name = "first-last"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> range:
        match = re.fullmatch(r"([0-9]{1,5})(?:-([0-9]{1,5}))?", value)
        if match is None:
            self.fail(f"'{value}' is not a range of ports; write FIRST-LAST, as in 9100-9199", param, ctx)
        first, last = int(match[1]), int(match[2] or match[1])
        if not 1 <= first <= last <= _HIGHEST_PORT:
            self.fail(f"'{value}' is not a range of ports between 1 and {_HIGHEST_PORT}, lowest first", param, ctx)
        return range(first, last + 1)


class Address(click.ParamType[tuple[str, int]]):
    """`HOST:PORT`, with IPv6 hosts in brackets; port 0 is any free one."""

    name = "host:port"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, int]:
        match = re.fullmatch(r"(?:\[([0-9a-fA-F:.]+)\]|([^:\[\]\s]+)):([0-9]{1,5})", value)
        if match is None or int(match[3]) > _HIGHEST_PORT:
            self.fail(f"'{value}' is not an address; write HOST:PORT, as in 127.0.0.1:8040", param, ctx)
        return match[1] or match[2], int(match[3])


class MonitorUrl(click.ParamType[str]):
    """Where a monitor is, in one of the ways to say it."""

    name = "url"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        from warmlane.errors import WatchError
        from warmlane.monitor.address import monitor_url  # later, for `--help` needs neither

        try:
            return monitor_url(value)
        except WatchError as error:
            self.fail(f"'{value}': {error.said}", param, ctx)
