"""The server inside a container. It is started in images that we do not know, so it is one file, needs nothing but the
standard library of Python 3.8 or newer, and is quick to start: `python3 -I -S server.py /path/agent.json`.

agent.json: `listen` (`tcp://0.0.0.0:9000`, `unix:///path`), `token`, `env` (for itself and its blocks), `workspace`
(path or null), `lifeline` (fd 0 is a pipe that the engine holds: its end is ours), `scratch` (for the blocks' working
directories; /tmp).

    GET /health            {"status": "ok", "agent": 1, "python": "3.12", "runs": N}
    POST /blocks/{run}     body: a line of JSON with the fields of `protocol.BlockCall` but for `input`; then the input, as
                           JSON. Answers NDJSON: {"log": stream, "text": ..., "partial": true?} ..., {"exit": {...}}.
                           Hanging up ends the block. 409 if that run is under way.
    DELETE /blocks/{run}   ends the run, and answers when none of its processes is left, or if it is unknown or over.

Every request carries the token, has a connection of its own, and gets 401 without.

Processes. One thread each, so that forking is safe. The agent accepts, reads requests and hands each block's
connection to a *supervisor*, a process of that block. The supervisor adopts every orphan of its block (it is a
subreaper), so it can tell when the last one is gone: when it has no child left. A `python` block's supervisor is
forked from a *zygote*, which has imported the module; a command's from the agent. A supervisor that is killed
leaves its block to the agent, which hunts it down. When the agent dies, the supervisors end their blocks.

A second argument is the number of a descriptor that listens already. Exit code 98: the address is taken.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import select
import signal
import socket
import stat
import struct
import sys
import time
from _operator import _compare_digest  # hmac's own; importing hmac would load OpenSSL

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Collection, NoReturn

HEAD_LIMIT = 16 * 1024
BODY_LIMIT = 256 * 1024 * 1024  # of those who know the token; inputs are the outputs of a whole lane
CONNECTIONS = 64
ZYGOTES = 8
HEAD_PATIENCE, BODY_PATIENCE, PARTING_PATIENCE = 10.0, 60.0, 2.0
CHUNK = 64 * 1024
PIECE = 1024 * 1024  # the longest text of one log message, in bytes of what was printed
BACKLOG = 256 * 1024  # with this much waiting for the client, a block's output is left in its pipes
STREAM_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\nConnection: close\r\n\r\n"
REASONS = {200: "OK", 400: "Bad Request", 401: "Unauthorized", 404: "Not Found", 405: "Method Not Allowed"}
REASONS.update({409: "Conflict", 411: "Length Required", 413: "Content Too Large", 431: "Header Too Large"})
REASONS[503] = "Service Unavailable"
RUN_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")


# --- processes ---------------------------------------------------------------------------------------------------


def adopt_orphans() -> None:
    """Makes this process the parent of every orphan below it, and keeps them from becoming another user."""
    import ctypes

    prctl = ctypes.CDLL(None, use_errno=True).prctl
    if prctl(36, 1, 0, 0, 0):  # PR_SET_CHILD_SUBREAPER
        raise OSError(ctypes.get_errno(), "cannot become a subreaper")
    prctl(38, 1, 0, 0, 0)  # PR_SET_NO_NEW_PRIVS: what sudo starts could not be killed


def fork(function: Callable[..., Any], *args: Any) -> int:
    """Runs `function` in a child process, which never returns from it."""
    pid = os.fork()
    if pid:
        return pid
    try:
        function(*args)
    except BaseException:  # whatever it is, this process must not go on with its parent's work
        with contextlib.suppress(BaseException):
            sys.excepthook(*sys.exc_info())
    finally:
        os._exit(70)


def wakeup() -> int:
    """A descriptor that becomes readable with every signal that is handled."""
    reader, writer = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    return reader


def drain(fd: int) -> None:
    with contextlib.suppress(BlockingIOError):
        while os.read(fd, 4096):
            pass


def close_all(keep: Collection[int]) -> None:
    for name in os.listdir("/proc/self/fd"):
        if int(name) > 2 and int(name) not in keep:
            with contextlib.suppress(OSError):
                os.close(int(name))


def spool(folder: str) -> int:
    """A file without a name."""
    path = os.path.join(folder, "s" + os.urandom(8).hex())
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    os.unlink(path)
    return fd


def write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def read_all(fd: int, limit: int) -> bytes:
    chunks, size = [], 0
    while size < limit:
        chunk = os.read(fd, min(limit - size, 1 << 20))
        if not chunk:
            break
        chunks.append(chunk)
        size += len(chunk)
    return b"".join(chunks)


def processes() -> dict[int, tuple[int, int]]:
    """pid -> (parent, process group) of all processes that can be seen."""
    table = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            with contextlib.suppress(OSError, ValueError), open("/proc/%s/stat" % name, "rb", 0) as file:
                _, parent, group = file.read().rpartition(b")")[2].split()[:3]
                table[int(name)] = (int(parent), int(group))
    return table


def signal_below(*signals: int, spare: Collection[int] = ()) -> bool:
    """Sends signals to every process below this one but those in `spare` and below; whether there was any.

    Whole groups at once where that hits nobody else, so that a shell cannot go on to its next command.
    """
    table = processes()
    children: dict[int, list[int]] = {}
    for pid, (parent, _) in table.items():
        children.setdefault(parent, []).append(pid)
    found, front = set(), [os.getpid()]
    while front:
        fresh = [pid for pid in children.get(front.pop(), ()) if pid not in spare and pid not in found]
        found.update(fresh)
        front += fresh
    others = {group for pid, (_, group) in table.items() if pid not in found} | {0, 1}
    targets = {-table[pid][1] if table[pid][1] not in others else pid for pid in found}
    for number in signals:
        for target in targets:
            with contextlib.suppress(OSError):
                os.kill(target, number)
    return bool(found)


def remove_tree(root: str) -> None:
    """Removes a directory whatever its permissions and its depth, following no links."""
    with contextlib.suppress(OSError):
        deep = True
        while deep:
            deep = False
            for entry in list(os.scandir(root)):
                if not entry.is_dir(follow_symlinks=False):
                    os.unlink(entry.path)
                    continue
                os.chmod(entry.path, 0o700)
                for inner in list(os.scandir(entry.path)):
                    if inner.is_dir(follow_symlinks=False):  # lifted up, so that no path grows too long
                        os.chmod(inner.path, 0o700)
                        os.rename(inner.path, os.path.join(root, os.urandom(8).hex()))
                        deep = True
                    else:
                        os.unlink(inner.path)
                os.rmdir(entry.path)
        os.rmdir(root)


class MemoryKills:
    """How often the kernel has killed in our memory cgroup, and that cgroup's limit, as a sentence can say it."""

    def __init__(self) -> None:
        self.counter = self.limit = ""
        with contextlib.suppress(OSError), open("/proc/self/cgroup") as file:
            for line in file:
                _, kinds, path = line.rstrip("\n").split(":", 2)
                if kinds in ("", "memory"):
                    root = "/sys/fs/cgroup/" + kinds
                    names = (
                        ("memory.oom_control", "memory.limit_in_bytes") if kinds else ("memory.events", "memory.max")
                    )
                    for folder in (root + path, root):  # in a container, its own cgroup is often mounted as the root
                        if not self.counter and os.path.exists(os.path.join(folder, names[0])):
                            self.counter, self.limit = (os.path.join(folder, name) for name in names)

    def count(self) -> int:
        with contextlib.suppress(OSError, ValueError), open(self.counter) as file:
            return next((int(line.split()[1]) for line in file if line.startswith("oom_kill ")), 0)
        return 0

    def sentence(self) -> str:
        with contextlib.suppress(OSError, ValueError), open(self.limit) as file:
            limit = int(file.read())
            if limit < 1 << 60:
                return "killed by the kernel: it exceeded the container's memory limit of %s" % size_words(limit)
        return "killed by the kernel: out of memory"


