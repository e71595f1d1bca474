"""Containers that cannot be: what is said of them, and that nothing of them stays."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
import trio

from warmlane.errors import ContainerFaultError
from warmlane.plan.model import Container

pytestmark = pytest.mark.docker

SERVER = """
import http.server, os
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers(); self.wfile.write(os.environ.get("GREETING", "").encode())
open("/run/server.pid", "w").write("1")
print("listening", flush=True)
http.server.HTTPServer(("", 8080), Handler).serve_forever()
"""


@pytest.fixture
def server_image(client: Any, python_image: str) -> Iterator[Any]:
    """Makes images that bring their own server: a Python program and the user that it runs as."""
    made: list[str] = []

    def make(program: str, user: str = "") -> str:
        image = f"warmlane-test-own-server:{len(made)}"
        config = {"Image": python_image, "Cmd": ["python3", "-c", program], "User": user}
        container = client.create_container_from_config(config, "wl-image-in-the-making")["Id"]
        client.commit(container, *image.split(":"))
        client.remove_container(container)
        made.append(image)
        return image

    yield make
    for image in made:
        client.remove_image(image, force=True)


async def test_a_missing_image_is_said_in_the_words_of_the_daemon(bench: Any) -> None:
    container = Container(image="warmlane.invalid/nothing:1", transport="unix")
    with trio.fail_after(30), pytest.raises(ContainerFaultError, match=r"could not be pulled: .*warmlane\.invalid"):
        await bench.runtime.prepare(container, lambda _progress: None)


async def test_an_image_without_python_says_so(bench: Any, bare_image: str) -> None:
    async with bench.born(image=bare_image, healthy=False) as name:
        await bench.ended(name)
        said = "its image has no python3, which the agent needs; take one that has it"
        assert await bench.runtime.diagnose(name) == said
        assert "python3" in await bench.runtime.log_tail(name)


async def test_an_own_server_runs_untouched_and_is_asked_for_its_health(bench: Any, server_image: Any) -> None:
    container = {"image": server_image(SERVER, "1000"), "port": 8080, "transport": "tcp", "env": {"GREETING": "hello"}}
    async with bench.born(**container) as name:
        response = await bench.runtime.agent(name).request("GET", "/", {}, None)
        assert (response.status, response.body) == (200, "hello")
        assert await bench.runtime.log_tail(name) != ""
        await bench.runtime.pause(name)
        await bench.runtime.unpause(name)
        await bench.healthy(name)


async def test_an_own_server_that_exits_is_told_from_an_agent(bench: Any, server_image: Any) -> None:
    container = {"image": server_image("print('no licence'); raise SystemExit(4)"), "port": 8080, "transport": "tcp"}
    async with bench.born(**container, healthy=False) as name:
        await bench.ended(name)
        assert await bench.runtime.diagnose(name) == "the image's own server exited with code 4"
        assert await bench.runtime.log_tail(name) == "no licence\n"


async def test_an_own_server_gets_time_to_end(bench: Any, server_image: Any, client: Any) -> None:
    program = "import signal; signal.signal(15, lambda *_: exit(7)); print('up', flush=True); signal.pause()"
    began = time.time()
    with trio.fail_after(30):
        async with bench.born(image=server_image(program), port=8080, transport="tcp", healthy=False) as name:
            while not await bench.runtime.log_tail(name):  # noqa: ASYNC110 - the daemon is being asked
                await trio.sleep(0.01)
        events = client.events(since=began, until=time.time(), decode=True, filters={"container": name, "event": "die"})
        assert [event["Actor"]["Attributes"]["exitCode"] for event in events] == ["7"]
