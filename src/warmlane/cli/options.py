"""What single words on the command line mean: ports, addresses."""

from __future__ import annotations

import re
from typing import Any

import click

_HIGHEST_PORT = 65535


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