def size_words(size: int) -> str:
    for unit, word in ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")):
        if size >= unit:
            return "%.4g %s" % (size / unit, word)
    return "%d bytes" % size


# --- one block ---------------------------------------------------------------------------------------------------


class Lines:
    """Makes log messages of the bytes that a block prints on one stream."""

    def __init__(self, stream: str) -> None:
        self.stream = stream
        self.rest = bytearray()

    def feed(self, data: bytes) -> bytes:
        *ends, rest = data.split(b"\n")
        messages = []
        for end in ends:
            self.rest += end
            messages += self.pieces()
            messages.append(self.message(self.rest))
            self.rest.clear()
        self.rest += rest
        return b"".join(messages + self.pieces())

    def pieces(self) -> list[bytes]:
        """What of a line too long is complete; at least one byte stays."""
        messages = []
        while len(self.rest) > PIECE:
            cut = next((at for at in range(PIECE, PIECE - 4, -1) if self.rest[at] & 0xC0 != 0x80), PIECE)
            messages.append(self.message(self.rest[:cut], partial=True))  # never inside of a character
            del self.rest[:cut]
        return messages

    def last(self) -> bytes:
        return self.message(self.rest) if self.rest else b""

    def message(self, text: bytearray, partial: bool = False) -> bytes:
        message: dict[str, Any] = {"log": self.stream, "text": text.decode("utf-8", "backslashreplace")}
        if partial:
            message["partial"] = True
        return json.dumps(message, ensure_ascii=False).encode() + b"\n"


