"""Docker's own client reads the answers."""

from __future__ import annotations

import asyncio
import os
import shutil

import pytest

from core.runtime.logs import STDERR, STDOUT, LogWriter
from tests.api.fakes import Served

pytestmark = pytest.mark.skipif(shutil.which("docker") is None, reason="Docker's client is not installed")


async def docker(api: Served, *arguments: str) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of one call of the client."""
    process = await asyncio.create_subprocess_exec(
        "docker",
        *arguments,
        env={"PATH": os.environ["PATH"], "HOME": str(api.path.parent), "DOCKER_HOST": f"unix://{api.path}"},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(20):
        out, err = await process.communicate()
    return process.returncode or 0, out.decode(), err.decode()


async def test_version_and_info(api: Served) -> None:
    code, out, _ = await docker(api, "version", "--format", "{{.Server.Version}} {{.Server.APIVersion}}")
    assert (code, out) == (0, "0.1.0 1.51\n")
    code, out, _ = await docker(api, "info", "--format", "{{.ID}} {{.ServerVersion}}")
    assert (code, out) == (0, "test 0.1.0\n")


async def test_lists(api: Served) -> None:
    api.engine.add("box", running=True)
    code, out, _ = await docker(api, "ps", "--format", "{{.Names}} {{.State}}", "--filter", "name=b")
    assert (code, out) == (0, "box running\n")
    code, out, _ = await docker(api, "images", "--format", "{{.Repository}}:{{.Tag}} {{.Size}}")
    assert (code, out) == (0, "registry.example:5000/team/app:1 4MB\n")
    code, out, _ = await docker(api, "network", "ls", "--format", "{{.Name}}")
    assert (code, sorted(out.split())) == (0, ["bridge", "host", "none"])
    code, out, _ = await docker(api, "volume", "ls", "-q")
    assert (code, out) == (0, "")


async def test_inspect(api: Served) -> None:
    box = api.engine.add("box")
    code, out, _ = await docker(api, "inspect", "--format", "{{.Id}} {{.State.Status}}", "box")
    assert (code, out) == (0, f"{box.id} created\n")


async def test_logs_of_both_streams(api: Served) -> None:
    box = api.engine.add("box")
    writer = LogWriter(api.engine.containers.log_folder(box))
    writer.write(STDOUT, b"to stdout\n", 1_700_000_000_000_000_000)
    writer.write(STDERR, b"to stderr\n", 1_700_000_000_500_000_000)
    writer.close()
    assert await docker(api, "logs", "box") == (0, "to stdout\n", "to stderr\n")
    _, out, _ = await docker(api, "logs", "-t", "box")
    assert out == "2023-11-14T22:13:20.000000000Z to stdout\n"


async def test_what_is_missing_is_said(api: Served) -> None:
    code, _, err = await docker(api, "build", "-")
    assert code == 1
    assert "not supported" in err
    code, _, err = await docker(api, "node", "ls")
    assert code == 1
    assert "This node is not a swarm manager" in err
