"""Containers that serve, and the view from inside them, on any engine of ``tests.support``."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.network.namespace import NetNs
from tests.network.servers import ECHO
from tests.support import Engine, wait_until

#: The machine's own Python for containers of the busybox image: its programs and libraries, to be read only.
_FOLDERS = [folder for folder in ("/usr", "/lib", "/lib64") if Path(folder).exists()]
PYTHON = [word for folder in _FOLDERS for word in ("-v", f"{folder}:{folder}:ro")]


def start(engine: Engine, name: str, *flags: str, command: Sequence[str] = ("sleep", "1000000")) -> str:
    """``run -d`` of busybox, under ``name`` as host name too; its id."""
    hostname = () if any(word.startswith(("host", "container:")) for word in flags) else ("--hostname", name)
    image = engine.busybox()
    return engine.dockyard("run", "-d", "--name", name, *hostname, *flags, image, *command, check=True).stdout.strip()


def serve(engine: Engine, name: str, *flags: str, ports: Sequence[str] = ("tcp:80", "udp:80")) -> str:
    """A container with ``echo.py`` on ``ports``, listening; its id."""
    argv = ("/usr/bin/python3", "-IS", "/echo.py", *ports)
    found = start(engine, name, *PYTHON, "-v", f"{ECHO}:/echo.py:ro", *flags, command=argv)
    wait_until(lambda: "listening" in engine.dockyard("logs", name).stdout, 20, f"{name} listens")
    return found


@contextmanager
def within(engine: Engine, name: str) -> Iterator[NetNs]:
    """The network namespace of a running container."""
    with NetNs.of(engine.inspect(name)["State"]["Pid"]) as namespace:
        yield namespace


def endpoint(engine: Engine, name: str, network: str = "bridge") -> dict[str, Any]:
    """Its entry under ``NetworkSettings.Networks``."""
    return dict(engine.inspect(name)["NetworkSettings"]["Networks"][network])


def address(engine: Engine, name: str, network: str = "bridge") -> str:
    """Its IPv4 address there."""
    found = str(endpoint(engine, name, network)["IPAddress"])
    assert found, f"{name} has no address on {network}"
    return found


def gateway(engine: Engine, name: str, network: str = "bridge") -> str:
    """The host's address on that network."""
    return str(endpoint(engine, name, network)["Gateway"])


def port_of(engine: Engine, name: str, port: str = "80/tcp") -> int:
    """The host's port that a container's ``port`` is published on (the first, when there are several)."""
    return int(engine.inspect(name)["NetworkSettings"]["Ports"][port][0]["HostPort"])


def read(engine: Engine, name: str, path: str) -> str:
    """A file as processes in the container see it."""
    return str(engine.dockyard("exec", name, "cat", path, check=True).stdout)


def network(engine: Engine, name: str, *flags: str) -> dict[str, Any]:
    """``network create``; its inspection."""
    engine.dockyard("network", "create", *flags, name, check=True)
    return dict(json.loads(engine.dockyard("network", "inspect", name, check=True).stdout)[0])