class Supervisor:
    """The process that looks after one block. `conn` is its client, `control` the agent: a byte means end it, the end
    of it that the agent is dead. `imports` are spools of what the module printed while it was imported."""

    def __init__(self, agent: Agent, conn: int, control: int, call: dict[str, Any], data: bytes) -> None:
        self.agent, self.control, self.call, self.data = agent, control, call, data
        self.conn: int | None = conn
        self.out = bytearray(STREAM_HEAD)
        self.streams = [Lines("stdout"), Lines("stderr")]
        self.pipes: dict[int, Lines] = {}
        self.child = 0
        self.status: int | None = None
        self.deadline: float | None = None  # when patience with a block that is to end is over

    def run(self, imports: list[int], close: list[int]) -> NoReturn:
        os.write(self.control, b"%d" % os.getpid())
        adopt_orphans()
        self.wake = wakeup()
        self.pipes = dict(zip(imports, self.streams))
        while self.pipes:
            self.turn()
        self.kills = self.agent.kills.count()
        self.home = os.path.join(self.agent.scratch, "b" + os.urandom(4).hex())
        error = None
        try:
            os.mkdir(self.home, 0o700)
            self.folder = os.open(self.home, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            self.start(close)
        except OSError as problem:
            error = "could not be started: %s" % problem
        while self.child and self.status is None and not self.over():
            self.turn()
        pause = 0.001
        while self.reap():
            signal_below(signal.SIGKILL)
            self.turn(pause)
            pause = min(pause * 2, 0.05)
        for fd in list(self.pipes):  # nobody is left to write; what is in the pipes is all
            while self.read(fd):
                while len(self.out) >= BACKLOG:
                    self.turn()
        self.send(b"".join(lines.last() for lines in self.streams))
        self.send(self.exit_message(error))
        remove_tree(self.home)
        if self.deadline is not None:
            self.deadline = time.monotonic() + 1.0
        while self.out and not self.over():
            self.turn()
        with contextlib.suppress(OSError):
            os.write(self.control, b".")
        os._exit(0)

    def start(self, close: list[int]) -> None:
        """Starts the block itself, with pipes for what it prints."""
        for name in ("work", "tmp"):
            os.mkdir(os.path.join(self.home, name), 0o700)
        fd = os.open("input.json", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600, dir_fd=self.folder)
        write_all(fd, self.data)
        os.close(fd)
        ends = [os.pipe2(os.O_CLOEXEC) for _ in self.streams]
        self.child = fork(self.block, [writer for _, writer in ends], close)
        for (reader, writer), lines in zip(ends, self.streams):
            os.close(writer)
            os.set_blocking(reader, False)
            self.pipes[reader] = lines

    def block(self, outputs: list[int], close: list[int]) -> None:
        """In the block's own process."""
        os.setsid()
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        null = os.open(os.devnull, os.O_RDONLY)
        for fd, place in zip([null, *outputs], range(3)):
            os.dup2(fd, place)
        for fd in [null, *outputs, self.wake, self.control, self.folder, *close]:
            os.close(fd)
        if self.conn is not None:
            os.close(self.conn)
        os.chdir(os.path.join(self.home, "work"))
        os.environ.update(
            WARMLANE_EXECUTION_ID=str(self.call["execution_id"]),
            WARMLANE_BLOCK_ID=str(self.call["block_id"]),
            WARMLANE_ATTEMPT=str(self.call["attempt"]),
            WARMLANE_INPUT=os.path.join(self.home, "input.json"),
            WARMLANE_OUTPUT=os.path.join(self.home, "output.json"),
            TMPDIR=os.path.join(self.home, "tmp"),
        )
        if self.call.get("python"):
            code = run_python(self.call["python"], self.data, self.agent.workspace, self.verdict, self.output)
            os._exit(code)
        for number in (signal.SIGPIPE, signal.SIGXFSZ):  # what Python ignores would stay ignored
            signal.signal(number, signal.SIG_DFL)
        command = self.call["command"]
        try:
            os.execvp(command[0], command)
        except (OSError, ValueError) as error:
            missing = isinstance(error, (FileNotFoundError, NotADirectoryError))
            said = "command not found" if missing else getattr(error, "strerror", None) or str(error)
            self.verdict("error", "cannot run '%s': %s" % (command[0], said))
            os._exit(127 if missing else 126)

    def verdict(self, fault: str, error: str) -> None:
        """In the block's process: what its supervisor is to say of it."""
        self.leave("verdict.json", json.dumps({"fault": fault, "error": error}).encode())

    def output(self, data: bytes) -> None:
        limit = self.call["output_limit"]
        if len(data) > limit:
            self.verdict("bad-output", too_large(len(data), limit))
        else:
            self.leave("output.json", data)

    def leave(self, name: str, data: bytes) -> None:
        path = os.path.join(self.home, name)
        with contextlib.suppress(OSError):
            os.unlink(path)
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        write_all(fd, data)
        os.close(fd)

    # The pump

    def turn(self, patience: float | None = None) -> None:
        """Waits for something to happen, and sees to it."""
        if self.deadline is not None:
            left = max(0.0, self.deadline - time.monotonic())
            patience = left if patience is None else patience
        poll = select.poll()
        poll.register(self.wake, select.POLLIN)
        if self.control >= 0:
            poll.register(self.control, select.POLLIN)
        if self.conn is not None:
            poll.register(self.conn, select.POLLIN | (select.POLLOUT if self.out else 0))
        if len(self.out) < BACKLOG:
            for fd in self.pipes:
                poll.register(fd, select.POLLIN)
        for fd, event in poll.poll(None if patience is None else patience * 1000 + 1):
            if fd == self.wake:
                drain(fd)
                self.reap()
            elif fd == self.control:
                self.obey()
            elif fd == self.conn:
                if event & ~select.POLLOUT:
                    self.listen()
            else:
                self.read(fd)
        self.flush()

    def reap(self) -> bool:
        """Whether there is still a child, ours or adopted."""
        try:
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if not pid:
                    return True
                if pid == self.child:
                    self.status = status
        except ChildProcessError:
            return False

    def obey(self) -> None:
        if os.read(self.control, 1):
            self.end()
        else:
            self.control = -1
            self.end(grace=0.0)

    def listen(self) -> None:
        """The client has nothing more to say: what can be read is that it has gone."""
        try:
            gone = not os.read(self.conn or 0, CHUNK)
        except BlockingIOError:
            return
        except OSError:
            gone = True
        if gone:
            self.hang_up()

    def hang_up(self) -> None:
        self.conn = None  # the descriptor stays: it must not be given to another file while others hold it
        self.out.clear()
        self.end()

    def end(self, grace: float | None = None) -> None:
        due = time.monotonic() + (self.call["terminate_grace"] if grace is None else grace)
        if self.deadline is None and grace is None:
            signal_below(signal.SIGTERM, signal.SIGCONT)
        self.deadline = due if self.deadline is None else min(due, self.deadline)

    def over(self) -> bool:
        return self.deadline is not None and time.monotonic() >= self.deadline

    def read(self, fd: int) -> bool:
        try:
            data = os.read(fd, CHUNK)
        except BlockingIOError:
            return False
        if data:
            self.send(self.pipes[fd].feed(data))
            return True
        del self.pipes[fd]
        os.close(fd)
        return False

    def send(self, data: bytes) -> None:
        if self.conn is not None:
            self.out += data

    def flush(self) -> None:
        if self.out and self.conn is not None:
            try:
                del self.out[: os.write(self.conn, bytes(self.out[:BACKLOG]))]
            except BlockingIOError:
                pass
            except OSError:
                self.hang_up()

    # The end

    def exit_message(self, error: str | None) -> bytes:
        code = number = fault = None
        output = b"null"
        if error is not None or self.status is None:
            fault, error = "error", error or "could not be started"
        elif os.WIFSIGNALED(self.status):
            number = os.WTERMSIG(self.status)
            fault, error = "signal", "killed by " + signal_name(number)
        else:
            code = os.WEXITSTATUS(self.status)
            fault, error = self.read_verdict() or (("error", "exit code %d" % code) if code else (None, None))
            if fault is None:
                fault, error, output = self.read_output()
        killed = number == signal.SIGKILL or code == 128 + signal.SIGKILL  # the latter is what a shell says of it
        if killed and self.deadline is None and self.agent.kills.count() > self.kills:
            fault, error = "oom", self.agent.kills.sentence()
        told = {"code": code, "signal": number, "error": error, "fault": fault}
        return b'{"exit": ' + json.dumps(told).encode()[:-1] + b', "output": ' + output + b"}}\n"

    def read_file(self, name: str, limit: int) -> tuple[bytes, int] | None:
        """The beginning and the size of a file that the block has left; None if there is none."""
        try:
            fd = os.open(name, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=self.folder)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise ValueError(error.strerror) from None
        try:
            about = os.fstat(fd)
            if not stat.S_ISREG(about.st_mode):
                raise ValueError("not a regular file")
            return read_all(fd, limit), about.st_size
        except OSError as error:
            raise ValueError(error.strerror) from None
        finally:
            os.close(fd)

    def read_verdict(self) -> tuple[str, str] | None:
        with contextlib.suppress(ValueError, TypeError, KeyError):
            found = self.read_file("verdict.json", 1 << 20)
            if found:
                verdict = json.loads(found[0])
                return str(verdict["fault"]), str(verdict["error"])
        return None

    def read_output(self) -> tuple[str | None, str | None, bytes]:
        limit = self.call["output_limit"]
        try:
            found = self.read_file("output.json", limit + 1)
            if found is None:
                return None, None, b"null"
            data, size = found
            if max(size, len(data)) > limit:
                return "bad-output", too_large(size, limit), b"null"
            encode_output(json.loads(data.decode("utf-8"), parse_constant=refuse_constant))
        except (ValueError, RecursionError) as error:
            return "bad-output", "its output is not JSON: %s" % json_problem(error), b"null"
        return None, None, data.replace(b"\n", b" ").replace(b"\r", b" ")


def too_large(size: int, limit: int) -> str:
    return "its output is too large: %d bytes, the limit is %s" % (size, size_words(limit))


def refuse_constant(name: str) -> NoReturn:
    raise ValueError("JSON has no %s" % name)


def json_problem(error: BaseException) -> str:
    if isinstance(error, RecursionError):
        return "nested too deeply"
    if isinstance(error, UnicodeError):
        return "not valid UTF-8"
    return str(error)


def encode_output(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


def signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return "signal %d" % number


# --- python blocks -----------------------------------------------------------------------------------------------


def load(target: str, workspace: str | None) -> None:
    """Imports the module of `module:function`, in a process that has become an ordinary Python program for it."""
    module = target.partition(":")[0]
    if module in sys.modules and "inspect" in sys.modules:
        return  # a zygote has done it
    import types

    if "site" not in sys.modules:
        import site

        site.main()
    sys.modules["__main__"] = types.ModuleType("__main__")
    sys.argv = [module]
    extra = [workspace] if workspace else []
    sys.path[:0] = extra + [entry for entry in os.environ.get("PYTHONPATH", "").split(":") if entry]
    __import__(module)
    import inspect  # noqa: F401 - call() needs it, and here it is imported once for all blocks


def call(target: str, data: bytes) -> Any:
    """The function's value. Raises LookupError or TypeError with a sentence if it is not one that can be called."""
    import inspect

    module, _, path = target.partition(":")
    function: Any = sys.modules[module]
    for name in path.split("."):
        if not hasattr(function, name):
            raise Unfit("module '%s' has no function '%s'" % (module, path))
        function = getattr(function, name)
    if not callable(function):
        raise Unfit("'%s' is not a function" % target)
    if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
        raise Unfit("'%s' is a coroutine function; give a plain one that runs it" % target)
    takes = True
    with contextlib.suppress(ValueError, TypeError):  # some builtins do not tell
        kinds = [parameter.kind for parameter in inspect.signature(function).parameters.values()]
        takes = any(kind in (kind.POSITIONAL_ONLY, kind.POSITIONAL_OR_KEYWORD, kind.VAR_POSITIONAL) for kind in kinds)
    return function(json.loads(data)) if takes else function()


class Unfit(Exception):
    """The target is not a function that can be called; a sentence, and no traceback."""


def run_python(
    target: str,
    data: bytes,
    workspace: str | None,
    verdict: Callable[[str, str], None],
    output: Callable[[bytes], None],
) -> int:
    """Runs a python block to its end, and returns the exit code."""
    try:
        load(target, workspace)
        value = call(target, data)
        if value is not None:
            try:
                encoded = encode_output(value)
            except (TypeError, ValueError, RecursionError) as error:
                verdict("bad-output", "its output is not JSON: %s" % json_problem(error))
            else:
                output(encoded)
        code = 0
    except Unfit as error:
        verdict("error", str(error))
        code = 1
    except SystemExit as stop:
        code = stop.code & 0xFF if isinstance(stop.code, int) else int(stop.code is not None)
        if code and not isinstance(stop.code, int):
            sys.stderr.write("%s\n" % stop.code)
    except BaseException as error:  # the block's own, of whatever kind: it is reported
        import traceback

        trace = error.__traceback__
        while trace and trace.tb_frame.f_code.co_filename == __file__:
            trace = trace.tb_next
        traceback.print_exception(type(error), error, trace)
        told = traceback.format_exception_only(type(error), error)
        line = next((entry for entry in told if entry[:1] != " "), told[-1])
        verdict("error", " ".join(line.split())[:4000])
        code = 1
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):  # closed, or a stream of the block's own making
            stream.flush()
    return code


class Zygote:
    """The agent's view of a process that has imported a module, or is about to."""

    def __init__(self, agent: Agent, module: str) -> None:
        self.module = module
        self.sock, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.notes = spool(agent.scratch)
        self.ready = False
        self.waiting: list[Run] = []
        self.files: list[list[Any]] = []
        try:
            self.pid = fork(zygote, agent, theirs, self.notes, module)
        except OSError:
            self.sock.close()
            os.close(self.notes)
            raise
        finally:
            theirs.close()

    def stale(self) -> bool:
        """Whether a file of the workspace that it has imported is not what it was."""
        return any(file_state(path) != state for path, state in self.files)


def file_state(path: str) -> list[int] | None:
    with contextlib.suppress(OSError):
        about = os.stat(path)
        return [about.st_mtime_ns, about.st_size]
    return None


def zygote(agent: Agent, sock: socket.socket, notes: int, module: str) -> None:
    """Imports, says so, and forks a supervisor for each block that it is sent; ends with the agent."""
    close_all(keep=(sock.fileno(), notes))
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    os.setsid()
    imports = [spool(agent.scratch), spool(agent.scratch)]
    null, log = os.open(os.devnull, os.O_RDONLY), os.dup(2)
    for fd, place in zip([null, *imports], range(3)):
        os.dup2(fd, place)
    load(module, agent.workspace)
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    for place in (1, 2):
        os.dup2(log, place)
    os.close(null)
    os.close(log)
    with contextlib.suppress(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)
        sock.send(b"cold")  # it has children, and a fork of it would not
        return
    if len(os.listdir("/proc/self/task")) > 1:
        sock.send(b"cold")
        return
    files = {getattr(imported, "__file__", None) for imported in list(sys.modules.values())}
    own = os.path.join(agent.workspace, "") if agent.workspace else "\0"
    write_all(notes, json.dumps([[path, file_state(path)] for path in files if path and path.startswith(own)]).encode())
    os.close(notes)
    for fd in imports:
        os.lseek(fd, 0, os.SEEK_SET)
    import gc

    gc.freeze()  # no collection touches, and so copies, what the blocks share
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # supervisors are reaped by the kernel
    sock.send(b"ready")
    while True:
        message, ancillary, _, _ = sock.recvmsg(1, socket.CMSG_SPACE(12))
        if not message or not ancillary:
            break
        conn, control, body = struct.unpack("3i", ancillary[0][2])
        with contextlib.suppress(OSError):  # no room for a process: the agent sees the run break
            fork(supervise, agent, conn, control, body, imports, sock.fileno())
            while imports:
                os.close(imports.pop())
        for fd in (conn, control, body):
            os.close(fd)
    with contextlib.suppress(ChildProcessError):  # stays the parent of its supervisors, for the agent to know them by
        os.waitpid(-1, 0)
    os._exit(0)


def supervise(agent: Agent, conn: int, control: int, body: int, imports: list[int], sock: int) -> None:
    os.lseek(body, 0, os.SEEK_SET)
    head, _, data = read_all(body, BODY_LIMIT).partition(b"\n")
    os.close(body)
    Supervisor(agent, conn, control, json.loads(head), data).run(imports, close=[sock])


def supervise_cold(agent: Agent, run: Run, control: int) -> None:
    close_all(keep=(run.conn, control))
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.close(null)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    head, _, data = bytes(run.body).partition(b"\n")
    Supervisor(agent, run.conn, control, json.loads(head), data).run([], close=[])


# --- the agent ---------------------------------------------------------------------------------------------------


class Refused(Exception):
    """A request that gets an answer other than 200."""

    def __init__(self, status: int, said: str) -> None:
        self.status, self.said = status, said


class Conn:
    """A client that has not said everything yet, or one that we have answered and that has yet to go."""

    def __init__(self) -> None:
        self.deadline = time.monotonic() + HEAD_PATIENCE
        self.buffer = bytearray()
        self.method = self.path = ""
        self.length = 0
        self.answered = False


class Run:
    """A block under way. `conn` and `body` are here only until its supervisor has them."""

    def __init__(self, name: str, conn: int, body: bytes) -> None:
        self.name, self.conn, self.body = name, conn, body
        self.zygote: Zygote | None = None  # the one that it waits for
        self.control = -1
        self.pid = 0  # of its supervisor
        self.clean = self.lost = False
        self.waiters: list[int] = []


class Agent:
    """The loop. `watched` says for every descriptor what is to be done when it can be read."""

    def __init__(self, config: dict[str, Any]) -> None:
        os.environ.update(config.get("env") or {})
        self.workspace: str | None = config.get("workspace")
        if self.workspace:
            os.environ["WARMLANE_WORKSPACE"] = self.workspace
        self.scratch: str = config.get("scratch") or "/tmp"
        self.token = ("Bearer " + config["token"]).encode()
        self.kills = MemoryKills()
        self.poll = select.poll()
        self.watched: dict[int, Callable[[], None]] = {}
        self.conns: dict[int, Conn] = {}
        self.runs: dict[str, Run] = {}
        self.zygotes: dict[str, Zygote] = {}  # the one used last at the end
        self.cold: set[str] = set()  # modules that cannot be kept warm
        self.children: set[int] = set()  # all that we have forked; any other child is an orphan, and hunted
        self.hunting = self.stopped = False

    def serve(self, listener: socket.socket, lifeline: bool) -> None:
        self.wake = wakeup()
        for number in (signal.SIGTERM, signal.SIGHUP):  # the kernel sends the latter if we were frozen when the engine died
            signal.signal(number, self.stop)
        adopt_orphans()
        self.watch(self.wake, self.reap)
        self.watch(listener.fileno(), self.accept, listener)
        if lifeline:
            os.set_blocking(0, False)
            self.watch(0, self.lifeline)
        while not self.stopped:
            for fd, _ in self.poll.poll(20 if self.hunting else 1000 if self.conns else None):
                if fd in self.watched:  # what was done before may have closed it
                    self.watched[fd]()
            if self.hunting:
                self.hunt()
            for fd in [fd for fd, conn in self.conns.items() if time.monotonic() > conn.deadline]:
                self.drop(fd)
        listener.close()
        self.children.clear()
        while signal_below(signal.SIGKILL):
            self.reap()
            time.sleep(0.002)

    def stop(self, *_: object) -> None:
        self.stopped = True

    def lifeline(self) -> None:
        with contextlib.suppress(BlockingIOError):
            self.stopped = not os.read(0, CHUNK)

    def watch(self, fd: int, action: Callable[..., None], *args: Any) -> None:
        self.watched[fd] = lambda: action(*args)
        self.poll.register(fd, select.POLLIN)

    def unwatch(self, fd: int) -> None:
        self.poll.unregister(fd)
        del self.watched[fd]

    # Clients

    def accept(self, listener: socket.socket) -> None:
        try:
            sock, _ = listener.accept()
        except OSError:
            return  # it has gone already
        if sock.family != socket.AF_UNIX:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setblocking(False)
        if len(self.conns) >= CONNECTIONS:
            self.drop(next(iter(self.conns)))
        fd = sock.detach()
        self.conns[fd] = Conn()
        self.watch(fd, self.receive, fd)

    def drop(self, fd: int) -> None:
        self.unwatch(fd)
        os.close(fd)
        self.conns.pop(fd, None)

    def receive(self, fd: int) -> None:
        conn = self.conns[fd]
        try:
            data = os.read(fd, 4 * CHUNK)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            return self.drop(fd)
        if conn.answered:
            return None
        conn.buffer += data
        try:
            if (conn.method or self.read_head(conn)) and len(conn.buffer) >= conn.length:
                self.handle(fd, conn)
        except Refused as refusal:
            self.answer(fd, refusal.status, {"error": refusal.said})

    def read_head(self, conn: Conn) -> bool:
        """Whether the head is there. Nothing but the token is looked at before the token is right."""
        end = conn.buffer.find(b"\r\n\r\n")
        if end > HEAD_LIMIT or (end < 0 and len(conn.buffer) > HEAD_LIMIT):
            raise Refused(431, "the head of the request is too large")
        if end < 0:
            return False
        first, *lines = bytes(conn.buffer[:end]).split(b"\r\n")
        headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(b":") for line in lines)}
        if not _compare_digest(headers.get(b"authorization", b""), self.token):
            raise Refused(401, "the token is missing or wrong")
        length = headers.get(b"content-length", b"0")
        if b"transfer-encoding" in headers or not length.isdigit():
            raise Refused(411, "the request needs a Content-Length")
        if len(length) > 12 or int(length) > BODY_LIMIT:
            raise Refused(413, "the body is over the limit of " + size_words(BODY_LIMIT))
        words = first.decode("latin-1").split(" ")
        if len(words) != 3 or not words[0]:
            raise Refused(400, "not a request")
        conn.method, conn.path, _ = words
        conn.length = int(length)
        conn.deadline = time.monotonic() + BODY_PATIENCE
        del conn.buffer[: end + 4]
        return True

    def handle(self, fd: int, conn: Conn) -> None:
        name = conn.path[len("/blocks/") :]
        if conn.path == "/health" and conn.method == "GET":
            python = "%d.%d" % sys.version_info[:2]
            return self.answer(fd, 200, {"status": "ok", "agent": 1, "python": python, "runs": len(self.runs)})
        if not conn.path.startswith("/blocks/") or not 0 < len(name) <= 200 or not RUN_CHARACTERS.issuperset(name):
            raise Refused(404, "there is no such thing")
        if conn.method == "POST":
            return self.start(fd, name, bytes(conn.buffer[: conn.length]))
        if conn.method == "DELETE":
            return self.delete(fd, name)
        raise Refused(405, "that cannot be done here")

    def answer(self, fd: int, status: int, value: dict[str, Any]) -> None:
        conn = self.conns[fd]
        body = json.dumps(value).encode()
        head = "HTTP/1.1 %d %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\nConnection: close\r\n\r\n"
        try:
            os.write(fd, (head % (status, REASONS[status], len(body))).encode() + body)
            sock = socket.socket(fileno=fd)
            try:
                sock.shutdown(socket.SHUT_WR)
            finally:
                sock.detach()
        except OSError:
            return self.drop(fd)
        # To close with something unread would take the answer back
        conn.answered, conn.deadline = True, time.monotonic() + PARTING_PATIENCE
        conn.buffer.clear()
        return None

    # Runs

    def start(self, fd: int, name: str, body: bytes) -> None:
        if name in self.runs:
            raise Refused(409, "that run is under way")
        try:
            call = json.loads(body[: body.index(b"\n")])
            target, command = call.get("python"), call.get("command")
            call["execution_id"], call["block_id"], call["attempt"]
            fits = float(call["terminate_grace"]) >= 0 and int(call["output_limit"]) >= 0
            if target is not None:
                fits = fits and all(target.partition(":")[::2])
            else:
                fits = fits and bool(command) and all(isinstance(word, str) for word in command)
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            fits = False
        if not fits:
            raise Refused(400, "that is not a block")
        self.unwatch(fd)
        del self.conns[fd]
        run = self.runs[name] = Run(name, fd, body)
        module = target.partition(":")[0] if target else ""
        zygote = self.warm(module) if module and module not in self.cold else None
        if zygote is None:
            self.fork_supervisor(run)
        elif zygote.ready:
            self.hand(run, zygote)
        else:
            run.zygote = zygote
            zygote.waiting.append(run)
            self.watch(fd, self.listen, run)

    def fork_supervisor(self, run: Run) -> None:
        ours, theirs = socket.socketpair()
        try:
            run.pid = fork(supervise_cold, self, run, theirs.fileno())
        except OSError as error:
            ours.close()
            del self.runs[run.name]
            self.conns[run.conn] = Conn()
            self.watch(run.conn, self.receive, run.conn)
            return self.answer(run.conn, 503, {"error": "no process can be started: %s" % error.strerror})
        finally:
            theirs.close()
        self.children.add(run.pid)
        return self.handed(run, ours)

    def hand(self, run: Run, zygote: Zygote) -> None:
        ours, theirs = socket.socketpair()
        body = spool(self.scratch)
        try:
            write_all(body, run.body)
            fds = struct.pack("3i", run.conn, theirs.fileno(), body)
            zygote.sock.sendmsg([b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, fds)])
        except OSError:  # it has just died, or there is no room
            ours.close()
            return self.fork_supervisor(run)
        finally:
            os.close(body)
            theirs.close()
        return self.handed(run, ours)

    def handed(self, run: Run, control: socket.socket) -> None:
        os.close(run.conn)
        run.body = b""
        run.control = control.detach()
        os.set_blocking(run.control, False)
        self.watch(run.control, self.hear, run)

    def hear(self, run: Run) -> None:
        """What a supervisor says: its pid, then a dot when its block is gone; then nothing, when it is gone itself."""
        try:
            word = os.read(run.control, 64)
        except BlockingIOError:
            return
        except OSError:
            word = b""
        if word:
            run.pid = int(word.rstrip(b".") or run.pid)
            run.clean = word.endswith(b".")
            return
        self.unwatch(run.control)
        os.close(run.control)
        if run.clean:
            self.finish(run)
        else:
            run.lost = self.hunting = True

    def listen(self, run: Run) -> None:
        """The client of a run that waits for its zygote has hung up."""
        with contextlib.suppress(BlockingIOError):
            gone = True
            with contextlib.suppress(ConnectionError):
                gone = not os.read(run.conn, CHUNK)
            if gone:
                self.give_up(run)

    def give_up(self, run: Run) -> None:
        """A run that waits for its zygote is not wanted any more; nor is the zygote, if no other run waits for it."""
        assert run.zygote is not None
        self.unwatch(run.conn)
        os.close(run.conn)
        run.zygote.waiting.remove(run)
        if not run.zygote.waiting:
            self.bury(run.zygote)
        run.lost = self.hunting = True

    def delete(self, fd: int, name: str) -> None:
        run = self.runs.get(name)
        if run is None:
            return self.answer(fd, 200, {"gone": True})
        del self.conns[fd]
        self.unwatch(fd)
        run.waiters.append(fd)
        if run.control >= 0:
            with contextlib.suppress(OSError):
                os.write(run.control, b"x")
        elif not run.lost:
            self.give_up(run)
        return None

    def finish(self, run: Run) -> None:
        del self.runs[run.name]
        for fd in run.waiters:
            self.conns[fd] = Conn()
            self.watch(fd, self.receive, fd)
            self.answer(fd, 200, {"gone": True})

    def reap(self) -> None:
        drain(self.wake)
        with contextlib.suppress(ChildProcessError):
            while True:
                pid, _ = os.waitpid(-1, os.WNOHANG)
                if not pid:
                    break
                self.children.discard(pid)

    def hunt(self) -> None:
        """Kills whatever is below us and not below one of our own: what the killed have left."""
        self.reap()
        lost = [run for run in self.runs.values() if run.lost]
        if not signal_below(signal.SIGKILL, spare=self.children) and not any(exists(run.pid) for run in lost):
            self.hunting = False
            for run in lost:
                self.finish(run)

    # Zygotes

    def warm(self, module: str) -> Zygote | None:
        """The zygote of a module, a new one if need be, None if there is no room for one."""
        zygote = self.zygotes.pop(module, None)
        if zygote and zygote.ready and zygote.stale():
            self.retire(zygote)
            zygote = None
        if not zygote:
            while len(self.zygotes) >= ZYGOTES:
                oldest = next(iter(self.zygotes.values()))
                if not oldest.ready:
                    return None
                del self.zygotes[oldest.module]
                self.retire(oldest)
            try:
                zygote = Zygote(self, module)
            except OSError:
                return None
            self.children.add(zygote.pid)
            self.watch(zygote.sock.fileno(), self.attend, zygote)
        self.zygotes[module] = zygote
        return zygote

    def attend(self, zygote: Zygote) -> None:
        """A zygote is ready, or says that it cannot be one, or is gone."""
        word = b""
        with contextlib.suppress(OSError):
            word = zygote.sock.recv(16)
        if word == b"ready":
            zygote.ready = True
            zygote.files = json.loads(os.pread(zygote.notes, 1 << 24, 0))
        else:
            if word == b"cold":
                self.cold.add(zygote.module)
            self.bury(zygote)
        for run in zygote.waiting:
            self.unwatch(run.conn)
            run.zygote = None
            if zygote.ready:
                self.hand(run, zygote)
            else:  # the import's error, or what it printed, is shown by the block, which imports by itself
                self.fork_supervisor(run)
        zygote.waiting = []

    def retire(self, zygote: Zygote) -> None:
        """It ends by itself, once its last block has ended."""
        self.unwatch(zygote.sock.fileno())
        zygote.sock.close()
        os.close(zygote.notes)

    def bury(self, zygote: Zygote) -> None:
        """It is dead, or to die, with all that is below it."""
        del self.zygotes[zygote.module]
        self.retire(zygote)
        self.children.discard(zygote.pid)
        self.hunting = True


def exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return pid > 0


def listen(address: str) -> socket.socket:
    kind, _, place = address.partition("://")
    if kind == "unix":
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(place)
        os.chmod(place, 0o666)  # the engine may be another user; it alone reaches the directory
    else:
        host, _, port = place.rpartition(":")
        listener = socket.socket(socket.AF_INET)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, int(port)))
    listener.listen(128)
    return listener


def main() -> int:
    with open(sys.argv[1], encoding="utf-8") as file:
        config = json.load(file)
    sys.dont_write_bytecode = True  # the workspace is not ours
    for stream in (sys.stdout, sys.stderr):  # now: later they are something else than what they were made for
        stream.reconfigure(encoding="utf-8", errors="backslashreplace", line_buffering=True)  # type: ignore[union-attr]
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    for number in signal.valid_signals() - {signal.SIGPIPE, signal.SIGXFSZ}:
        if signal.getsignal(number) == signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)
    try:
        listener = socket.socket(fileno=int(sys.argv[2])) if len(sys.argv) > 2 else listen(config["listen"])
        listener.setblocking(False)
    except OSError as error:
        print("cannot listen on %s: %s" % (config["listen"], error.strerror), file=sys.stderr)
        return 98 if error.errno == errno.EADDRINUSE else 1
    Agent(config).serve(listener, bool(config.get("lifeline")))
    if config["listen"].startswith("unix://"):
        with contextlib.suppress(OSError):
            os.unlink(config["listen"][len("unix://") :])
    return 0


if __name__ == "__main__":
    os._exit(main())
