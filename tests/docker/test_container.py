"""A container as the daemon and the block in it see it: hardened, and without a secret to show."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import trio

from warmlane.errors import ContainerFaultError
from warmlane.plan.model import Workspace
from warmlane.pool.health import wait_healthy

pytestmark = pytest.mark.docker

WHO_AM_I = """
import json, os
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
mounts = {line.split()[1]: line.split()[3].split(",") for line in open("/proc/self/mounts")}
print(json.dumps({
    "user": [os.getuid(), os.getgid()],
    "capabilities": [status[name].strip() for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")],
    "no_new_privileges": status["NoNewPrivs"].strip(),
    "root": mounts["/"][0],
    "interfaces": sorted(os.listdir("/sys/class/net")),
}))
"""


def can_write(path: str) -> str:
    return f"open('{path}/probe', 'w').write('x')"


async def test_a_block_finds_no_privilege(bench: Any) -> None:
    async with bench.born() as name:
        _, (line,) = await bench.python(name, WHO_AM_I)
        about = json.loads(line)
        assert about["user"] == ([65534, 65534] if os.getuid() == 0 else [os.getuid(), os.getgid()])
        assert set(about["capabilities"]) == {"0" * 16}
        assert about["no_new_privileges"] == "1"
        assert about["root"] == "ro"
        assert about["interfaces"] == ["lo"], "a unix container has no network"


async def test_a_block_may_write_and_run_in_tmp_only(bench: Any) -> None:
    async with bench.born() as name:
        for path in ("/", "/run/warmlane-x", "/opt/warmlane_agent", "/usr"):
            assert (await bench.python(name, can_write(path)))[0].code == 1
        program = (
            "import os, subprocess; open('/tmp/x', 'w').write('#!/bin/sh\\necho ran'); os.chmod('/tmp/x', 0o755);"
            "subprocess.run('/tmp/x')"
        )
        assert (await bench.python(name, program))[1] == ["ran"]


@pytest.mark.parametrize("user", [None, "4321:4321"])
async def test_home_is_a_working_directory_that_can_be_written(bench: Any, user: str | None) -> None:
    program = "import os; print(os.environ['HOME'] == os.getcwd()); open(os.path.expanduser('~/.file'), 'w').close()"
    async with bench.born(user=user) as name:
        exit_, lines = await bench.python(name, program)
        assert (exit_.code, lines) == (0, ["True"])
    async with bench.born(user=user, env={"HOME": "/tmp"}) as name:
        assert (await bench.python(name, "import os; print(os.environ['HOME'])"))[1] == ["/tmp"]


async def test_the_daemon_is_asked_for_limits(bench: Any, client: Any) -> None:
    async with bench.born() as name:
        host = client.inspect_container(name)["HostConfig"]
        assert host["CapDrop"] == ["ALL"]
        assert host["SecurityOpt"] == ["no-new-privileges:true"]
        assert host["ReadonlyRootfs"]
        assert host["Init"]
        assert host["PidsLimit"] == 1024
        assert host["RestartPolicy"]["Name"] == "no"
        assert host["LogConfig"] == {"Type": "json-file", "Config": {"max-file": "2", "max-size": "1m"}}
        assert not host["Privileged"]
        assert host["NetworkMode"] == "none"


async def test_inspect_shows_labels_and_no_secret(bench: Any, client: Any) -> None:
    birth = bench.birth(env={"PASSWORD": "hunter2"})
    async with bench.born(birth) as name:
        about = client.inspect_container(name)
        shown = json.dumps(about) + json.dumps(client.top(name))
        assert "hunter2" not in shown
        assert birth.token not in shown
        assert about["Config"]["Labels"]["warmlane.session"] == bench.session_id
        _, lines = await bench.python(name, "import os; print(os.environ['PASSWORD'])")
        assert lines == ["hunter2"]


async def test_a_tcp_port_is_published_on_the_loopback_interface_only(bench: Any, client: Any) -> None:
    birth = bench.birth(transport="tcp")
    async with bench.born(birth) as name:
        ports = client.inspect_container(name)["NetworkSettings"]["Ports"]
        assert ports == {"9000/tcp": [{"HostIp": "127.0.0.1", "HostPort": str(birth.port)}]}
        another_address_of_ours = client.inspect_container(name)["NetworkSettings"]["Gateway"]
        with pytest.raises(OSError, match="failed"):
            await trio.open_tcp_stream(another_address_of_ours, birth.port)


async def test_a_read_only_workspace_cannot_be_written(bench: Any, tmp_path: Path) -> None:
    (tmp_path / "input.txt").write_text("from the host")
    for folder in (tmp_path, *tmp_path.parents[:2]):
        folder.chmod(0o755)
    async with bench.born(workspace=Workspace(path=str(tmp_path))) as name:
        _, lines = await bench.python(name, "print(open('/workspace/input.txt').read())")
        assert lines == ["from the host"]
        assert (await bench.python(name, can_write("/workspace")))[0].code == 1


async def test_a_writable_workspace_is_written_as_the_invoking_user(bench: Any, tmp_path: Path) -> None:
    async with bench.born(workspace=Workspace(path=str(tmp_path), mode="rw")) as name:
        assert (await bench.python(name, can_write("/workspace")))[0].code == 0
    about = (tmp_path / "probe").stat()
    assert (about.st_uid, about.st_gid) == (os.getuid(), os.getgid())


async def test_nothing_can_be_left_in_what_the_agent_was_told(bench: Any, tmp_path: Path) -> None:
    async with bench.born(workspace=Workspace(path=str(tmp_path), mode="rw")) as name:  # as the owner of that file
        assert (await bench.python(name, "open('/run/warmlane/agent.json', 'a').write('x')"))[0].code == 1
        assert (await bench.python(name, "import os; os.unlink('/run/warmlane/agent.json')"))[0].code == 1
        assert (await bench.python(name, can_write("/run/warmlane")))[0].code == 0


async def test_a_workspace_that_the_user_cannot_read_is_refused(bench: Any, tmp_path: Path) -> None:
    os.chmod(tmp_path, 0o700 if os.getuid() == 0 else 0)
    birth = bench.birth(workspace=Workspace(path=str(tmp_path)))
    user = "65534:65534" if os.getuid() == 0 else f"{os.getuid()}:{os.getgid()}"
    with pytest.raises(ContainerFaultError, match=f"user {user} cannot read the folder {tmp_path}, its workspace; set"):
        async with bench.born(birth, healthy=False) as name:
            await wait_healthy(bench.runtime, bench.runtime.agent(name), birth)
    os.chmod(tmp_path, 0o700)


@pytest.mark.skipif(os.getuid() != 0, reason="only root can be asked to be anybody")
async def test_a_workspace_that_the_chosen_user_can_read_is_his(bench: Any, tmp_path: Path) -> None:
    os.chown(tmp_path, 1000, 1000)
    os.chmod(tmp_path, 0o700)
    async with bench.born(workspace=Workspace(path=str(tmp_path)), user="1000:1000") as name:
        assert (await bench.python(name, "import os; os.listdir('/workspace')"))[0].code == 0


async def test_the_user_can_be_chosen(bench: Any) -> None:
    async with bench.born(user="1000:1000", transport="tcp") as name:
        _, (line,) = await bench.python(name, WHO_AM_I)
        assert json.loads(line)["user"] == [1000, 1000]


async def test_a_user_that_the_image_does_not_know_is_the_fault_of_that_container(bench: Any) -> None:
    with pytest.raises(ContainerFaultError, match="unable to find user nobody-knows"):
        async with bench.born(user="nobody-knows"):
            pass
