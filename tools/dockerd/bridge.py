"""A bridge of our own for a private daemon, so that it never touches docker0 nor another daemon's firewall rules.

The kernel makes a name unique, so the name is the claim: two daemons that start at once get two bridges.
"""

import ipaddress
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PREFIX = "wltest"
_SUBNETS = [ipaddress.IPv4Network(f"10.213.{number}.0/24") for number in range(1, 255)]


class BridgeError(Exception):
    """No bridge could be made."""


def subnets_in_use(routes: str) -> list[ipaddress.IPv4Network]:
    """The networks in a routing table, given as /proc/net/route has it; the default route is none."""
    found: list[ipaddress.IPv4Network] = []
    for line in routes.splitlines()[1:]:
        fields = line.split()
        address, mask = (int.from_bytes(bytes.fromhex(fields[at]), "little") for at in (1, 7))
        if mask:
            found.append(ipaddress.IPv4Network((address, mask.bit_count())))
    return found


def make_bridge() -> str:
    """Make a bridge with a free subnet, and return its name. Raises BridgeError."""
    used = subnets_in_use(Path("/proc/net/route").read_text())
    for subnet in _SUBNETS:
        number = subnet.network_address.packed[2]
        name = f"{PREFIX}{number}"
        if Path("/sys/class/net", name).exists() or any(subnet.overlaps(other) for other in used):
            continue
        # An address of its own: else the bridge takes the lowest of its ports', which changes as containers come and
        # go, and what the others send to the one that they know is lost.
        if _ip("link", "add", name, "address", f"02:77:6c:61:6e:{number:02x}", "type", "bridge"):
            continue  # somebody was quicker, or we may not: the end of the loop tells
        address = f"{subnet[1]}/{subnet.prefixlen}"
        problem = _ip("address", "add", address, "dev", name) or _ip("link", "set", name, "up")
        if problem:
            remove_bridge(name)
            raise BridgeError(problem)
        return name
    raise BridgeError("no network bridge could be made: it takes root, iproute2, and a free subnet in 10.213.0.0/16")


def remove_bridge(name: str) -> None:
    """Remove a bridge; one that is gone is fine."""
    _ip("link", "delete", name)


@contextmanager
def private_bridge() -> Iterator[str]:
    """A bridge for the length of the block."""
    name = make_bridge()
    try:
        yield name
    finally:
        remove_bridge(name)


def _ip(*arguments: str) -> str:
    """Run iproute2's `ip`; what it complained about, or nothing."""
    try:
        done = subprocess.run(["ip", *arguments], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return "the `ip` command is missing: apt-get install iproute2"
    return done.stderr.strip() if done.returncode else ""
