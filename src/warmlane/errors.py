"""Every error a caller can meet, sorted by whose fault it is and what they can do about it.

Each carries its data; the sentence is made from the data, and is one line long. It says what to do where the reader can
do something: whoever raises the error knows the cause, and ends `said` with it. Of a container host that refused, fell
silent or lost a container, its own words are all there is.
`str(error)` is what the command line prints; a traceback is for our own bugs, which are not in here.
"""

from __future__ import annotations

from collections.abc import Iterable

from attrs import frozen


class WarmlaneError(Exception):
    """The base of all errors that Warmlane raises on purpose."""


@frozen
class Problem:
    """One thing that is wrong with a plan: where (`$.blocks.lint.timeoutMs`), and what, as a sentence.

    `path` is empty if there are no values to be had from the whole document: no such file, not JSON.
    """

    path: str
    message: str

    def __str__(self) -> str:
        return f"{self.path}: {self.message}" if self.path else self.message


class PlanError(WarmlaneError, ValueError):
    """The plan, or an input given for it, is wrong. Its author mends it; nothing was started.

    `problems` holds all that was found, in document order; `source` names the document.
    """

    def __init__(self, problems: Iterable[Problem], *, source: str = "the plan") -> None:
        self.problems = tuple(problems)
        self.source = source
        super().__init__(self.problems, source)

    def __str__(self) -> str:
        return f"{self.begin()} " + "; ".join(map(str, self.problems))

    def begin(self) -> str:
        """What the sentence begins with: `plan.json is not valid:`, or `cannot read plan.json:`."""
        unread = self.problems and not any(problem.path for problem in self.problems)
        return f"cannot read {self.source}:" if unread else f"{self.source} is not valid:"


class RuntimeUnavailableError(WarmlaneError):
    """There is no container host to be had. The user starts one, or asks for another with `--runtime`."""

    def __init__(self, runtime: str, said: str) -> None:
        self.runtime, self.said = runtime, said
        super().__init__(runtime, said)

    def __str__(self) -> str:
        return f"runtime '{self.runtime}' is not available: {self.said}"


class RuntimeRefusedError(WarmlaneError):
    """The container host answered, and said no. The same call will be refused again.

    `status` is the HTTP status where there is one, `said` the host's own words.
    """

    def __init__(self, action: str, said: str, *, status: int | None = None) -> None:
        self.action, self.said, self.status = action, said, status
        super().__init__(action, said)

    def __str__(self) -> str:
        return f"could not {self.action}: {self.said}"


class RuntimeSilentError(WarmlaneError):
    """The container host did not answer, or the connection broke: the effect of the call is unknown."""

    def __init__(self, action: str, said: str) -> None:
        self.action, self.said = action, said
        super().__init__(action, said)

    def __str__(self) -> str:
        return f"no answer to '{self.action}': {self.said}"


class PortTakenError(RuntimeRefusedError):
    """Another process holds the port; the pool moves on to the next one."""

    def __init__(self, port: int) -> None:
        self.port = port
        super().__init__(f"listen on 127.0.0.1:{port}", "another process holds that port", status=None)


class ContainerFaultError(WarmlaneError):
    """One container failed by itself (image missing, no Python, out of memory, never healthy).

    `log_tail` is the end of what it printed, possibly empty.
    """

    def __init__(self, name: str, image: str | None, said: str, *, log_tail: str = "") -> None:
        self.name, self.image, self.said, self.log_tail = name, image, said, log_tail
        super().__init__(name, image, said)

    def __str__(self) -> str:
        of = f" of image '{self.image}'" if self.image else ""
        last = self.log_tail.strip().splitlines()[-1:]
        return f"container{of} failed: {self.said}" + (f" (it printed: {last[0]})" if last else "")


class NeverHealthyError(ContainerFaultError):
    """A container was started or woken, and did not answer in time. Another one may."""


class NoFreePortError(WarmlaneError):
    """Every port of the range is in use: `ours` by our containers, the rest by other processes."""

    def __init__(self, first: int, last: int, *, ours: int) -> None:
        self.first, self.last, self.ours = first, last, ours
        super().__init__(first, last, ours)

    def __str__(self) -> str:
        return (
            f"no port is free in {self.first}-{self.last} on 127.0.0.1 ({self.ours} of them are our containers', the"
            " rest other processes'); choose another range with --ports, or transport 'unix'"
        )


class ContainerLostError(WarmlaneError):
    """A container that was handed out is gone, or its agent does not answer any more."""

    def __init__(self, name: str, said: str) -> None:
        self.name, self.said = name, said
        super().__init__(name, said)

    def __str__(self) -> str:
        return f"the container was lost: {self.said}"


class LeftBehindError(WarmlaneError):
    """The session has ended, and these containers could not be confirmed gone. `warmlane gc` tries again."""

    def __init__(self, names: Iterable[str]) -> None:
        self.names = tuple(names)
        super().__init__(self.names)

    def __str__(self) -> str:
        return f"could not confirm the removal of {', '.join(self.names)}; run 'warmlane gc' to try again"


class SessionClosedError(WarmlaneError):
    """The session is closing or closed: it takes no new work."""

    def __str__(self) -> str:
        return "the session is closed; open another one"


class MonitorAddressError(WarmlaneError):
    """The monitor cannot listen where it was asked to. The caller chooses another address."""

    def __init__(self, host: str, port: int, said: str) -> None:
        self.host, self.port, self.said = host, port, said
        super().__init__(host, port, said)

    def __str__(self) -> str:
        return f"the monitor cannot listen on {self.host}:{self.port}: {self.said}"


class WatchError(WarmlaneError):
    """What was to be watched cannot be: nothing is there, it is no monitor of ours, or it went away."""

    def __init__(self, url: str, said: str) -> None:
        self.url, self.said = url, said
        super().__init__(url, said)

    def __str__(self) -> str:
        return f"cannot watch {self.url}: {self.said}"
