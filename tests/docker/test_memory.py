"""What the kernel kills for memory is told apart from what was killed otherwise."""

from __future__ import annotations

from typing import Any

import pytest

from warmlane.agent.protocol import Exit

pytestmark = pytest.mark.docker

EAT = "x = [bytearray(1_000_000) for _ in range(500)]"
LIMIT = 100 * 1024 * 1024


async def test_a_block_that_exceeds_the_memory_limit_says_so(bench: Any, client: Any) -> None:
    async with bench.born() as name:
        client.update_container(name, mem_limit=LIMIT, memswap_limit=LIMIT)
        killed, _ = await bench.python(name, EAT)
        assert killed == Exit(
            signal=9, fault="oom", error="killed by the kernel: it exceeded the container's memory limit of 100 MiB"
        )
        below, _ = await bench.python(
            name, f"import subprocess, sys; sys.exit(subprocess.call(['python3', '-c', '{EAT}']) % 256)"
        )
        assert (below.code, below.fault) == (247, "error"), "its own process was not killed"
        shell, _ = await bench.python(name, f"import os; os.execlp('sh', 'sh', '-c', 'python3 -c \"{EAT}\"; exit $?')")
        assert (shell.code, shell.fault) == (137, "oom")
        other, _ = await bench.python(name, "import os; os.kill(os.getpid(), 9)")
        assert (other.signal, other.fault) == (9, "signal")
        fine, _ = await bench.python(name, "print('fine')")
        assert fine == Exit(code=0)
